"""Which documents of a collection are one campaign's, in the form that the collection's indexes serve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from bson import MaxKey, ObjectId

from vfexport_core.catalog.collections import Collection
from vfexport_core.errors import SourceMissing
from vfexport_core.mongo.retry import ReadRetries, retry_read
from vfexport_core.mongo.usable_indexes import index_beginning_with, usable_indexes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pymongo.database import Database

    from vfexport_core.mongo.document import Document
    from vfexport_core.mongo.usable_indexes import Keys

_ENTRIES_COMPOUND_KEY = ("_id.campaign_id", "_id.user_id")
_CAMPAIGN_KEY = ("campaignId", "_id")
# Named one by one, since an index has a range for each of them but none for "not a string". Without "array": that one
# has no range, so that MongoDB would fetch every document of the campaign. An array is found by its elements.
_NOT_STRINGS = [
    "minKey", "null", "int", "long", "double", "decimal", "object", "binData", "objectId", "bool", "date",
    "timestamp", "regex", "javascript", "maxKey",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class EntryRange:
    """One campaign's entries; ``_id`` is {campaign_id, user_id}, so that the campaign is one range of the index.

    `dotted` uses the compound index on the two paths where a deployment has it instead of the default one.
    """

    campaign_id: str
    dotted: bool
    resume_index: ClassVar[None] = None
    """Every condition on entries is on the keys of their index alone: no other one can be taken for it."""

    @property
    def sort(self) -> dict[str, int]:
        return dict.fromkeys(_ENTRIES_COMPOUND_KEY, 1) if self.dotted else {"_id": 1}

    def match(self, last: Any = None) -> Document:
        """Select the campaign's entries, or those after the ``_id`` `last`."""
        if self.dotted:
            if last is None:
                return {"_id.campaign_id": self.campaign_id}
            # Without $expr, $gt would only find user ids of the same BSON type as the last one.
            after = {"$gt": ["$_id.user_id", {"$literal": last.get("user_id")}]}
            return {"_id.campaign_id": self.campaign_id, "$expr": after}
        upper = {"campaign_id": self.campaign_id, "user_id": MaxKey()}
        lower = {"$gte": {"campaign_id": self.campaign_id}} if last is None else {"$gt": last}
        return {"_id": {**lower, "$lte": upper}}

    def having(self, keys: list[Any]) -> Document:
        """Select the campaign's entries of these users."""
        if self.dotted:
            return {"_id.campaign_id": self.campaign_id, "_id.user_id": {"$in": keys}}
        return {"_id": {"$in": [{"campaign_id": self.campaign_id, "user_id": key} for key in keys]}}

    def with_nonconforming_keys(self) -> Document:
        """Select the campaign's entries whose user id is no string; the index finds them without reading the others."""
        if self.dotted:
            return {"_id.campaign_id": self.campaign_id, "_id.user_id": {"$type": _NOT_STRINGS}}
        whole = self.match()["_id"]
        below_strings = {**whole, "$lt": {"campaign_id": self.campaign_id, "user_id": ""}}
        del below_strings["$lte"]
        above_strings = {**whole, "$gte": {"campaign_id": self.campaign_id, "user_id": {}}}
        return {"$or": [{"_id": below_strings}, {"_id": above_strings}]}


@dataclass(frozen=True, slots=True)
class CampaignRange:
    """One campaign's documents of a collection that refers to it by ``campaignId`` (and to users by ``userId``).

    `resume_index` is the name of the campaign's index. A scan that goes on has a condition on ``_id`` too, by which
    MongoDB may choose that index and read on through all other campaigns: it is told which one to use.
    """

    campaign_id: str
    resume_index: str | None = None

    @property
    def sort(self) -> dict[str, int]:
        return {"_id": 1}

    def match(self, last: Any = None) -> Document:
        """Select the campaign's documents, or those after the ``_id`` `last`; some refer by ObjectId, not by string."""
        own = {"campaignId": {"$in": [self.campaign_id, ObjectId(self.campaign_id)]}}
        return own if last is None else {**own, "$expr": {"$gt": ["$_id", {"$literal": last}]}}

    def having(self, keys: list[Any]) -> Document:
        """Select the documents of these users, those apart that `with_nonconforming_keys` selects."""
        return {"campaignId": self.campaign_id, "userId": {"$in": keys}}

    def with_nonconforming_keys(self) -> Document:
        """Select the documents that refer to their campaign or their user by something else than a string."""
        nonconforming_user = {"campaignId": self.campaign_id, "userId": {"$type": _NOT_STRINGS}}
        return {"$or": [nonconforming_user, {"campaignId": ObjectId(self.campaign_id)}]}


Range: TypeAlias = EntryRange | CampaignRange


def range_of(database: Database[Document], collection: Collection, campaign_id: str) -> Range:
    """Look once at the collection and choose the range that its indexes serve.

    Raises SourceMissing when the collection does not exist, SourceUnavailable when MongoDB fails.
    """
    name = collection.spec.name
    indexes = retry_read(lambda: usable_indexes(database, name), ReadRetries(name, operation="list indexes"))
    if indexes is None:
        # That is no empty file.
        raise SourceMissing(f"collection {name} does not exist in database {database.name}", payload=name)
    if not collection.spec.campaign_in_id:
        return CampaignRange(campaign_id, index_beginning_with(_CAMPAIGN_KEY, indexes))
    return EntryRange(campaign_id, _has_compound_key(indexes))


def entries_are_dotted(database: Database[Document]) -> bool:
    """Look, once, whether entries have the compound index (see `EntryRange`); raises what the driver raises."""
    return _has_compound_key(usable_indexes(database, Collection.ENTRIES.spec.name) or {})


def _has_compound_key(indexes: Mapping[str, Keys]) -> bool:
    return index_beginning_with(_ENTRIES_COMPOUND_KEY, indexes) is not None
