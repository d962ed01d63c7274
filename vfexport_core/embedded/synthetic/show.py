"""What a campaign is about: its own document, its markets and its promoters."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from bson import ObjectId

from vfexport_core.embedded.synthetic.ids import object_id
from vfexport_core.embedded.synthetic.pools import LOCALES

if TYPE_CHECKING:
    from vfexport_core.mongo.document import Document


class _Market(NamedTuple):
    """A market; what is None or 0 is missing in its document."""

    name: str
    city: str | None
    state: str | None
    country: str | None
    date: datetime | None
    events: int


_MARKETS = (
    _Market("Austin", "Austin", "TX", "US", datetime(2026, 7, 4, 19, 0, tzinfo=UTC), 1),
    _Market("Los Angeles, Night 1", "Los Angeles", "CA", "US", datetime(2026, 7, 10, 2, 30, tzinfo=UTC), 2),
    _Market("New York", "New York", "NY", "US", datetime(2026, 12, 31, 23, 59, 59, 999000, tzinfo=UTC), 3),
    _Market('Chicago "Windy"', "Chicago", "IL", "US", None, 1),
    _Market("Toronto", "Toronto", "ON", "CA", datetime(2026, 8, 1, tzinfo=UTC), 1),
    _Market("Montréal", "Montréal", "QC", "CA", datetime(2026, 8, 3, tzinfo=UTC), 1),
    _Market("Ciudad de México", "Ciudad de México", None, "MX", datetime(2026, 9, 9, 1, 0, tzinfo=UTC), 1),
    _Market("London", "London", None, "GB", datetime(2026, 10, 5, 18, 0, tzinfo=UTC), 2),
    _Market("Dublin", "Dublin", "", "IE", datetime(2026, 10, 8, 18, 0, tzinfo=UTC), 0),
    _Market("Berlin", "Berlin", None, "DE", datetime(2026, 10, 12, 17, 0, tzinfo=UTC), 1),
    _Market("東京", "東京", None, "JP", datetime(2026, 11, 1, 9, 0, tzinfo=UTC), 1),
    _Market("=Anywhere", None, None, None, None, 0),
    _Market("Livestream", None, "Online", None, None, 1),
)
# Two of the same name, one that would escape from a folder, one that looks like a formula, foreign letters.
_PROMOTERS = ("Big Shows Inc.", "Big Shows Inc.", "../../etc/passwd", "=Promo", "Konzertbüro Süd & Söhne", "音楽事務所")
# id, type, label; fans.py answers all but the last
_PREFERENCES = (
    ("pref_vip", "checkbox", "VIP packages"),
    ("pref_song", "text", 'Favourite song, "old" or new'),
    ("pref_tickets", "number", "How many tickets?"),
    ("pref_days", "multiselect", "Which days?"),
    ("pref_age", "radio", "Are you 18 or older?"),
    ("pref_unanswered", "text", "Nobody answers this"),
)


def campaign_document(campaign_id: str, name: str, promoters: tuple[Document, ...]) -> Document:
    """Make the document of `campaigns`."""
    return {
        "_id": ObjectId(campaign_id),
        "name": name,
        "type": "standard",
        "artist": {"name": "The Paper Comets"},
        "promoterIds": [promoter["_id"] for promoter in promoters],
        "preferences": [
            {"id": key, "type": kind, "is_optional": True, "label": dict.fromkeys(LOCALES, label)}
            for key, kind, label in _PREFERENCES
        ],
        "ticketUrl": "https://tickets.example.com/comets?from=email&wave=1",
    }


def promoter_documents(campaign_id: str) -> tuple[Document, ...]:
    """Make the documents of `promoters`."""
    return tuple(
        {"_id": object_id("promoter", campaign_id, number), "name": name} for number, name in enumerate(_PROMOTERS)
    )


def market_documents(campaign_id: str) -> tuple[Document, ...]:
    """Make the documents of `markets`."""
    return tuple(_market_document(campaign_id, number, market) for number, market in enumerate(_MARKETS))


def _market_document(campaign_id: str, number: int, market: _Market) -> Document:
    event: Document = {"venue": f"Hall {number}"}
    if market.date:
        event["date"] = market.date
    if market.events:
        event["ids"] = [object_id("event", campaign_id, number, show)[:16].upper() for show in range(market.events)]
    document: Document = {
        "_id": ObjectId(object_id("market", campaign_id, number)),
        "campaignId": campaign_id,
        "name": market.name,
        "city": market.city,
        "state": market.state,
        "countryCode": market.country,
        "event": event,
    }
    return {key: value for key, value in document.items() if value is not None}
