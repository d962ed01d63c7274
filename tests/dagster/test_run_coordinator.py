"""How often Dagster's daemon looks for queued runs, and that it can be left to the configuration."""

from __future__ import annotations

import inspect
import shutil
from typing import TYPE_CHECKING

import dagster
import dagster as dg
import pytest
from dagster._daemon.controller import create_daemon_of_type
from dagster._daemon.daemon import IntervalDaemon
from dagster._daemon.run_coordinator import QueuedRunCoordinatorDaemon

from vfexport_core.embedded.demo.folder import find_checkout
from vfexport_dagster.startup.run_coordinator import PromptRunCoordinator
from vfexport_dagster.startup.switches import KNOWN_VERSIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Return an instance of the repository's dagster.yaml."""
    shutil.copy(find_checkout() / "dagster.yaml", tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


def interval(instance: dg.DagsterInstance) -> float:
    """Return the seconds between two looks of the daemon that it makes for this instance."""
    return create_daemon_of_type(QueuedRunCoordinatorDaemon.daemon_type(), instance).interval_seconds


def test_the_queue_is_looked_into_every_half_second(instance: dg.DagsterInstance) -> None:
    assert isinstance(instance.run_coordinator, PromptRunCoordinator)
    assert interval(instance) == 0.5


@pytest.mark.parametrize("value", ["false", "0", "off"])
def test_a_setting_leaves_the_interval_to_the_configuration(
    value: str, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VFEXPORT_PROMPT_DEQUEUING", value)
    assert interval(instance) == 1


def test_with_an_unknown_dagster_the_interval_is_the_configured_one(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dagster, "__version__", "2.0.0")
    assert interval(instance) == 1
    assert "VFEXPORT_PROMPT_DEQUEUING is off" in caplog.text


def test_this_dagster_waits_in_steps_of_half_a_second() -> None:
    """When an upgrade makes this fail, look what an interval of half a second does there, then name the version."""
    assert dagster.__version__.startswith(KNOWN_VERSIONS)
    loop = inspect.getsource(IntervalDaemon.core_loop)
    assert "while time.time() - start_time < interval:" in loop
    assert "shutdown_event.wait(0.5)" in loop
