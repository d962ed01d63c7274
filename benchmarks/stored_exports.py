"""Export documents by the million, as the service would have left them."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from bson import ObjectId

from vfexport_core.catalog import all_specs
from vfexport_core.queue.models import Delivered, NewExport
from vfexport_core.queue.repository import ExportRepository

if TYPE_CHECKING:
    from pymongo.database import Database

AT_ONCE = 5_000


def store_exports(database: Database[dict[str, Any]], campaigns: list[str], number: int) -> list[str]:
    """Add `number` FINISHED exports, spread over the campaigns; gives the paths of some."""
    exports = database["exports"]
    types = [spec.type for spec in all_specs()]
    pattern = _finished(database, campaigns[0])
    rng, batch = random.Random(number), []
    for start in range(0, number, AT_ONCE):
        batch = []
        for place in range(start, min(start + AT_ONCE, number)):
            ago = timedelta(seconds=rng.randrange(10**8))
            dates = {name: moment - ago for name, moment in pattern["date"].items()}
            attempts = [
                {name: value - ago if isinstance(value, datetime) else value for name, value in one.items()}
                for one in pattern["attempts"]
            ]
            changed = {
                "_id": ObjectId(),
                "campaignId": campaigns[place % len(campaigns)],
                "exportType": types[place % len(types)],
                "date": dates,
                "attempts": attempts,
            }
            batch.append(pattern | changed)
        exports.insert_many(batch, ordered=False)
    return [f"/campaigns/{one['campaignId']}/exports/{one['_id']}" for one in batch]


def _finished(database: Database[dict[str, Any]], campaign_id: str) -> dict[str, Any]:
    """Take one export through its life and give its document, as the pattern of the others."""
    store = ExportRepository(database)
    new = NewExport(
        campaign_id=campaign_id,
        campaign_name="Benchmark",
        export_type="entries",
        requester_user_id="benchmark",
        correlation_id="benchmark",
        source="api",
    )
    export, _ = store.request(new)
    claim, _ = store.claim(export.id, "benchmark")
    key = f"{campaign_id}/entries/Benchmark-{export.id}.csv"
    done = Delivered(
        bucket="bucket", keys=(key,), rows=20_000, bytes=6_000_000, sha256=("0" * 64,), meta={"read": 20_000}
    )
    store.claimed(claim).finish(done)
    document = database["exports"].find_one({"_id": ObjectId(export.id)})
    assert document
    return document
