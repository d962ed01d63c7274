"""How fast others export the same entries: mongoexport, rivet, pandas and dlt, as far as they are installed.

    .venv/bin/pip install -e '.[peers]'            rivet-cli, pandas, dlt; mongoexport is looked for on PATH
    .venv/bin/python benchmarks/peers.py           200,000 entries: some minutes on 2 idle cores

None of them does what the service does; the table says what each leaves out. Prints medians; exits 1 when one is faster
than the pipeline, or wrote another number of rows. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from plain_exporter import ENTRY_PATHS
from throughput import Way, replay_server, run_once

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_HERE = Path(__file__).resolve().parent
_BIN = Path(sys.executable).parent
_NO_JOIN = "no users, markets or campaign, no cell rules, no warnings"
_RIVET = """
source: {{type: mongo, url: "mongodb://127.0.0.1:{port}/verifiedfan?directConnection=true"}}
exports:
  - name: entries
    table: entries
    mode: full
    format: csv
    compression: none
    destination: {{type: local, path: {folder}}}
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody else's exporter. `measures_itself`: it says by itself how long it took, without its start."""

    name: str
    command: tuple[str, ...]
    leaves_out: str
    measures_itself: bool = False
    has_header: bool = True


@dataclass(frozen=True, slots=True)
class Figures:
    rows: int
    seconds: float
    cpu_seconds: float


def peers() -> Iterator[Peer]:
    """Yield those that are installed; ``{port}`` and ``{folder}`` stand for what is different every time."""
    mongoexport = shutil.which("mongoexport")
    if mongoexport:
        uri = "mongodb://127.0.0.1:{port}/verifiedfan?directConnection=true"
        command = (mongoexport, "--quiet", "--uri", uri, "--collection", "entries", "--out", "{folder}/entries.csv")
        yield Peer("mongoexport, whole", command, f"{_NO_JOIN}; JSON lines", has_header=False)
        fields = ("--type=csv", f"--fields={','.join(ENTRY_PATHS)}")
        yield Peer("mongoexport, projected", (*command, *fields), _NO_JOIN)
    rivet = _BIN / "rivet"
    if rivet.exists():
        command = (str(rivet), "run", "--config", "{folder}/rivet.yaml")
        yield Peer("rivet, whole", command, f"{_NO_JOIN}; one column of JSON")
    for package in ("pandas", "dlt"):
        if importlib.util.find_spec(package):
            command = (sys.executable, str(_HERE / "run_peer.py"), package, "{port}", "{folder}")
            holds = "; all in memory" if package == "pandas" else ""
            yield Peer(f"{package}, projected", command, _NO_JOIN + holds, measures_itself=True)


def run_peer(peer: Peer, port: int) -> Figures:
    """Run it once into a folder of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rivet.yaml").write_text(_RIVET.format(port=port, folder=folder / "out"))
        command = [part.format(port=port, folder=folder) for part in peer.command]
        before, start = _cpu_of_children(), time.perf_counter()
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        seconds, cpu_seconds = time.perf_counter() - start, _cpu_of_children() - before
        if done.returncode:
            raise SystemExit(f"{peer.name} failed:\n{done.stderr[-2000:]}{done.stdout[-2000:]}")
        if peer.measures_itself:
            own = json.loads(done.stdout.splitlines()[-1])
            seconds, cpu_seconds = own["seconds"], own["cpu_seconds"]
        return Figures(rows_in(folder, has_header=peer.has_header), seconds, cpu_seconds)


def rows_in(folder: Path, *, has_header: bool) -> int:
    """Count the rows of the largest file below a folder that is called CSV."""
    largest = max(folder.rglob("*.csv"), key=lambda path: path.stat().st_size)
    with largest.open(encoding="utf-8", newline="") as file:
        # Names have line ends in them; JSON lines have not.
        return sum(1 for _ in csv.reader(file)) - 1 if has_header else sum(1 for _ in file)


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def line(name: str, figures: Sequence[Figures], leaves_out: str) -> str:
    seconds, cpu = (median(getattr(one, each) for one in figures) for each in ("seconds", "cpu_seconds"))
    return f"{name:<24}{figures[0].rows / seconds:>11,.0f}{seconds:>9.2f}{cpu:>9.2f}  {leaves_out}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=200_000, help="entries of the campaign (200,000)")
    parser.add_argument("--processes", type=int, default=2, help="processes of the pipeline (2)")
    parser.add_argument("--repetitions", type=int, default=3, help="runs of each, by turns (3)")
    parser.set_defaults(seed=2024, reply_delay=0.0)
    arguments = parser.parse_args()
    found = list(peers())
    ours: list[Figures] = []
    theirs: dict[str, list[Figures]] = {peer.name: [] for peer in found}
    way = Way("pipeline", arguments.processes)
    with replay_server(arguments.entries, 0.0, arguments) as port:
        run_once(way, "entries", port)  # what is asked for first is encoded then
        for peer in found:
            run_peer(peer, port)
        for _ in range(arguments.repetitions):
            run = run_once(way, "entries", port)
            ours.append(Figures(run.rows, run.seconds, run.cpu_seconds))
            for peer in found:
                theirs[peer.name].append(run_peer(peer, port))
    print(f"{'exporter':<24}     rows/s  seconds    CPU s  leaves out")
    print(line(str(way), ours, "nothing"))
    failed = False
    for peer in found:
        figures = theirs[peer.name]
        print(line(peer.name, figures, peer.leaves_out))
        times = median(one.seconds for one in figures) / median(one.seconds for one in ours)
        wrong = {one.rows for one in figures} != {arguments.entries}
        failed = failed or wrong or times < 1
        note = f"   NOT {arguments.entries:,} ROWS" if wrong else ""
        print(f"{'':<24}{times:>10.2f} x as long as the pipeline{note}")
    print(f"load average now {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
