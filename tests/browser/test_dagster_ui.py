"""What an operator sees in Dagster's UI: the launchpad, the list of runs, an asset. Neither MongoDB nor S3 is asked."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import dagster as dg
import httpx
import pytest

from tests.api_client import wait_for
from tests.api_server import free_port
from vfexport_core.catalog import find_spec
from vfexport_core.catalog.dictionary import describe_columns
from vfexport_core.services import run_tags
from vfexport_dagster.assets import asset_key
from vfexport_dagster.definitions import defs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(180)]

LOCATION = "vfexport_dagster.definitions"
RUN_TAGS = {
    run_tags.CAMPAIGN: "Summer Tour",
    run_tags.ERROR: "DeliveryFailed",
    run_tags.SUPERSEDED: "attempt 2, run 1a2b3c4d",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the home of an instance that has seen a run, a file and its check."""
    home = tmp_path_factory.mktemp("dagster")
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\nnux: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.create_run_for_job(defs.resolve_job_def("entries_export"), tags=RUN_TAGS)
        instance.add_dynamic_partitions("campaigns", ["a" * 24])
        instance.report_runless_asset_event(dg.AssetMaterialization(asset_key("entries"), partition="a" * 24))
        checked = dg.AssetCheckEvaluation(asset_key("entries"), "file_in_store", passed=False, description="it is gone")
        instance.report_runless_asset_event(checked)
    return home


@pytest.fixture(scope="module")
def ui(home: Path) -> Iterator[str]:
    """Serve the UI alone."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "dagster_webserver", "-m", LOCATION, "-h", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, env=os.environ | {"DAGSTER_HOME": str(home)}, stderr=subprocess.DEVNULL) as server:
        try:
            wait_for(lambda: _answers(url), seconds=60)
            yield url
        finally:
            server.terminate()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/server_info").is_success
    except httpx.TransportError:
        return False


@pytest.fixture(autouse=True)
def wide(browser: Any) -> Iterator[None]:
    """Have a window in which the UI shows all columns of its tables."""
    before = browser.get_window_size()
    browser.set_window_size(1600, 1400)
    yield
    browser.set_window_size(before["width"], before["height"])


def seen(browser: Any, text: str, selector: str = "body") -> str:
    """Wait until a text can be seen, and return all that can be."""

    def look() -> str | None:
        found = "\n".join(one.text for one in browser.find_elements("css selector", selector))
        return found if text in found else None

    wait_for(look, seconds=40)
    return look() or ""


@pytest.mark.parametrize(
    ("job", "filled"),
    [
        ("code_waves_export", ["campaign_id: ''", "date_key: ''"]),
        ("entries_export", ["campaign_id: ''", "include_all_markets: false"]),
        ("scoring_export", ["campaign_id: ''"]),
    ],
)
def test_the_launchpad_opens_with_the_fields_of_the_type_and_without_an_error(
    browser: Any, ui: str, job: str, filled: list[str]
) -> None:
    browser.get(f"{ui}/locations/{LOCATION}/jobs/{job}/playground")
    shown = seen(browser, filled[-1], ".CodeMirror-code")
    assert [line for line in shown.splitlines() if ":" in line] == filled
    seen(browser, "No errors")


def test_the_list_of_runs_tells_the_campaign_the_error_and_what_is_done_with(browser: Any, ui: str) -> None:
    browser.get(f"{ui}/runs")
    shown = seen(browser, "campaign: Summer Tour")
    assert "error: DeliveryFailed" in shown
    assert "superseded: attempt 2, run 1a2b3c4d" in shown


def test_an_asset_shows_its_columns_with_their_sources_and_who_owns_it(browser: Any, ui: str) -> None:
    browser.get(f"{ui}/assets/exports/entries?view=overview")
    first = describe_columns(find_spec("entries").columns[:4])
    shown = seen(browser, first[-1].source)
    assert {column.source for column in first} <= {*shown.splitlines()}
    assert "the fan's entry, of entries" in shown
    assert "a" * 24 in shown
    assert "vfexport" in shown


def test_checks_say_what_is_wrong_and_can_be_executed(browser: Any, ui: str) -> None:
    browser.get(f"{ui}/assets/exports/entries?view=checks&checkDetail=file_in_store")
    shown = seen(browser, "it is gone")
    assert "has_rows" in shown
    (button,) = [one for one in browser.find_elements("css selector", "button") if one.text == "Execute all"]
    assert button.is_enabled()
