"""Filling a database with a synthetic campaign."""

from __future__ import annotations

import itertools
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from bson import ObjectId
from pymongo.errors import BulkWriteError

from vfexport_core.embedded.synthetic.awards import code_text
from vfexport_core.embedded.synthetic.campaign import DEFAULT_DIRTY_SHARE, DEFAULT_NAME, SyntheticCampaign
from vfexport_core.embedded.synthetic.indexes import create_source_indexes
from vfexport_core.errors import CampaignExists
from vfexport_core.mongo.client import reading
from vfexport_core.mongo.retry import has_only_duplicates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pymongo.database import Database

    from vfexport_core.mongo.document import Document

# The next batches are made while one is on its way. Several connections that insert at once only slow the embedded
# server down (1,070 entries/s from one, 650 from four), and a real one is not what synthetic campaigns are for.
_BATCHES_AHEAD = 2
_COLLECTIONS = {"sms_waves": "smsWaves"}


def seed_campaign(
    database: Database[Document],
    *,
    entries: int,
    campaign_name: str | None = None,
    seed: int = 0,
    dirty_share: float = DEFAULT_DIRTY_SHARE,
    on_progress: Callable[[int], None] | None = None,
) -> str:
    """Load a campaign of `entries` entries with all that belongs to it, and the source indexes; give its id.

    Everything follows from the arguments, the id from `seed` and `campaign_name` alone. The campaign's own document
    comes last: what an interrupted load left is removed by the next one with the same id. `on_progress` gets the number
    of entries loaded so far. Raises CampaignExists when the id is taken, SourceUnavailable when MongoDB fails,
    ValueError for arguments out of range.
    """
    campaign = SyntheticCampaign(entries, campaign_name or DEFAULT_NAME, seed, dirty_share)
    with reading("campaigns"):
        taken = database["campaigns"].find_one({"_id": ObjectId(campaign.id)}, {"_id": 1})
    if taken:
        raise CampaignExists(f"seed {seed} of {campaign.name!r} is loaded already", payload=campaign.id)
    create_source_indexes(database)
    _remove_leftovers(database, campaign)
    _insert(database, "promoters", campaign.promoters)
    _insert(database, "markets", campaign.markets)
    _insert_batches(database, campaign, on_progress or (lambda _: None))
    _insert(database, "campaigns", [campaign.document])
    return campaign.id


def _remove_leftovers(database: Database[Document], campaign: SyntheticCampaign) -> None:
    """Remove what an interrupted load left; its users stay, for they may belong to other campaigns of the seed."""
    entries = ({"_id.user_id": _between(*ids)} for ids in campaign.user_ids.slices())
    scoring = ({"_id": _between(*map(ObjectId, ids))} for ids in campaign.awarder.scoring_ids.slices())
    codes = (
        {"_id": _between(code_text(first, ""), code_text(last, "Z"))}
        for first, last in campaign.awarder.code_ids.slices()
    )
    _remove(database, "entries", {"_id.campaign_id": campaign.id}, entries)
    _remove(database, "scoring", {"campaignId": campaign.id}, scoring)
    _remove(database, "codes", {"campaignId": campaign.id}, codes)
    _remove(database, "smsWaves", {"campaignId": campaign.id}, [{}])
    _remove(database, "markets", {"campaignId": campaign.id}, [{}])
    _remove(database, "promoters", {"_id": {"$in": [promoter["_id"] for promoter in campaign.promoters]}}, [{}])


def _remove(database: Database[Document], collection: str, which: Document, slices: Iterable[Document]) -> None:
    """Remove documents slice by slice: the embedded server takes a millisecond for each, and a command has a minute."""
    with reading(collection):
        if database[collection].find_one(which, {"_id": 1}):
            for part in slices:
                database[collection].delete_many(which | part)


def _between(first: Any, last: Any) -> Document:
    return {"$gte": first, "$lte": last}


def _insert_batches(
    database: Database[Document], campaign: SyntheticCampaign, on_progress: Callable[[int], None]
) -> None:
    """Insert every batch, in order, while another thread makes the next ones."""
    done = 0
    numbers = iter(range(campaign.batches))
    pool = ThreadPoolExecutor(1, thread_name_prefix="seed")
    try:
        ahead = deque(pool.submit(campaign.batch, number) for number in itertools.islice(numbers, _BATCHES_AHEAD))
        while ahead:
            batch = ahead.popleft().result()
            ahead.extend(pool.submit(campaign.batch, number) for number in itertools.islice(numbers, 1))
            for field in fields(batch):
                _insert(database, _COLLECTIONS.get(field.name, field.name), getattr(batch, field.name))
            done += len(batch.entries)
            on_progress(done)
    finally:
        pool.shutdown(cancel_futures=True)


def _insert(database: Database[Document], collection: str, documents: Iterable[Document]) -> None:
    """Insert the documents; users that another campaign of the seed brought along are kept as they are."""
    documents = list(documents)
    if not documents:
        return
    with reading(collection):
        try:
            database[collection].insert_many(documents, ordered=False)
        except BulkWriteError as error:
            if collection != "users" or not has_only_duplicates(error):
                raise
