"""How fast the pipeline exports, against a plain pymongo + csv exporter of the same columns, on the same data.

    .venv/bin/python benchmarks/throughput.py                        100,000 entries: a few minutes on 2 idle cores
    .venv/bin/python benchmarks/throughput.py --full                 1,000,000 entries as well: half an hour
    .venv/bin/python benchmarks/throughput.py --processes 1 2 4      the pipeline with so many processes each
    .venv/bin/python benchmarks/throughput.py --reply-delay 0.03     a server that takes 30 ms longer for every answer
    .venv/bin/python benchmarks/throughput.py --upload               the pipeline into the embedded S3 as well

Prints a table of medians; exits 1 when something is not as it should be: other bytes, more memory than is stated, or
too small a ratio to the plain exporter. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, TypeAlias

from process_memory import MemoryWatch

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_HERE = Path(__file__).resolve().parent
_TYPES = ("entries", "scoring")
_DIRTY = (0.0, 0.001, 0.05)
_COMPARED_BYTES = 2**20
_SHOWN_BYTES = 60
MOST_MIB = 250
"""What each process of the pipeline may take; the sum may be so much for each."""
UPLOAD_MIB = 50
"""What sending the file may take beside: boto3, and the parts under way."""
# By the clock, pipeline to plain: what is wanted of a large clean campaign, and what must never be missed.
LEAST_RATIO_LARGE = 5.5
LEAST_RATIO = 1.0
_LARGE_ROWS = 1_000_000
_FIGURES = "     rows/s    MB/s  seconds   CPU s  CPU s+start  PSS MiB     sum"


@dataclass(frozen=True, slots=True)
class Way:
    """One way to read the campaign; `processes` of the pipeline (0: as many as it finds right)."""

    name: str
    processes: int = 0

    @property
    def arguments(self) -> list[str]:
        return [f"--processes={self.processes}"] if self.processes else []

    def __str__(self) -> str:
        return f"{self.name} x{self.processes}" if self.processes else self.name


_PLAIN, _RECEIVE = Way("plain"), Way("receive")


@dataclass(frozen=True)
class Run:
    """One run's figures: the clock and the processor from the run itself, the total from the kernel, memory as seen.

    Of a run of several processes, processor time is that of all.
    """

    rows: int
    bytes: int
    sha256: str
    seconds: float
    cpu_seconds: float
    process_cpu_seconds: float
    largest_mib: float
    sum_mib: float


Runs: TypeAlias = "dict[Way, list[Run]]"


@contextmanager
def replay_server(entries: int, dirty: float, arguments: argparse.Namespace) -> Generator[int]:
    """Start the server for a campaign of so many entries and give its port."""
    options = {"entries": entries, "dirty": dirty, "seed": arguments.seed, "reply-delay": arguments.reply_delay}
    command = [sys.executable, _HERE / "replay_server.py", *(f"--{name}={value}" for name, value in options.items())]
    command += ["--nested"] if arguments.nested else []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin
        assert server.stdout
        try:
            port = server.stdout.readline()
            if not port:
                raise SystemExit("the replay server did not start")
            yield int(port)
        finally:
            server.stdin.close()


@contextmanager
def storage(*, wanted: bool) -> Generator[None]:
    """Start an S3 server, if it is wanted, that the runs find by their environment."""
    if not wanted:
        yield
        return
    from vfexport_core.embedded import embedded_s3  # noqa: PLC0415 most measurements need none
    from vfexport_core.embedded.environment import embedded_buckets  # noqa: PLC0415 as above

    with tempfile.TemporaryDirectory() as folder, embedded_s3(Path(folder)) as server:
        os.environ.update(embedded_buckets(server))
        yield


def run_once(way: Way, export_type: str, port: int, *extra: str) -> Run:
    """Run one export in a fresh process, which the kernel accounts for by itself and with all that it has started."""
    command = [sys.executable, str(_HERE / "run_once.py"), way.name, export_type, str(port), *way.arguments, *extra]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=_environment()) as process:
        assert process.stdout
        with MemoryWatch(process.pid) as memory:
            printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{way} {export_type} failed with exit status {process.returncode}")
    return Run(
        **json.loads(printed),
        process_cpu_seconds=usage.ru_utime + usage.ru_stime,
        largest_mib=memory.largest_mib,
        sum_mib=memory.sum_mib,
    )


def _environment() -> dict[str, str]:
    """Let the runs find the package of this checkout, whether it is installed or not."""
    paths = [os.environ.get("PYTHONPATH"), str(_HERE.parent)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def measure(ways: list[Way], export_type: str, port: int, repetitions: int) -> Runs:
    """Run all ways by turns; the warm-up lets the server encode what it will be asked for."""
    runs: Runs = {way: [] for way in (*ways, _PLAIN, _RECEIVE)}
    for way in runs:
        run_once(way, export_type, port, "--warm-up")
    for _ in range(repetitions):
        for way, done in runs.items():
            done.append(run_once(way, export_type, port))
    return runs


def table(title: str, runs: Runs) -> Iterator[str]:
    """Write the medians, one line per way, and how the pipeline compares."""
    for way, done in runs.items():
        seconds = median(run.seconds for run in done)
        cells = (
            f"{done[0].rows / seconds:>11,.0f}",
            f"{done[0].bytes / seconds / 1e6:>7.1f}",
            f"{seconds:>8.2f}",
            f"{median(run.cpu_seconds for run in done):>8.2f}",
            f"{median(run.process_cpu_seconds for run in done):>12.2f}",
            f"{max(run.largest_mib for run in done):>9.0f}",
            f"{max(run.sum_mib for run in done):>8.0f}",
        )
        yield f"{title:<16}{done[0].rows:>10,}  {way!s:<12}" + "".join(cells)
    pipelines = [way for way in runs if way not in {_PLAIN, _RECEIVE}]
    for way in pipelines:
        by_cpu = ratio(runs, _PLAIN, way, "cpu_seconds")
        yield f"{'':<28}{way} / plain: {ratio(runs, _PLAIN, way)} by the clock, {by_cpu} by CPU time"
    for way in pipelines[1:]:
        yield f"{'':<28}{way} / {pipelines[0]}: {ratio(runs, pipelines[0], way)} by the clock"


def ratio(runs: Runs, slow: Way, fast: Way, figure: str = "seconds") -> str:
    """Compare medians, and give the range of the pairs: what was run one after the other."""
    pairs = [getattr(one, figure) / getattr(other, figure) for one, other in zip(runs[slow], runs[fast], strict=True)]
    return f"{_times_as_fast(runs, slow, fast, figure):.2f} x ({min(pairs):.2f} to {max(pairs):.2f})"


def _times_as_fast(runs: Runs, slow: Way, fast: Way, figure: str = "seconds") -> float:
    medians = [median(getattr(run, figure) for run in runs[way]) for way in (slow, fast)]
    return medians[0] / medians[1]


def complaints(runs: Runs, *, dirty: float, delay: float) -> Iterator[str]:
    """Say what of memory and speed is not as it should be."""
    for way, done in runs.items():
        if way in {_PLAIN, _RECEIVE}:
            continue
        beside = UPLOAD_MIB if way.name == "upload" else 0
        if (largest := max(run.largest_mib for run in done)) > MOST_MIB + beside:
            yield f"{way}: a process took {largest:.0f} MiB, more than {MOST_MIB + beside}"
        if way.processes and (total := max(run.sum_mib for run in done)) > way.processes * MOST_MIB + beside:
            yield f"{way}: all processes took {total:.0f} MiB, more than {way.processes} x {MOST_MIB} + {beside}"
        is_large = done[0].rows >= _LARGE_ROWS and way.processes > 1 and not dirty and not delay
        least = LEAST_RATIO_LARGE if is_large else LEAST_RATIO
        if (found := _times_as_fast(runs, _PLAIN, way)) < least:
            yield f"{way}: {found:.2f} times as fast as the plain exporter, less than {least}"


def check_bytes(export_type: str, port: int, runs: Runs) -> str | None:
    """Compare what was written; tells where the files differ, None when they are the same."""
    wanted = runs[_PLAIN][0].sha256
    other = next((way for way in runs if way != _RECEIVE and {run.sha256 for run in runs[way]} != {wanted}), None)
    if other is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / str(way.processes) for way in (other, _PLAIN)]
        for way, path in zip((other, _PLAIN), files, strict=True):
            run_once(way, export_type, port, f"--output={path}")
        return first_difference(*files) or "the files differed in one run and not in the next"


def first_difference(ours: Path, theirs: Path) -> str | None:
    """Find the first byte that differs and show both files from a little before it."""
    position = 0
    with ours.open("rb") as left, theirs.open("rb") as right:
        while True:
            one, other = left.read(_COMPARED_BYTES), right.read(_COMPARED_BYTES)
            if one != other:
                break
            if not one:
                return None
            position += len(one)
        pairs = enumerate(zip(one, other, strict=False))
        same = next((at for at, (left_byte, right_byte) in pairs if left_byte != right_byte), min(len(one), len(other)))
        shown = slice(max(0, same - _SHOWN_BYTES), same + _SHOWN_BYTES)
        line = 1 + _line_ends(ours, position + same)
    return f"byte {position + same}, line {line}:\n  pipeline {one[shown]!r}\n  plain    {other[shown]!r}"


def _line_ends(path: Path, before: int) -> int:
    with path.open("rb") as file:
        return file.read(before).count(b"\n")


def arguments_of_command_line() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=100_000, help="entries of the campaign (100,000)")
    parser.add_argument("--full", action="store_true", help="100,000 and 1,000,000 entries, whatever --entries says")
    parser.add_argument("--processes", nargs="+", type=int, default=[1, 2], help="processes of the pipeline (1 2)")
    parser.add_argument("--dirty", nargs="+", type=float, default=_DIRTY, help="shares of documents with a wrong type")
    parser.add_argument("--nested", action="store_true", help="a field that holds a document in every user")
    parser.add_argument("--reply-delay", type=float, default=0.0, help="seconds that every answer takes longer (0)")
    parser.add_argument("--upload", action="store_true", help="the pipeline also with an upload to the embedded S3")
    parser.add_argument("--repetitions", type=int, default=3, help="runs of each, by turns (3)")
    parser.add_argument("--types", nargs="+", choices=_TYPES, default=_TYPES)
    parser.add_argument("--seed", type=int, default=2024)
    return parser.parse_args()


def main() -> int:
    arguments = arguments_of_command_line()
    names = ("pipeline", "upload") if arguments.upload else ("pipeline",)
    ways = [Way(name, count) for name in names for count in arguments.processes]
    print(f"{arguments.repetitions} runs of each by turns, medians; every answer {arguments.reply_delay:g} s later")
    print(f"{'type, dirt':<16}{'rows':>10}  {'exporter':<12}{_FIGURES}")
    start, failed = time.monotonic(), False
    for entries in (100_000, 1_000_000) if arguments.full else (arguments.entries,):
        for dirty in arguments.dirty:
            with replay_server(entries, dirty, arguments) as port, storage(wanted=arguments.upload):
                for export_type in arguments.types:
                    runs = measure(ways, export_type, port, arguments.repetitions)
                    print(*table(f"{export_type} {dirty:.1%}", runs), sep="\n", flush=True)
                    difference = check_bytes(export_type, port, runs)
                    found = [*complaints(runs, dirty=dirty, delay=arguments.reply_delay)]
                    if difference:
                        found.append(f"NOT THE SAME BYTES, first difference at {difference}")
                    failed = failed or bool(found)
                    for line in found or [f"the same bytes, SHA-256 {runs[_PLAIN][0].sha256}"]:
                        print(f"{'':<28}{line}", flush=True)
    print(f"took {time.monotonic() - start:.0f} s; load average now {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
