"""The stages by themselves: what a batch becomes does not depend on who transforms it, nor on the batches before it."""

from __future__ import annotations

import io
import pickle
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from tests.builders import make_campaign, make_entry, make_market, make_scoring, make_user
from tests.delivered import load, unzipped
from tests.reference import Campaign, export
from vfexport_core.catalog import all_specs, find_spec
from vfexport_core.embedded.synthetic import DATE_KEYS, seed_campaign
from vfexport_core.files.grouping import ByRegionAndLocale, RowGroup
from vfexport_core.pipeline.export_pipeline import ExportPipeline
from vfexport_core.pipeline.export_plan import ExportPlan
from vfexport_core.pipeline.run import write_rows
from vfexport_core.pipeline.stages import is_ordered, scan, transform
from vfexport_core.rows.row_counters import RowCounters
from vfexport_core.rows.texts import text_bytes
from vfexport_core.sources.campaigns import find_campaign

if TYPE_CHECKING:
    from pymongo.database import Database

    from vfexport_core.files.grouping import EncodedBatch
    from vfexport_core.settings import Settings

WORKERS = 3


def plan_of(database: Database[Any], campaign_id: str, export_type: str, settings: Settings) -> ExportPlan:
    spec = find_spec(export_type)
    date_key = DATE_KEYS[0] if spec.needs_date_key else None
    options: dict[str, Any] = {"include_all_markets": True, "date_key": date_key, "batch_documents": 4}
    return ExportPlan.load(spec, find_campaign(database, campaign_id), database, settings, **options)


def content(batch: EncodedBatch) -> tuple[list[tuple[Any, bytes]], RowCounters]:
    return [(group.key, text_bytes(group.rows)) for group in batch.groups], batch.counters


def transformed(plan: ExportPlan, raw: list[bytes], database: Database[Any]) -> list[EncodedBatch]:
    with closing(transform(plan, raw, database, threading.Event())) as batches:
        return list(batches)


def test_several_workers_make_the_same_batches_as_one(database: Database[Any], settings: Settings):
    campaign_id = seed_campaign(database, entries=200, dirty_share=0.015)
    for spec in all_specs():
        plan = plan_of(database, campaign_id, spec.type, settings)
        raw = list(scan(plan, database, threading.Event()))
        one = transformed(plan, raw, database)
        assert len(one) == len(raw) > WORKERS
        if is_ordered(plan):
            assert spec.type == "reminderEmailSample"
            continue
        # What crosses to another process and back is copied.
        shared = [pickle.loads(pickle.dumps(plan)) for _ in range(WORKERS)]
        parts = [transformed(copy, raw[place::WORKERS], database) for place, copy in enumerate(shared)]
        parts = [pickle.loads(pickle.dumps(part)) for part in parts]
        several = [parts[place % WORKERS][place // WORKERS] for place in range(len(raw))]
        assert [content(batch) for batch in several] == [content(batch) for batch in one], spec.type
        totals = (RowCounters(), RowCounters())
        for batch, last in zip(several, reversed(one), strict=True):
            totals[0].merge(batch.counters)
            totals[1].merge(last.counters)
        assert totals[0] == totals[1], "they add up in any order"
        assert totals[0].rows == sum(len(group.rows) for batch in one for group in batch.groups) > 0


def test_a_stopped_export_leaves_no_thread(database: Database[Any], settings: Settings):
    campaign_id = seed_campaign(database, entries=200, dirty_share=0.015)
    before = set(threading.enumerate())
    pipeline = ExportPipeline(plan_of(database, campaign_id, "entries", settings), database)

    def stop(read: int, *_: int) -> None:
        if read > 4:
            raise InterruptedError

    with pytest.raises(InterruptedError) as stopped:
        write_rows(pipeline, io.BytesIO(), stop)
    # Even while the traceback still holds every frame.
    assert stopped.tb is not None
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not [name for name in left if name.startswith(("prefetch", "lookup"))]


def test_parts_are_filled_across_batches():
    partition = ByRegionAndLocale(3, "csv")
    placed: list[tuple[str, list[str]]] = []
    for number, size in enumerate([2, 5, 1]):
        rows = pa.array([f"{number}.{row}" for row in range(size)], pa.string())
        placed += [(part.path("csv"), some.to_pylist()) for part, some in partition.place(RowGroup(("NA", "en"), rows))]
    assert placed == [
        ("NA/en-001.csv", ["0.0", "0.1"]),
        ("NA/en-001.csv", ["1.0"]),
        ("NA/en-002.csv", ["1.1", "1.2", "1.3"]),
        ("NA/en-003.csv", ["1.4"]),
        ("NA/en-003.csv", ["2.0"]),
    ]
    assert list(partition.files().values()) == [f"NA/en-{number:03}.csv" for number in (1, 2, 3)]
    assert list(partition.rows.values()) == [3, 3, 2]


def test_locales_that_share_a_file_keep_the_order_of_their_rows(database: Database[Any], settings: Settings):
    fans = range(1, 7)
    bundle = Campaign(
        make_campaign(),
        [make_market()],
        [make_user(number) for number in fans],
        [make_entry(number) for number in fans],
        [make_scoring(number, locale=("xx/us", "xx_us", "xx:us")[number % 3]) for number in fans],
    )
    campaign_id = load(database, bundle)
    out = io.BytesIO()
    write_rows(
        ExportPipeline(plan_of(database, campaign_id, "reminderEmail", settings), database), out, lambda *_: None
    )
    assert unzipped(out.getvalue()) == export(bundle, "reminderEmail").files
