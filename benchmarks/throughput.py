"""How fast the pipeline exports, against a plain pymongo + csv exporter of the same columns, on the same data.

    .venv/bin/python benchmarks/throughput.py                     100,000 entries, about a minute on 2 idle cores
    .venv/bin/python benchmarks/throughput.py --full              100,000 and 1,000,000: about 9 minutes
    .venv/bin/python benchmarks/throughput.py --dirty 0.001       0.1 % of the documents with a value of another type

Prints a table of medians; exits 1 when the two do not write the same bytes. See benchmarks/README.md.
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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

_HERE = Path(__file__).resolve().parent
_WAYS = ("pipeline", "plain")
_TYPES = ("entries", "scoring")
_COMPARED_BYTES = 2**20
_SHOWN_BYTES = 60


@dataclass(frozen=True)
class Run:
    """One run's figures: the clock and the processor from the run itself, peak of memory and total from the kernel."""

    rows: int
    bytes: int
    sha256: str
    seconds: float
    cpu_seconds: float
    process_cpu_seconds: float
    peak_mib: float


@contextmanager
def replay_server(entries: int, dirty: float, seed: int) -> Generator[int]:
    """Start the server for a campaign of so many entries and give its port."""
    command = [sys.executable, _HERE / "replay_server.py", f"--entries={entries}", f"--dirty={dirty}", f"--seed={seed}"]
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


def run_once(way: str, export_type: str, port: int, *extra: str) -> Run:
    """Run one export in a fresh process, which the kernel accounts for by itself."""
    command = [sys.executable, str(_HERE / "run_once.py"), way, export_type, str(port), *extra]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=_environment()) as process:
        assert process.stdout
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{way} {export_type} failed with exit status {process.returncode}")
    return Run(
        **json.loads(printed),
        process_cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_mib=usage.ru_maxrss / 1024,
    )


def _environment() -> dict[str, str]:
    """Let the runs find the package of this checkout, whether it is installed or not."""
    paths = [os.environ.get("PYTHONPATH"), str(_HERE.parent)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def measure(export_type: str, port: int, repetitions: int) -> dict[str, list[Run]]:
    """Run pipeline and plain exporter by turns; the warm-up lets the server encode what it will be asked for."""
    runs: dict[str, list[Run]] = {way: [] for way in (*_WAYS, "receive")}
    for way in runs:
        run_once(way, export_type, port, "--warm-up")
    for _ in range(repetitions):
        for way, done in runs.items():
            done.append(run_once(way, export_type, port))
    return runs


def table(export_type: str, runs: dict[str, list[Run]]) -> Iterable[str]:
    """Write the medians, one line per way, and how the pipeline compares."""
    for way, done in runs.items():
        seconds = median(run.seconds for run in done)
        cells = (
            f"{done[0].rows / seconds:>11,.0f}",
            f"{done[0].bytes / seconds / 1e6:>7.1f}",
            f"{seconds:>8.2f}",
            f"{median(run.cpu_seconds for run in done):>8.2f}",
            f"{median(run.process_cpu_seconds for run in done):>12.2f}",
            f"{max(run.peak_mib for run in done):>12.0f}",
        )
        yield f"{export_type:<9}{done[0].rows:>10,}  {way:<9}" + "".join(cells)
    yield f"{'':<21}pipeline / plain: {_ratio(runs, 'seconds')} by the clock, {_ratio(runs, 'cpu_seconds')} by CPU time"


def _ratio(runs: dict[str, list[Run]], figure: str) -> str:
    """Compare medians, and give the range of the pairs: what was run one after the other."""
    plain, pipeline = ([getattr(run, figure) for run in runs[way]] for way in ("plain", "pipeline"))
    pairs = [slow / fast for slow, fast in zip(plain, pipeline, strict=True)]
    return f"{median(plain) / median(pipeline):.2f} x ({min(pairs):.2f} to {max(pairs):.2f})"


def check_bytes(export_type: str, port: int, runs: dict[str, list[Run]]) -> str | None:
    """Compare what was written; tells where the files differ, None when they are the same."""
    digests = {run.sha256 for way in _WAYS for run in runs[way]}
    if len(digests) == 1:
        return None
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / way for way in _WAYS]
        for way, path in zip(_WAYS, files, strict=True):
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=100_000, help="entries of the campaign (100,000)")
    parser.add_argument("--full", action="store_true", help="100,000 and 1,000,000 entries, whatever --entries says")
    parser.add_argument("--dirty", type=float, default=0.0, help="share of documents with a value of another BSON type")
    parser.add_argument("--repetitions", type=int, default=3, help="runs of each, by turns (3)")
    parser.add_argument("--types", nargs="+", choices=_TYPES, default=_TYPES)
    parser.add_argument("--seed", type=int, default=2024)
    arguments = parser.parse_args()
    print(f"{arguments.repetitions} runs of each by turns, medians; wrong types in {arguments.dirty:.2%} of documents")
    print(f"{'type':<9}{'rows':>10}  {'exporter':<9}     rows/s    MB/s  seconds   CPU s  CPU s+start  peak RSS MiB")
    start, different = time.monotonic(), False
    for entries in (100_000, 1_000_000) if arguments.full else (arguments.entries,):
        with replay_server(entries, arguments.dirty, arguments.seed) as port:
            for export_type in arguments.types:
                runs = measure(export_type, port, arguments.repetitions)
                print(*table(export_type, runs), sep="\n", flush=True)
                difference = check_bytes(export_type, port, runs)
                if difference:
                    different = True
                    print(f"{'':<21}NOT THE SAME BYTES, first difference at {difference}", flush=True)
                else:
                    print(f"{'':<21}the same bytes, SHA-256 {runs['plain'][0].sha256}", flush=True)
    print(f"took {time.monotonic() - start:.0f} s; load average now {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return int(different)


if __name__ == "__main__":
    sys.exit(main())
