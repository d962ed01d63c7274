"""The documents of one campaign, and a row's view of them.

Where 01-03 are silent:
- Which documents belong to the campaign: entries by the exact string in ``_id.campaign_id`` (that is the ``_id`` range
  of 02), the others by ``campaignId`` as an id (text, so an ObjectId counts too).
- An id whose text is empty (an empty array, a string of U+0000) is given, but names nobody.
- Several entries of one user (ids that differ in case only): look-ups from scoring and codes take the first by ``_id``.
- Several selected scoring records of one user: verifiedEntries takes the first by ``_id``.
- ``unknownUser``: an entry without a user (also when its user_id is null or ""); a scoring record or a code only when
  it names a user that does not exist. ``unknownMarket``: the market that the row's document names does not exist.
  Both are counted once per document that has at least one row, and only by types with a column from the user or market.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import bson
from bson import ObjectId
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument

from tests.reference.order import order_key
from tests.reference.values import dig, id_key, present

Document = dict[str, object]
Source = Document | bytes | RawBSONDocument

CODEC = CodecOptions(
    unicode_decode_error_handler="surrogateescape", datetime_conversion=DatetimeConversion.DATETIME_MS, tz_aware=False
)


@dataclass
class Campaign:
    """One campaign's documents, as plain dicts or raw BSON; others' documents may be among them."""

    campaign: Source
    markets: list[Source] = field(default_factory=list)
    users: list[Source] = field(default_factory=list)
    entries: list[Source] = field(default_factory=list)
    scoring: list[Source] = field(default_factory=list)
    codes: list[Source] = field(default_factory=list)
    sms_waves: list[Source] = field(default_factory=list)
    promoters: list[Source] = field(default_factory=list)


def decode(source: Source) -> Document:
    """Return a document as a dict; bytes that are not UTF-8 become lone surrogates (see values.py)."""
    if isinstance(source, RawBSONDocument):
        source = bytes(source.raw)
    return bson.decode(source, CODEC) if isinstance(source, bytes) else source


def by_id_order(documents: list[Document]) -> list[Document]:
    return sorted(documents, key=lambda document: order_key(document.get("_id")))


def by_key(documents: list[Document]) -> dict[str, Document]:
    """Index by id; of two with the same text an ObjectId, which 02 says, goes before anything else."""
    index: dict[str, Document] = {}
    for document in sorted(documents, key=lambda document: not isinstance(document["_id"], ObjectId)):
        index.setdefault(id_key(document["_id"]), document)
    return index


class Data:
    """The decoded documents of the campaign, each list in ``_id`` order, and the look-ups."""

    def __init__(
        self, bundle: Campaign, *, date_key: str | None, regions: dict[str, str], sfmc_locales: dict[str, str]
    ) -> None:
        self.campaign = decode(bundle.campaign)
        self.date_key = date_key
        self.regions = regions
        self.sfmc_locales = sfmc_locales
        key = id_key(self.campaign["_id"])
        entries = [decode(source) for source in bundle.entries]
        self.entries = by_id_order([entry for entry in entries if dig(entry, "_id", "campaign_id") == key])
        self.scoring = self._own(bundle.scoring)
        self.codes = self._own(bundle.codes)
        self.sms_waves = self._own(bundle.sms_waves)
        self.markets = by_key(self._own(bundle.markets))
        self.users = by_key([decode(source) for source in bundle.users])
        self.promoters = by_key([decode(source) for source in bundle.promoters])
        self.entry_of: dict[str, Document] = {}
        for entry in self.entries:
            self.entry_of.setdefault(id_key(dig(entry, "_id", "user_id")), entry)

    def _own(self, sources: list[Source]) -> list[Document]:
        key = id_key(self.campaign["_id"])
        documents = [decode(source) for source in sources]
        return by_id_order([document for document in documents if id_key(document.get("campaignId")) == key])

    def of_entry(self, entry: Document, market_id: object, scoring: Document | None = None) -> Row:
        user = self.users.get(id_key(dig(entry, "_id", "user_id")))
        row = Row(self, entry=entry, user=user, scoring=scoring or {}, unknown_user=user is None)
        row.set_market(market_id)
        return row

    def of_user(self, user_id: object, **documents: Document) -> Row:
        """Make a row whose document (scoring record or code) names its user."""
        key = id_key(user_id)
        user = self.users.get(key) if key else None
        entry = self.entry_of.get(key, {}) if key else {}
        return Row(self, entry=entry, user=user, unknown_user=present(user_id) and user is None, **documents)


@dataclass
class Row:
    """Everything that one row can take its cells from; what is not there is empty."""

    data: Data
    entry: Document = field(default_factory=dict)
    user: Document | None = None
    market: Document | None = None
    scoring: Document = field(default_factory=dict)
    code: Document = field(default_factory=dict)
    held_code: Document = field(default_factory=dict)
    unknown_user: bool = False
    unknown_market: bool = False

    def set_market(self, market_id: object) -> None:
        self.market = self.data.markets.get(id_key(market_id)) if present(market_id) else None
        self.unknown_market = present(market_id) and self.market is None

    # The specification's letters.
    def c(self, *path: str) -> object:
        return dig(self.data.campaign, *path)

    def e(self, *path: str) -> object:
        return dig(self.entry, *path)

    def u(self, *path: str) -> object:
        return dig(self.user, "integrations", "ticketmaster", *path)

    def m(self, *path: str) -> object:
        return dig(self.market, *path)

    def s(self, *path: str) -> object:
        return dig(self.scoring, *path)

    def k(self, *path: str) -> object:
        return dig(self.code, *path)
