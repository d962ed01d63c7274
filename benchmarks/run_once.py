"""One measured run in a process of its own: exports the campaign into a sink and prints its figures as JSON.

    run_once.py pipeline|upload|indexed|plain|receive TYPE PORT [--processes N] [--warm-up] [--output FILE]

Each way imports only what it needs, so that the peak of memory is its own. The clock starts when its modules are
imported: a service imports them once, not once per export.
"""
# ruff: noqa: PLC0415 an import at the top would be paid for, in memory, by every way

from __future__ import annotations

import argparse
import hashlib
import io
import json
import resource
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from replay_data import CAMPAIGN_ID, WARM_UP_ID

from vfexport_core.without_pandas import leave_out_pandas

if TYPE_CHECKING:
    from collections.abc import Callable

    from bson import ObjectId

_DATABASE = "verifiedfan"
_LOOKUP_BATCH = 1_000
_CSV_BUFFER_BYTES = 2**20


class Sink(io.RawIOBase):
    """Where the file goes: it is hashed and counted, as by a delivery, and kept only when a path is given."""

    def __init__(self, path: Path | None) -> None:
        super().__init__()
        self.bytes = 0
        self.copies: list[Callable[[Any], object]] = []
        """Who else is given what is written."""
        self.sha256 = hashlib.sha256()
        self._file = path.open("wb") if path else None

    def writable(self) -> bool:
        return True

    def write(self, block: Any) -> int:
        self.sha256.update(block)
        for copy in self.copies:
            copy(block)
        self.bytes += len(block)
        if self._file:
            self._file.write(block)
        return len(block)

    def close(self) -> None:
        if self._file:
            self._file.close()
        super().close()


def prepare_pipeline(
    port: int, export_type: str, campaign_id: ObjectId, sink: Sink, processes: int | None
) -> Callable[[], int]:
    """Return the run of the service's own pipeline; the run counts first, as the service does, and returns the rows."""
    from vfexport_core.catalog import find_spec
    from vfexport_core.mongo.client import opened
    from vfexport_core.pipeline.counting import count_rows
    from vfexport_core.pipeline.export_pipeline import ExportPipeline
    from vfexport_core.pipeline.export_plan import ExportPlan
    from vfexport_core.pipeline.run import write_rows
    from vfexport_core.settings import Settings
    from vfexport_core.sources.campaigns import find_campaign

    settings = Settings(_env_file=None, mongo_uri=_uri(port), mongo_database=_DATABASE, format_processes=processes)

    def run() -> int:
        with opened(settings) as database:
            spec, campaign = find_spec(export_type), find_campaign(database, str(campaign_id))
            pipeline = ExportPipeline(ExportPlan.load(spec, campaign, database, settings), database)
            pipeline.expected = count_rows(spec, str(campaign_id), database, settings)
            write_rows(pipeline, sink, lambda _read, _rows, _written: None)
            return pipeline.counters.rows

    return run


def prepare_upload(
    port: int, export_type: str, campaign_id: ObjectId, sink: Sink, processes: int | None
) -> Callable[[], int]:
    """Return the run that also sends the file to the bucket that VFEXPORT_BUCKETS__EXPORTS__* name."""
    from vfexport_core.catalog.spec import Bucket
    from vfexport_core.settings import Settings
    from vfexport_core.storage.buckets import BucketClients
    from vfexport_core.storage.object_store import NewObject

    key = f"{export_type}-{uuid.uuid4().hex}.csv"
    buckets = BucketClients(Settings(_env_file=None, mongo_uri=_uri(port)))
    export = prepare_pipeline(port, export_type, campaign_id, sink, processes)

    def run() -> int:
        with buckets, buckets.store(Bucket.EXPORTS).begin(NewObject(key=key, staging_key=f"_staging/{key}")) as writer:
            sink.copies.append(writer.write)
            rows = export()
            writer.publish({}, lambda: None)
            return rows

    return run


