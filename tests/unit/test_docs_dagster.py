"""What the documentation says of the Dagster side."""

from __future__ import annotations

from tests.unit.docs_helpers import OPERATIONS, table, text_of
from vfexport_core.services import run_tags
from vfexport_dagster.definitions import defs


def test_every_sensor_is_documented_and_no_other() -> None:
    sensors = {sensor.name for sensor in defs.get_repository_def().sensor_defs}
    assert {cells[0].strip("`") for cells in table(OPERATIONS, "sensor")} == sensors


def test_the_tags_of_runs_are_documented() -> None:
    ours = {value for name, value in vars(run_tags).items() if name.isupper() and isinstance(value, str)}
    assert len(ours) == 10
    assert {tag for tag in ours if f"`{tag}`" not in text_of(OPERATIONS)} == set()
