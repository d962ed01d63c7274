"""03 "Columns": for each type the header and, beside it, where the cell comes from.

Where 03 is silent:
- ``member_id`` of codeAssignments and codeWaves is K.assignment.memberId, as ``assigned_to`` of codes; of fanlist it
  is U.member_id, as ``Hbase_ID`` of entries. ``user_id`` is the one of the document that the row comes from.
- ``zip`` is as ``Zip Code`` of entries; ``locale`` is E.locale unless 03 says otherwise; ``country`` of fanlist is as
  in artistOptIn.
- A preference that is not a document has no column; one without an id has a column that is always ``false``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from bson import DatetimeMS

from tests.reference.campaign import Data, Row
from tests.reference.values import Text, dig, document, either, elements, id_key, millis, plain, present, text, utc

Column = tuple[str, Callable[[Row], object]]


def select_show(row: Row) -> object:
    """``7/04 - Austin, TX``. A city or state that is missing, null or "" drops out; any other value is shown."""
    when, city, state = row.m("event", "date"), row.m("city"), row.m("state")
    place = ", ".join(text(part) for part in (city, state) if present(part))
    if not present(when):
        return Text(place)
    day = text(when)
    moment = utc(millis(when)) if isinstance(when, DatetimeMS | datetime) else None
    if moment is not None:
        day = f"{moment.month}/{moment.day:02}"
    return Text(f"{day} - {place}" if present(city) or present(state) else day)


def event_ids(row: Row) -> object:
    ids = row.m("event", "ids")
    return Text(",".join(text(element) for element in ids)) if isinstance(ids, list) else ids


def additional_market_ids(row: Row, own: object) -> list[object]:
    """Return E.fields.additionalMarkets without unknown ids, the own market and repeats."""
    seen = {id_key(own)}
    kept: list[object] = []
    for market_id in elements(row.e("fields", "additionalMarkets")):
        key = id_key(market_id)
        if present(market_id) and key in row.data.markets and key not in seen:
            seen.add(key)
            kept.append(market_id)
    return kept


def market_names(row: Row) -> object:
    """Own and additional markets' names, as an array: a market without a name is an empty element."""
    own = row.e("fields", "market")
    ids = [own] if present(own) and id_key(own) in row.data.markets else []
    ids += additional_market_ids(row, own)
    return [row.data.markets[id_key(market_id)].get("name") for market_id in ids]


def preference_columns(data: Data) -> list[Column]:
    columns: list[Column] = []
    for preference in elements(data.campaign.get("preferences")):
        if document(preference) is not None:
            kind, key = dig(preference, "type"), dig(preference, "id")
            columns.append((f"#{plain(kind)}.{plain(key)}", _preference(key)))
    return columns


def _preference(key: object) -> Callable[[Row], object]:
    name = key if isinstance(key, str) else plain(key)

    def cell(row: Row) -> object:
        answer = None if key is None else row.e("fields", name)
        return False if answer is None else answer

    return cell


# What several types share.
EMAIL: Column = ("email", lambda r: either(r.e("fields", "email"), r.u("email")))
PHONE: Column = ("phone", lambda r: either(r.e("fields", "phone"), r.u("phone")))
FIRST_NAME: Column = ("first_name", lambda r: either(r.u("name", "first"), r.e("fields", "first_name")))
LAST_NAME: Column = ("last_name", lambda r: either(r.u("name", "last"), r.e("fields", "last_name")))
ZIP: Column = ("zip", lambda r: either(r.e("origin", "ip", "postalCode"), r.u("postalCode")))
COUNTRY: Column = ("country", lambda r: either(r.e("origin", "ip", "countryCode"), r.m("countryCode")))
GLOBAL_USER_ID: Column = ("globalUserId", lambda r: r.u("globalUserId"))
LOCALE: Column = ("locale", lambda r: r.e("locale"))
SCORING_LOCALE: Column = ("locale", lambda r: either(r.s("locale"), r.e("locale")))
ENTRY_DATE: Column = ("entry_date", lambda r: r.e("date", "created"))
MARKET: Column = ("market", lambda r: r.m("name"))

