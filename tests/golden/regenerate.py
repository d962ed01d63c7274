"""Writes the golden files anew: ``.venv/bin/python -m tests.golden.regenerate``, then read ``git diff`` cell by cell.

They come from the independent reference (tests/reference), never from the pipeline that they are there to prove: a new
type is added there first. One file per type, a folder for a type of several; `figures.json` has rows and counts.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.builders import DATE_KEY
from tests.golden import campaign
from tests.reference import EXPORT_TYPES, export

FOLDER = Path(__file__).parent / "files"
FIGURES = FOLDER / "figures.json"
ALL_MARKETS = "entries-all-markets"
CASES = (*EXPORT_TYPES, ALL_MARKETS)
# Written out by hand: the artist's name with the fan club's, the campaign's id, the minute of the request.
SFMC_KEY = "{}/DM_ArtistPresale_The-Band-Army_{}_000000000000000000000001_202403011230_{:03}.csv"


def golden_path(case: str, name: str) -> Path:
    """Return the place of one file of an export: a member of an archive, the file under a key, or the only one."""
    return FOLDER / case / name if name else FOLDER / f"{case}.csv"


def golden_files(case: str) -> dict[str, bytes]:
    """Read the files of an export, by name."""
    folder = FOLDER / case
    if not folder.is_dir():
        return {"": golden_path(case, "").read_bytes()}
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.csv"))}


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    figures = {}
    for case in CASES:
        all_markets = case == ALL_MARKETS
        result = export(
            campaign.BUNDLE,
            "entries" if all_markets else case,
            date_key=DATE_KEY if case == "codeWaves" else None,
            include_all_markets=all_markets,
            max_rows_per_file=campaign.MAX_ROWS_PER_FILE,
            sample_rows=campaign.SAMPLE_ROWS,
        )
        for name, data in result.files.items():
            path = golden_path(case, SFMC_KEY.format(*name) if isinstance(name, tuple) else name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        figures[case] = {"rows": result.rows, "warnings": result.warnings, "skipped": result.skipped}
    FIGURES.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
