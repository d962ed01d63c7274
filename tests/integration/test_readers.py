"""Files of a dirty campaign, read back by four readers that share no code: all see the same rows and cells."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest

from tests.pipeline import run_pipeline
from vfexport_core.catalog import all_specs
from vfexport_core.embedded.synthetic import DATE_KEYS, seed_campaign

if TYPE_CHECKING:
    from pathlib import Path

    from pymongo.database import Database

    from vfexport_core.settings import Settings

ENTRIES = 1_200
DIRTY_SHARE = 0.015

Table = list[list[str]]


def by_csv(data: bytes) -> Table:
    return list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True))


def by_pandas(data: bytes) -> Table:
    frame = pd.read_csv(
        io.BytesIO(data), header=None, dtype=str, keep_default_na=False, na_filter=False, skip_blank_lines=False
    )
    return frame.to_numpy().tolist()


def by_arrow(data: bytes) -> Table:
    width = len(by_csv(data[: data.index(b"\n") + 1])[0])
    names = [f"c{number}" for number in range(width)]
    table = pa_csv.read_csv(
        io.BytesIO(data),
        # One block: a line end inside a cell may then stand anywhere.
        read_options=pa_csv.ReadOptions(column_names=names, block_size=len(data) + 1),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        ),
    )
    return [list(row) for row in zip(*(column.to_pylist() for column in table.columns), strict=True)]


def by_duckdb(path: Path) -> Table:
    with duckdb.connect() as connection:
        relation = connection.execute(
            """SELECT * FROM read_csv(?, header = false, all_varchar = true, delim = ',', quote = '"', escape = '"',
                                      strict_mode = true, parallel = false, max_line_size = 10000000,
                                      auto_detect = false, columns = ?)""",
            [str(path), {f"c{n}": "VARCHAR" for n in range(len(by_csv(path.read_bytes())[0]))}],
        )
        return [["" if cell is None else cell for cell in row] for row in relation.fetchall()]


@pytest.fixture
def campaign_id(database: Database[Any]) -> str:
    return seed_campaign(database, entries=ENTRIES, dirty_share=DIRTY_SHARE)


def test_all_readers_see_the_same_rows_and_cells(
    database: Database[Any], settings: Settings, campaign_id: str, tmp_path: Path
):
    settings = settings.model_copy(update={"max_rows_per_file": 100})
    for spec in all_specs():
        date_key = DATE_KEYS[0] if spec.needs_date_key else None
        exported = run_pipeline(database, campaign_id, spec.type, settings, date_key=date_key, include_all_markets=True)
        read = 0
        for number, (name, data) in enumerate(exported.files.items()):
            table = by_csv(data)
            assert len({len(row) for row in table}) == 1, f"{spec.type} {name}: rows of one width"
            read += len(table) - 1
            path = tmp_path / f"{spec.slug}-{number}.csv"
            path.write_bytes(data)
            for reader, found in (
                ("pandas", by_pandas(data)),
                ("pyarrow", by_arrow(data)),
                ("DuckDB", by_duckdb(path)),
            ):
                assert found == table, f"{spec.type} {name}: {reader} reads otherwise than csv"
        assert read == exported.rows > 0, spec.type


def test_the_readers_would_see_a_missing_quote():
    data = b'a,b\n1,"x\n2,y\n'
    with pytest.raises(csv.Error):
        by_csv(data)