def prepare_indexed(
    port: int, export_type: str, campaign_id: ObjectId, sink: Sink, processes: int | None
) -> Callable[[], int]:
    """Return the run that also makes the index of the people in the file, up to what MongoDB would be sent."""
    import bson

    from vfexport_core.catalog import find_spec
    from vfexport_core.ccpa.file_index import FileIndexWriter, split_keys
    from vfexport_core.ccpa.person_keys import Keys, PersonHasher
    from vfexport_core.mongo.client import opened
    from vfexport_core.pipeline.counting import count_rows
    from vfexport_core.pipeline.export_pipeline import ExportPipeline
    from vfexport_core.pipeline.export_plan import ExportPlan
    from vfexport_core.pipeline.run import write_rows
    from vfexport_core.settings import Settings
    from vfexport_core.sources.campaigns import find_campaign

    settings = Settings(_env_file=None, mongo_uri=_uri(port), mongo_database=_DATABASE, format_processes=processes)
    hasher = PersonHasher.of_secret("benchmark")

    class Counting:
        stored = 0

        def add_segment(self, file: str, number: int, campaign_id: str, key_check: str, keys: Keys) -> None:  # noqa: ARG002
            self.stored += sum(len(bson.encode({"slot": slot, "keys": part})) for slot, part in split_keys(keys))

    def run() -> int:
        index = Counting()
        writer = FileIndexWriter(index, "benchmark:1", str(campaign_id), hasher.key_check)
        with opened(settings) as database:
            spec, campaign = find_spec(export_type), find_campaign(database, str(campaign_id))
            plan = ExportPlan.load(spec, campaign, database, settings, people=hasher)
            pipeline = ExportPipeline(plan, database, writer.add)
            pipeline.expected = count_rows(spec, str(campaign_id), database, settings)
            write_rows(pipeline, sink, lambda _read, _rows, _written: None)
            writer.close()
            print(f"index: {index.stored / max(1, pipeline.counters.rows):.2f} bytes per row", file=sys.stderr)
            return pipeline.counters.rows

    return run


def prepare_plain(
    port: int, export_type: str, campaign_id: ObjectId, sink: Sink, processes: int | None
) -> Callable[[], int]:
    """Return the run of the plain exporter; the run returns the rows written."""
    import pymongo
    from plain_exporter import PlainExporter

    del processes

    def run() -> int:
        with pymongo.MongoClient(_uri(port)) as client:
            exporter = PlainExporter(client[_DATABASE], campaign_id, export_type, _LOOKUP_BATCH)
            buffered = io.BufferedWriter(sink, _CSV_BUFFER_BYTES)
            with io.TextIOWrapper(buffered, "utf-8", newline="") as text:
                return exporter.write(text)

    return run


def prepare_receive(
    port: int, export_type: str, campaign_id: ObjectId, sink: Sink, processes: int | None
) -> Callable[[], int]:
    """Return the run that only receives what the pipeline reads; the run returns the rows that it would make."""
    from raw_reader import RawReader

    del processes

    reader = RawReader(port, campaign_id, export_type, _LOOKUP_BATCH)

    def run() -> int:
        sink.bytes = reader.read()
        reader.close()
        return reader.rows

    return run


def _uri(port: int) -> str:
    return f"mongodb://127.0.0.1:{port}/?directConnection=true"


_WAYS = {
    "pipeline": prepare_pipeline,
    "upload": prepare_upload,
    "indexed": prepare_indexed,
    "plain": prepare_plain,
    "receive": prepare_receive,
}


def _cpu_seconds() -> float:
    """Return the time of this process and of those that it has started and that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way", choices=_WAYS)
    parser.add_argument("export_type")
    parser.add_argument("port", type=int)
    parser.add_argument("--processes", type=int, help="processes of the pipeline, with its own")
    parser.add_argument("--warm-up", action="store_true", help="export the small campaign instead")
    parser.add_argument("--output", type=Path, help="keep the file as well")
    arguments = parser.parse_args()
    leave_out_pandas()  # it is not installed with the service
    sink = Sink(arguments.output)
    campaign_id = WARM_UP_ID if arguments.warm_up else CAMPAIGN_ID
    run = _WAYS[arguments.way](arguments.port, arguments.export_type, campaign_id, sink, arguments.processes)
    cpu, start = _cpu_seconds(), time.perf_counter()
    rows = run()
    seconds = time.perf_counter() - start
    figures = {"rows": rows, "bytes": sink.bytes, "seconds": seconds, "cpu_seconds": _cpu_seconds() - cpu}
    print(json.dumps({**figures, "sha256": sink.sha256.hexdigest()}))
    sink.close()


if __name__ == "__main__":
    main()
