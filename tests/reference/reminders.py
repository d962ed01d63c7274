"""reminderEmail, reminderEmailSample, autoReminderEmail: who gets which rows, in which region, locale and part.

Where 03 is silent:
- Rows come in the order of the scoring records' ``_id``, then of marketId, in every file and in the sample.
- A fan without a code and without an email is counted in both. An email of nothing but white space is no email.
- ``codes`` elements without an id hold no code. A code without a marketId is of a market of its own, whose cells are
  empty; so are those of an unknown market (counted in unknownMarket).
- The territory is the last part of a locale with at least two parts (separated by ``-`` or ``_``), if it is two
  letters; ``uk`` is GB. ``S.countryCode`` "UK" stays UK: 03 turns only locales.
- unknownRegion is counted once per fan with a row.
- Region and locale in file names keep only what promoters' names keep; a name of dots alone becomes underscores (no way
  out of the folder). Regions or locales that come out the same share the file.
- No row at all: a ZIP without members, no autoReminderEmail file.
- The sample's market is the code's marketId, its locale the SFMC locale.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import TYPE_CHECKING

from tests.reference.columns import EMAIL, FIRST_NAME, LAST_NAME, Column, event_ids
from tests.reference.values import Text, clean, dig, document, either, elements, id_key, plain, present, text

if TYPE_CHECKING:
    from tests.reference.campaign import Data, Row

REGIONS = {"US": "NA", "CA": "NA", "MX": "NA", "GB": "UK", "IE": "UK"}
SFMC_LOCALES = {"en-mx": "en-us", "en-uk": "en-gb", "en-ie": "en-gb", "en-nz": "en-au"}


def fans(data: Data, skipped: Counter[str]) -> list[list[Row]]:
    """Return the rows of every fan who is reminded, one list per scoring record."""
    reminded = []
    for scoring in data.scoring:
        if scoring.get("selected") is not True:
            continue
        user_id = scoring.get("userId")
        codes = held_codes(scoring)
        email = subscriber(data.of_user(user_id, scoring=scoring))
        if not codes:
            skipped["missingCode"] += 1
        if not email:
            skipped["missingEmail"] += 1
        if codes and email:
            rows = []
            for code in codes:
                row = data.of_user(user_id, scoring=scoring, held_code=code)
                row.set_market(code.get("marketId"))
                rows.append(row)
            reminded.append(rows)
    return reminded


def held_codes(scoring: dict[str, object]) -> list[dict[str, object]]:
    """Return the first code by id of each market, in the order of the markets' ids."""
    codes = [code for code in map(document, elements(scoring.get("codes"))) if code and present(code.get("id"))]
    first: dict[str, dict[str, object]] = {}
    for code in sorted(codes, key=lambda code: plain(code["id"])):
        first.setdefault(id_key(code.get("marketId")), code)
    return [first[market_id] for market_id in sorted(first)]


def subscriber(row: Row) -> str:
    return plain(EMAIL[1](row)).strip().lower()


def country(row: Row) -> Text:
    code = either(row.s("countryCode"), row.e("origin", "ip", "countryCode"), territory(row))
    return Text(text(code).upper())


def territory(row: Row) -> str:
    parts = re.split("[-_]", plain(either(row.s("locale"), row.e("locale"))).lower())
    if len(parts) < 2 or not re.fullmatch("[a-z]{2}", parts[-1]):
        return ""
    return "GB" if parts[-1] == "uk" else parts[-1]


def region(row: Row) -> Text:
    code = country(row)
    return Text(row.data.regions.get(clean(code), code) if code else "UNKNOWN")


def sfmc_locale(row: Row) -> Text:
    locale = text(either(row.s("locale"), row.e("locale"))).lower()
    if not locale:
        return Text("en-us" if region(row) in ("NA", "UNKNOWN") else "en-gb")
    return Text(row.data.sfmc_locales.get(clean(locale), locale))


def artist_name(row: Row) -> object:
    name, fan_club = row.c("artist", "name"), row.c("artist", "fanClubName")
    if row.c("type") != "fanclub" or not present(fan_club):
        return name
    if not present(name) or plain(name) in plain(fan_club):
        return fan_club
    return Text(f"{text(name)} {text(fan_club)}")


REMINDERS: list[Column] = [
    ("SubscriberKey", lambda r: hashlib.sha256(subscriber(r).encode()).hexdigest()),
    ("EmailAddress", EMAIL[1]),
    ("FirstName", FIRST_NAME[1]),
    ("LastName", LAST_NAME[1]),
    ("Locale", sfmc_locale),
    ("CountryCode", country),
    ("Region", region),
    ("ArtistName", artist_name),
    ("CampaignId", lambda r: r.c("_id")),
    ("CampaignName", lambda r: r.c("name")),
    ("MarketName", lambda r: r.m("name")),
    ("City", lambda r: r.m("city")),
    ("State", lambda r: r.m("state")),
    ("EventDate", lambda r: r.m("event", "date")),
    ("EventIds", event_ids),
    ("AccessCode", lambda r: dig(r.held_code, "id")),
    ("TicketUrl", lambda r: r.c("ticketUrl")),
]


def sample(groups: list[list[Row]], size: int) -> list[list[Row]]:
    """Keep the first `size` rows per locale and market."""
    taken: Counter[tuple[str, str]] = Counter()
    kept = []
    for rows in groups:
        few = []
        for row in rows:
            key = clean(sfmc_locale(row)), id_key(dig(row.held_code, "marketId"))
            if taken[key] < size:
                taken[key] += 1
                few.append(row)
        kept.append(few)
    return kept


def parts(members: list[Row], max_rows: int) -> dict[tuple[str, str, int], list[Row]]:
    """Return the rows of each (region, locale, part from 1), in ascending order."""
    files: dict[tuple[str, str], list[Row]] = {}
    for row in members:
        files.setdefault((file_part(region(row)), file_part(sfmc_locale(row))), []).append(row)
    return {
        (*key, number + 1): files[key][start : start + max_rows]
        for key in sorted(files)
        for number, start in enumerate(range(0, len(files[key]), max_rows))
    }


def file_name(name: str) -> str:
    """Keep letters and digits (of any script), space, ``-``, ``_``, ``.``; anything else becomes ``_``."""
    return "".join(
        character if character.isalpha() or character.isdecimal() or character in " -_." else "_" for character in name
    )


def file_part(name: str) -> str:
    safe = file_name(clean(name))
    return safe.replace(".", "_") if safe.strip(".") == "" else safe
