"""Which rows a type has, one function per source: the rows of one document (entry, scoring record, code) together.

Where 03 is silent:
- ``includeAllMarkets`` adds rows to ``entries`` only; the other types ignore it.
- waitlist: whatever is not exactly ``selected: true`` is not selected; member ids are compared as ids, a scoring record
  without a memberId is never excluded.
- codeWaves takes the codes whose dateKey, as text, is the given one, whether assigned or not.
- artistSmsOptIn: "a phone" is the one in the row, that of the user included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.reference.campaign import Data, Document, Row
from tests.reference.columns import PHONE, additional_market_ids
from tests.reference.values import dig, elements, id_key, plain, present

if TYPE_CHECKING:
    from collections.abc import Callable

Groups = list[list[Row]]


def own_market(data: Data, entry: Document) -> Row:
    return data.of_entry(entry, dig(entry, "fields", "market"))


def entries(data: Data) -> Groups:
    return [[own_market(data, entry)] for entry in data.entries]


def entries_by_market(data: Data) -> Groups:
    """Return the row of the fan's own market first, then one per additional market in their order."""
    groups = entries(data)
    for rows in groups:
        own = rows[0]
        for market_id in additional_market_ids(own, own.e("fields", "market")):
            rows.append(data.of_entry(own.entry, market_id))
    return groups


def opted_in(field: str) -> Callable[[Data], Groups]:
    """Opted in means exactly boolean true."""
    return lambda data: [rows for rows in entries(data) if rows[0].e("fields", field) is True]


def opted_in_to_sms(data: Data) -> Groups:
    return [rows for rows in opted_in("allowSms")(data) if present(PHONE[1](rows[0]))]


def verified(data: Data) -> Groups:
    selected: dict[str, Document] = {}
    for scoring in data.scoring:
        if scoring.get("selected") is True and id_key(scoring.get("userId")):
            selected.setdefault(id_key(scoring["userId"]), scoring)
    groups = []
    for entry in data.entries:
        user_id = dig(entry, "_id", "user_id")
        scoring = selected.get(id_key(user_id))
        if scoring is not None:
            groups.append([data.of_entry(entry, scoring.get("marketId"), scoring)])
    return groups


def codes(data: Data) -> Groups:
    rows = [Row(data, code=code) for code in data.codes]
    for row in rows:
        row.set_market(row.k("marketId"))
    return [[row] for row in rows]


def assigned(data: Data, code: Document) -> Row:
    """Return the row of a code with the fan it is assigned to, if any."""
    return data.of_user(dig(code, "assignment", "userId"), code=code)


def code_assignments(data: Data) -> Groups:
    return [[assigned(data, code)] for code in data.codes if code.get("status") in ("ASSIGNED", "REDEEMED")]


def wave(data: Data) -> Groups:
    if not data.date_key:
        raise ValueError("codeWaves needs a date_key")
    return [[assigned(data, code)] for code in data.codes if plain(code.get("dateKey")) == data.date_key]


def waiting(data: Data) -> Groups:
    texted: set[str] = set()
    for sms_wave in data.sms_waves:
        if sms_wave.get("status") == "SCHEDULED":
            texted.update(key for member in elements(sms_wave.get("memberIds")) if (key := id_key(member)))
    groups = []
    for scoring in data.scoring:
        member_id = scoring.get("memberId")
        if scoring.get("selected") is True or id_key(member_id) in texted:
            continue
        row = data.of_user(scoring.get("userId"), scoring=scoring)
        row.set_market(scoring.get("marketId"))
        groups.append([row])
    return groups