ENTRIES: list[Column] = [
    ("id", lambda r: r.e("_id", "user_id")),
    ("contest_title", lambda r: r.c("name")),
    ENTRY_DATE,
    ("tm_id", lambda r: r.u("id")),
    GLOBAL_USER_ID,
    ("ip_address", lambda r: r.e("origin", "ip", "address")),
    EMAIL,
    FIRST_NAME,
    LAST_NAME,
    ("Zip Code", ZIP[1]),
    ("Mobile Phone", PHONE[1]),
    ("Hbase_ID", lambda r: r.u("member_id")),
    ("Select Show", select_show),
    ("Event_ID", event_ids),
    LOCALE,
    ("campaign_id", lambda r: r.c("_id")),
    ("Phone confirmed", lambda r: r.e("date", "phoneConfirmed")),
]
SCORING: list[Column] = [
    *ENTRIES,
    ("nudata_score", lambda r: r.e("nudetect", "score")),
    ("nudata_score_band", lambda r: r.e("nudetect", "scoreBand")),
    ("fanscore", lambda r: r.e("accountFanscore")),
    ("latitude", lambda r: r.e("origin", "ip", "latitude")),
    ("longitude", lambda r: r.e("origin", "ip", "longitude")),
]
VERIFIED_ENTRIES: list[Column] = [
    ("campaign_id", lambda r: r.c("_id")),
    ("user_id", lambda r: r.e("_id", "user_id")),
    ("member_id", lambda r: r.s("memberId")),
    GLOBAL_USER_ID,
    EMAIL,
    PHONE,
    FIRST_NAME,
    LAST_NAME,
    ("market_id", lambda r: r.s("marketId")),
    MARKET,
    SCORING_LOCALE,
    ("score", lambda r: r.s("score")),
    ("priority", lambda r: r.s("priority")),
    ENTRY_DATE,
]
CODES: list[Column] = [
    ("code", lambda r: r.k("_id")),
    ("market_id", lambda r: r.k("marketId")),
    MARKET,
    ("event_id", lambda r: r.k("eventId")),
    ("status", lambda r: r.k("status")),
    ("assigned_to", lambda r: r.k("assignment", "memberId")),
    ("assigned_at", lambda r: r.k("assignment", "date")),
]
CODE_ASSIGNMENTS: list[Column] = [
    ("event_id", lambda r: r.k("eventId")),
    ("market_id", lambda r: r.k("marketId")),
    ("code", lambda r: r.k("_id")),
    ("user_id", lambda r: r.k("assignment", "userId")),
    ("member_id", lambda r: r.k("assignment", "memberId")),
    GLOBAL_USER_ID,
    EMAIL,
    FIRST_NAME,
    LAST_NAME,
    ("assigned_at", lambda r: r.k("assignment", "date")),
]
CODE_WAVES: list[Column] = [
    ("member_id", lambda r: r.k("assignment", "memberId")),
    ("code", lambda r: r.k("_id")),
    ("event_id", lambda r: r.k("eventId")),
    ("market_id", lambda r: r.k("marketId")),
    PHONE,
    FIRST_NAME,
    LOCALE,
    ("date_key", lambda r: r.k("dateKey")),
]
_OPT_IN_TAIL: list[Column] = [
    FIRST_NAME,
    LAST_NAME,
    ZIP,
    COUNTRY,
    MARKET,
    ("city", lambda r: r.m("city")),
    ("state", lambda r: r.m("state")),
    LOCALE,
    ("opt_in_date", lambda r: r.e("date", "created")),
]
OPT_IN: list[Column] = [EMAIL, *_OPT_IN_TAIL]
SMS_OPT_IN: list[Column] = [PHONE, *_OPT_IN_TAIL]
FANLIST: list[Column] = [
    ("user_id", lambda r: r.e("_id", "user_id")),
    ("member_id", lambda r: r.u("member_id")),
    GLOBAL_USER_ID,
    EMAIL,
    FIRST_NAME,
    LAST_NAME,
    PHONE,
    ZIP,
    COUNTRY,
    LOCALE,
    ("markets", market_names),
    ENTRY_DATE,
]
WAITLIST: list[Column] = [
    ("member_id", lambda r: r.s("memberId")),
    ("user_id", lambda r: r.s("userId")),
    EMAIL,
    PHONE,
    FIRST_NAME,
    LAST_NAME,
    ("market_id", lambda r: r.s("marketId")),
    MARKET,
    SCORING_LOCALE,
    ("score", lambda r: r.s("score")),
    ("priority", lambda r: r.s("priority")),
]
