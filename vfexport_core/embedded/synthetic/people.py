"""Fans: who they are (the same in every campaign of a seed), and their entry in one campaign."""
# ruff: noqa: PLR2004 the numbers here say how often something is so

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from vfexport_core.embedded.synthetic.pools import FIRST_NAMES, HOMES, LAST_NAMES, UNUSUAL_TEXTS, Home

if TYPE_CHECKING:
    from random import Random

    from vfexport_core.mongo.document import Document

START = datetime(2026, 3, 1, 15, 0, tzinfo=UTC)
_OPEN_MILLIS = 14 * 24 * 3600 * 1000
_UNUSUAL_SHARE = 0.04
_NUMBER_BASE = 10_000_000_000
_MAIL_DOMAINS = ("example.com", "example.org", "example.net", "mail.example.com")
_BANDS = ("LOW", "LOW", "LOW", "MEDIUM", "HIGH")
_SONGS = ("Night Train", "Paper Moon", "Blue, Again", 'The "Comet"', "Über alles neu", "Line one\nline two")


class Fan(NamedTuple):
    """One person, as clean as they typed it."""

    number: int
    user_id: str
    member_id: str
    first_name: str
    last_name: str
    email: str
    phone: str
    postal_code: str
    home: Home


def pick(pool: tuple[Any, ...], random: Random) -> Any:
    """Draw one of the pool; several times faster than ``random.choice``."""
    return pool[int(random.random() * len(pool))]


def moment(random: Random) -> datetime:
    """Draw a time, to the millisecond, from the two weeks in which the campaigns are open."""
    return START + timedelta(milliseconds=int(random.random() * _OPEN_MILLIS))


def make_fan(number: int, user_id: str, random: Random) -> Fan:
    """Invent the fan of this number."""
    first_name, last_name = pick(FIRST_NAMES, random), pick(LAST_NAMES, random)
    email = f"{first_name}.{last_name}.{number}@{pick(_MAIL_DOMAINS, random)}"
    if random.random() < _UNUSUAL_SHARE:
        first_name = pick(UNUSUAL_TEXTS, random)
    if random.random() < _UNUSUAL_SHARE:
        last_name = pick(UNUSUAL_TEXTS, random)
    home: Home = pick(HOMES, random)
    return Fan(
        number=number,
        user_id=user_id,
        member_id=str(_NUMBER_BASE + number),
        first_name=first_name,
        last_name=last_name,
        # Some keep the capitals, some add blanks: the reminder types trim and lower before they hash.
        email=_with_blanks(email) if number % 50 == 0 else email.lower() if number % 10 else email,
        phone=_filled(home.phone, random),
        postal_code=_filled(home.postal_code, random),
        home=home,
    )


def _with_blanks(email: str) -> str:
    return f" {email.upper()} "


def _filled(pattern: str, random: Random) -> str:
    """Replace each ``#`` by a digit."""
    while "#" in pattern:
        pattern = pattern.replace("#", str(int(random.random() * 10)), 1)
    return pattern


def user_document(fan: Fan, object_id: Any, random: Random) -> Document:
    """Make the fan's document in `users`."""
    ticketmaster: Document = {
        "id": f"tm{fan.member_id}",
        "member_id": fan.member_id,
        "globalUserId": str(UUID(hex=fan.user_id + fan.user_id[:8])),
        "email": fan.email,
        "name": {"first": fan.first_name, "last": fan.last_name},
    }
    if random.random() < 0.8:
        ticketmaster["phone"] = fan.phone
    if random.random() < 0.8:
        ticketmaster["postalCode"] = fan.postal_code
    return {"_id": object_id, "integrations": {"ticketmaster": ticketmaster}}


def entry_document(
    fan: Fan, campaign_id: str, markets: tuple[str, ...], promoters: tuple[str, ...], random: Random
) -> Document:
    """Make the fan's entry in the campaign."""
    created = moment(random)
    entry: Document = {
        "_id": {"campaign_id": campaign_id, "user_id": fan.user_id},
        "date": {"created": created},
        "fields": _fields(fan, markets, promoters, random),
    }
    if random.random() < 0.6:
        entry["date"]["phoneConfirmed"] = created + timedelta(milliseconds=int(random.random() * 90_000))
    if fan.home.locale is not None:
        entry["locale"] = fan.home.locale
    if random.random() < 0.92:
        entry["origin"] = {"ip": _ip(fan, random)}
    if random.random() < 0.9:
        score = int(random.random() * 1000)
        entry["nudetect"] = {"score": score if score % 4 else score / 8, "scoreBand": pick(_BANDS, random)}
    if random.random() < 0.7:
        entry["accountFanscore"] = round(random.random() * 100, 4) if fan.number % 5 else float(fan.number % 100)
    return entry


def _fields(fan: Fan, markets: tuple[str, ...], promoters: tuple[str, ...], random: Random) -> Document:
    fields: Document = {"market": pick(markets, random)}
    if random.random() < 0.25:
        # The own market, and one market twice, come up now and then: both must be skipped by exports.
        fields["additionalMarkets"] = [pick(markets, random) for _ in range(1 + int(random.random() * 3))]
    for name, value, share in (
        ("email", fan.email, 0.7),
        ("phone", fan.phone, 0.6),
        ("first_name", fan.first_name, 0.3),
        ("last_name", fan.last_name, 0.3),
    ):
        if random.random() < share:
            fields[name] = value
    for name in ("allowMarketing", "allowLiveNation", "allowSms"):
        draw = random.random()
        if draw < 0.85:
            fields[name] = draw < 0.45
    if random.random() < 0.3:
        fields["promoterOptIns"] = [promoter for promoter in promoters if random.random() < 0.4]
    _add_preferences(fields, random)
    return fields


def _add_preferences(fields: Document, random: Random) -> None:
    """Answer some of the questions of campaign.PREFERENCES."""
    if random.random() < 0.8:
        fields["pref_vip"] = random.random() < 0.3
    if random.random() < 0.5:
        fields["pref_song"] = pick(UNUSUAL_TEXTS if random.random() < 0.2 else _SONGS, random)
    if random.random() < 0.6:
        fields["pref_tickets"] = 1 + int(random.random() * 6)
    if random.random() < 0.4:
        fields["pref_days"] = [day for day in ("Fri", "Sat", "Sun") if random.random() < 0.6]
    if random.random() < 0.02:
        fields["pref_age"] = None
    elif random.random() < 0.5:
        fields["pref_age"] = "18+"


def _ip(fan: Fan, random: Random) -> Document:
    last = int(random.random() * 254) + 1
    address = f"2001:db8::{last:x}" if random.random() < 0.1 else f"203.0.113.{last}"
    ip: Document = {"address": address}
    draw = random.random()
    if draw < 0.7:
        ip["postalCode"] = fan.postal_code
    if draw < 0.85:
        ip["latitude"] = round(random.random() * 180 - 90, 4)
        ip["longitude"] = round(random.random() * 360 - 180, 4)
    if draw < 0.8:
        # One in twenty signs up away from home.
        ip["countryCode"] = pick(HOMES, random).country if random.random() < 0.05 else fan.home.country
    return ip
