"""A synthetic campaign as a plan: its documents by the batch, with no database needed and in bounded memory."""
# ruff: noqa: S311 nothing here is secret: the point is to get the same again

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING, Any

from bson import ObjectId

from vfexport_core.embedded.synthetic.awards import Awarder
from vfexport_core.embedded.synthetic.dirt import CODE_DIRT, ENTRY_DIRT, KINDS, SCORING_DIRT, USER_DIRT, Soiler
from vfexport_core.embedded.synthetic.ids import IdSeries, object_id
from vfexport_core.embedded.synthetic.people import Fan, entry_document, make_fan, user_document
from vfexport_core.embedded.synthetic.show import campaign_document, market_documents, promoter_documents

if TYPE_CHECKING:
    from vfexport_core.mongo.document import Document

DEFAULT_NAME = "The Paper Comets – World Tour"  # noqa: RUF001 a dash outside ASCII, for keys and file names
DEFAULT_DIRTY_SHARE = 0.002
BATCH_FANS = 1_000


@dataclass(frozen=True, slots=True)
class CampaignBatch:
    """The documents of up to `BATCH_FANS` fans, by collection; users that do not exist are left out."""

    users: list[Document]
    entries: list[Document]
    scoring: list[Document]
    codes: list[Document]
    sms_waves: list[Document]


@dataclass(frozen=True)
class SyntheticCampaign:
    """A campaign of `entries` entries that follows from its arguments to the last byte.

    Fans follow from the seed (and `dirty_share`) alone: campaigns of one seed and different names share them. The first
    whole batches of a larger campaign are those of a smaller one. `dirty_share` is the share of documents that get each
    kind of dirt (dirt.py). Raises ValueError for arguments out of range.
    """

    entries: int
    name: str = DEFAULT_NAME
    seed: int = 0
    dirty_share: float = DEFAULT_DIRTY_SHARE

    def __post_init__(self) -> None:
        if self.entries < 0:
            raise ValueError("entries must not be negative")
        if not 0 <= self.dirty_share * KINDS <= 1:
            raise ValueError(f"dirty_share must be between 0 and 1/{KINDS}: a document gets one of up to {KINDS} kinds")

    @cached_property
    def id(self) -> str:
        return object_id("campaign", self.seed, self.name)

    @cached_property
    def document(self) -> Document:
        return campaign_document(self.id, self.name, self.promoters)

    @cached_property
    def promoters(self) -> tuple[Document, ...]:
        return promoter_documents(self.id)

    @cached_property
    def markets(self) -> tuple[Document, ...]:
        return market_documents(self.id)

    @property
    def batches(self) -> int:
        """How many batches there are."""
        return -(-self.entries // BATCH_FANS)

    def batch(self, number: int) -> CampaignBatch:
        """Make one batch; batches are independent of each other and can be made in any order, by any thread."""
        people = Random(f"{self.seed}/fans/{number}")
        numbers = range(number * BATCH_FANS, min((number + 1) * BATCH_FANS, self.entries))
        fans = [make_fan(each, self.user_ids[each], people) for each in numbers]
        awards = self.awarder.award(fans, self._random("awards", number))
        self._soil(awards.scoring, SCORING_DIRT, "scoring", number)
        self._soil(awards.codes, CODE_DIRT, "codes", number)
        users = self._users(fans, Random(f"{self.seed}/users/{number}"))
        return CampaignBatch(users, self._entries(fans, number), awards.scoring, awards.codes, awards.sms_waves)

    @cached_property
    def user_ids(self) -> IdSeries:
        return IdSeries("user", self.seed)

    @cached_property
    def awarder(self) -> Awarder:
        return Awarder(self.id, self.markets)

    def _users(self, fans: list[Fan], random: Random) -> list[Document]:
        soiler = Soiler(USER_DIRT, self.dirty_share)
        users = [user_document(fan, ObjectId(fan.user_id), random) for fan in fans]
        return [user for user in users if soiler.soil(user, random)]

    def _entries(self, fans: list[Fan], number: int) -> list[Document]:
        random = self._random("entries", number)
        markets = tuple(str(market["_id"]) for market in self.markets)
        promoters = tuple(str(promoter["_id"]) for promoter in self.promoters)
        entries = [entry_document(fan, self.id, markets, promoters, random) for fan in fans]
        self._soil(entries, ENTRY_DIRT, "entries", number)
        return entries

    def _soil(self, documents: list[Document], kinds: Any, collection: str, number: int) -> None:
        soiler, random = Soiler(kinds, self.dirty_share), self._random(f"dirt/{collection}", number)
        for document in documents:
            soiler.soil(document, random)

    def _random(self, use: str, number: int) -> Random:
        """Return a source of its own to each use, so that a change of one leaves the others' documents alone."""
        return Random(f"{self.id}/{use}/{number}")
