"""What every export type needs: rows per second, MB per second and the peak of memory, each in a process of its own.

    .venv/bin/python benchmarks/all_types.py                        200,000 entries: loading them takes the longest
    .venv/bin/python benchmarks/all_types.py --entries 20000
    .venv/bin/python benchmarks/all_types.py --types waitlist --excluded 2000000

Prints a table; exits 1 when a type's peak is 400 MB or more. The embedded MongoDB answers all reads, and it, not the
exporter, bounds the speed (throughput.py shows the exporter's own). Memory is the exporter's, whatever the server.

(Not called types.py: a script's folder comes first on Python's path, and would hide the standard library's `types`.)
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bson import ObjectId
from pymongo import MongoClient

from vfexport_core.catalog import all_specs, find_spec
from vfexport_core.embedded import embedded_mongo
from vfexport_core.embedded.environment import LOOKUP_BATCH
from vfexport_core.embedded.synthetic import DATE_KEYS, seed_campaign

if TYPE_CHECKING:
    from collections.abc import Sequence

DATABASE = "benchmark"
LIMIT_MB = 400
WAVE_MEMBERS = 400_000  # a document holds 16 MiB


class Sink(io.RawIOBase):
    """Hashes and counts what a delivery would upload."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0
        self.sha256 = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, block: Any) -> int:
        self.sha256.update(block)
        self.size += len(block)
        return len(block)


def export_one(export_type: str, uri: str, campaign_id: str) -> None:
    """Export one type in this process and print its figures as JSON."""
    # Imported here: the parent's memory and the time of importing are nobody's figures.
    from vfexport_core.mongo.client import opened  # noqa: PLC0415
    from vfexport_core.pipeline.export_pipeline import ExportPipeline  # noqa: PLC0415
    from vfexport_core.pipeline.export_plan import ExportPlan  # noqa: PLC0415
    from vfexport_core.pipeline.run import write_rows  # noqa: PLC0415
    from vfexport_core.settings import load_settings  # noqa: PLC0415
    from vfexport_core.sources.campaigns import find_campaign  # noqa: PLC0415

    settings = load_settings(None, mongo_uri=uri, mongo_database=DATABASE, lookup_batch=LOOKUP_BATCH)
    spec, sink = find_spec(export_type), Sink()
    began, cpu = time.perf_counter(), time.process_time()
    with opened(settings) as database:
        plan = ExportPlan.load(
            spec,
            find_campaign(database, campaign_id),
            database,
            settings,
            include_all_markets=True,
            date_key=DATE_KEYS[0] if spec.needs_date_key else None,
        )
        pipeline = ExportPipeline(plan, database)
        write_rows(pipeline, sink, lambda *_: None)  # pyright: ignore[reportArgumentType] a raw stream is enough
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    figures = {
        "read": pipeline.counters.read,
        "rows": pipeline.counters.rows,
        "bytes": sink.size,
        "seconds": seconds,
        "cpu": cpu,
    }
    print(json.dumps({**figures, "sha256": sink.sha256.hexdigest()}))


def measure(export_type: str, uri: str, campaign_id: str) -> dict[str, Any]:
    """Run one type in a fresh process; its peak of memory is what the kernel counted."""
    command = [sys.executable, __file__, "--one", export_type, uri, campaign_id]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{export_type} ended with {process.returncode}")
    return {**json.loads(output), "type": export_type, "peak_mb": usage.ru_maxrss * 1024 / 1e6}


def exclude(client: MongoClient[Any], campaign_id: str, members: int) -> None:
    """Add SCHEDULED waves of so many members, none of whom is a fan of the campaign."""
    for start in range(0, members, WAVE_MEMBERS):
        ids = [f"{number:024x}" for number in range(start, min(start + WAVE_MEMBERS, members))]
        wave = {"_id": ObjectId(), "campaignId": campaign_id, "status": "SCHEDULED", "memberIds": ids}
        client[DATABASE]["smsWaves"].insert_one(wave)


def show(entries: int, found: Sequence[dict[str, Any]]) -> None:
    print(f"\n{entries:,} entries; the embedded MongoDB bounds the speed")
    names = ("type", "read", "rows", "MB", "seconds", "CPU s", "read/s", "rows/s", "MB/s", "peak MB")
    lines = [names, *(_figures(one) for one in found)]
    for name, *figures in lines:
        print(f"{name:22}" + "".join(f"{figure:>10}" for figure in figures))


def _figures(one: dict[str, Any]) -> tuple[str, ...]:
    seconds, size = one["seconds"], one["bytes"] / 1e6
    counts = (f"{one['read']:,}", f"{one['rows']:,}", f"{size:.1f}", f"{seconds:.1f}", f"{one['cpu']:.1f}")
    speeds = (f"{one['read'] / seconds:,.0f}", f"{one['rows'] / seconds:,.0f}", f"{size / seconds:.1f}")
    return (one["type"], *counts, *speeds, f"{one['peak_mb']:.0f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--entries", type=int, default=200_000)
    parser.add_argument("--types", nargs="*", default=[str(spec.type) for spec in all_specs()])
    parser.add_argument("--excluded", type=int, default=0, help="members of SCHEDULED waves, beside the campaign's own")
    parser.add_argument("--one", nargs=3, metavar=("TYPE", "URI", "CAMPAIGN"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        export_one(*options.one)
        return 0
    with (
        tempfile.TemporaryDirectory(prefix="vfexport-bench-", ignore_cleanup_errors=True) as folder,
        embedded_mongo(Path(folder), durable=False, stop_seconds=0) as server,
        MongoClient[Any](server.uri) as client,
    ):
        began = time.perf_counter()
        campaign_id = seed_campaign(client[DATABASE], entries=options.entries)
        exclude(client, campaign_id, options.excluded)
        print(f"loaded in {time.perf_counter() - began:.0f} s", flush=True)
        found = []
        for export_type in options.types:
            found.append(measure(export_type, server.uri, campaign_id))
            print(f"{export_type}: {found[-1]['seconds']:.1f} s, {found[-1]['peak_mb']:.0f} MB", flush=True)
    show(options.entries, found)
    return int(any(one["peak_mb"] >= LIMIT_MB for one in found))


if __name__ == "__main__":
    sys.exit(main())
