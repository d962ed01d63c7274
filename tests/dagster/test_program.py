"""Dagster's own programs as they run in production, and what of Dagster's private parts that leans on."""

from __future__ import annotations

import inspect
import json
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import dagster as dg
import dagster._cli.api
import dagster._core.definitions.sensor_definition as sensors
import dagster._daemon.controller
import dagster_webserver.cli
import pytest
from dagster._core.instance import factory
from dagster._core.instance.ref import InstanceRef
from dagster._utils.log import configure_loggers
from sqlalchemy.exc import DisconnectionError

from vfexport_dagster import program
from vfexport_dagster.startup import connections
from vfexport_dagster.startup.known import KNOWN_VERSIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOG = """
import logging, sys
from importlib import import_module
from vfexport_dagster import program
program.adapt()
for name in ("dagster._daemon.controller", "dagster_webserver.cli"):
    print(name in sys.modules)
    import_module(name).configure_loggers(formatter="colored")
    logging.getLogger("dagster.daemon.SensorDaemon").info("a tick")
    logging.getLogger("alembic").warning("not ours, nor Dagster's")
"""


@pytest.fixture
def ref(tmp_path: Path) -> InstanceRef:
    return InstanceRef.from_dir(str(tmp_path))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dg.DagsterInstance]]:
    """Keep the instances that are made; tells which."""
    instances: list[dg.DagsterInstance] = []
    make = factory.create_instance_from_ref

    def create_instance_from_ref(ref: InstanceRef) -> dg.DagsterInstance:
        instances.append(make(ref))
        return instances[-1]

    monkeypatch.setattr(factory, make.__name__, create_instance_from_ref)
    connections.keep_instances()
    yield instances
    for instance in instances:
        instance.dispose()


def test_an_instance_is_kept_for_the_next_who_asks(made: list[dg.DagsterInstance], ref: InstanceRef) -> None:
    for _ in range(3):
        with dg.DagsterInstance.from_ref(ref) as instance:
            assert instance.get_runs_count() == 0
    assert len(made) == 1
    assert made[0].get_ref() == ref


def test_the_instance_of_a_folder_is_kept_too(made: list[dg.DagsterInstance], tmp_path: Path) -> None:
    """As the daemon asks for it, by its home."""
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}")
    asked = [dg.DagsterInstance.from_config(str(tmp_path)) for _ in range(2)]
    assert asked[0] is asked[1] is made[0]


def test_another_instance_is_another_one(made: list[dg.DagsterInstance], tmp_path: Path) -> None:
    """As when the daemon was configured anew, and the code location goes on."""
    refs = [InstanceRef.from_dir(str(tmp_path), overrides={"telemetry": {"enabled": on}}) for on in (False, True)]
    asked = [dg.DagsterInstance.from_ref(ref) for ref in (*refs, *refs)]
    assert len(made) == 2
    assert asked[:2] == asked[2:] == made


def test_those_of_somebody_who_goes_on_naming_others_are_not_collected(
    made: list[dg.DagsterInstance], tmp_path: Path
) -> None:
    for days in range(8):
        ref = InstanceRef.from_dir(str(tmp_path), overrides={"retention": {"sensor": {"purge_after_days": days}}})
        with dg.DagsterInstance.from_ref(ref):
            pass
    kept = [instance for instance in made if isinstance(instance, connections.KeptInstance)]
    assert (len(made), len(kept)) == (8, 4)


def test_a_migration_is_asked_for_until_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    class Storage:
        asked: list[str] = []  # noqa: RUF012 of the test

        def has_built_index(self, name: str) -> bool:
            self.asked.append(name)
            return self.asked.count(name) > 1

    monkeypatch.setattr(connections, "MIGRATIONS", ((Storage, "has_built_index"),))
    connections.remember_migrations()
    storage = Storage()
    assert [storage.has_built_index("a") for _ in range(4)] == [False, True, True, True]
    assert [storage.has_built_index("b") for _ in range(3)] == [False, True, True]
    assert Storage.asked == ["a", "a", "b", "b"]


def test_a_connection_that_the_server_has_closed_is_not_asked() -> None:
    kept, server = socket.socketpair()
    with kept, server:
        connections.refuse_closed(kept)
        server.close()
        with pytest.raises(DisconnectionError):
            connections.refuse_closed(kept)
    with closing(sqlite3.connect(":memory:")) as file:
        connections.refuse_closed(file)


@pytest.mark.parametrize(
    ("version", "value", "adapted"),
    [(dg.__version__, "true", True), (dg.__version__, "false", False), ("1.14.0", "true", False)],
)
def test_a_program_is_adapted_unless_a_setting_or_its_version_is_against_it(
    version: str, value: str, adapted: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[str] = []
    monkeypatch.setattr(dg, "__version__", version)
    monkeypatch.setattr(program, "adapt", lambda: done.append("adapted"))
    monkeypatch.setattr(sys, "argv", ["program.py", "dagster", "--version"])
    monkeypatch.setenv("VFEXPORT_DAGSTER_ADAPTED", value)
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert (ended.value.code, done) == (0, ["adapted"] if adapted else [])
    assert "dagster, version" in capsys.readouterr().out


def test_log_lines_of_dagster_and_of_others_have_one_shape() -> None:
    """Whether the module that configures them is imported by and by, or was, on the way, before."""
    done = subprocess.run([sys.executable, "-c", LOG], capture_output=True, text=True, timeout=60, check=True)
    assert sorted(done.stdout.split()) == ["False", "True"], "one of the two was imported before, one was not"
    lines: list[dict[str, Any]] = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["message"] for line in lines] == ["a tick", "not ours, nor Dagster's"] * 2
    assert all({"time", "level", "logger"} <= line.keys() for line in lines)


def test_this_dagster_is_as_is_relied_on() -> None:
    """When an upgrade makes this fail, look whether `startup` still does what it says, then name the version."""
    assert dg.__version__.startswith(KNOWN_VERSIONS)
    for storage, question in connections.MIGRATIONS:
        assert "db.inspect" in inspect.getsource(storage)
        assert callable(getattr(storage, question))
    asks = inspect.getsource(sensors.SensorEvaluationContext.instance.fget or sensors)
    assert "DagsterInstance.from_ref(self._instance_ref)" in asks, "a tick asks for its instance anew"
    taken = inspect.signature(dg.DagsterInstance.optimize_for_webserver).parameters
    assert [*taken] == ["self", "statement_timeout", "pool_recycle", "max_overflow"]
    for made in (
        dg.DagsterInstance.from_ref,
        factory.create_instance_from_config,
    ):  # the daemon's is made by the latter
        assert "create_instance_from_ref(instance_ref)" in inspect.getsource(made)
    for program_ in (dagster._cli.api, dagster._daemon.controller, dagster_webserver.cli):
        assert "configure_loggers(" in inspect.getsource(program_), "each program configures its loggers when it starts"
    assert "logging.config.dictConfig(" in inspect.getsource(configure_loggers)
