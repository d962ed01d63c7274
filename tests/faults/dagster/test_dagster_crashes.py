"""Processes of the service die, stop or lose their memory: nothing is lost or done twice, and the queue goes on."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.api_client import wait_for
from tests.faults.dagster.scene import SECONDS, Scene, kill, wait_for_gone
from vfexport_core.queue.models import ExportStatus

if TYPE_CHECKING:
    from vfexport_core.queue.models import Export

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("running service that crashes")]
FINISHED, FAILED, EXPIRED = ExportStatus.FINISHED, ExportStatus.FAILED, ExportStatus.EXPIRED
REFUSED = "failed to reach the user code server, re-submitting"
EVERYTHING = ("code", "daemon")  # that an export needs


def code_of(export: Export) -> str:
    assert export.error is not None
    return export.error["code"]


def test_a_worker_that_is_killed_in_mid_scan(scene: Scene) -> None:
    held = scene.hold()
    waiting = scene.ask("scoring")
    kill(held.pid)
    assert code_of(scene.wait(held.export_id, FAILED)) == "WorkerLost"
    scene.let_go()
    scene.wait(waiting, FINISHED)
    scene.check(next_one=waiting)


def test_a_worker_that_is_stopped_and_terminated_does_not_jam_the_code_location(scene: Scene) -> None:
    ui = scene.ui
    held = scene.hold()
    kill(held.pid, signal.SIGSTOP)
    waiting = scene.ask("scoring")
    assert ui.terminate(held.run_id) == "TerminateRunSuccess"
    assert code_of(scene.wait(held.export_id, FAILED)) == "WorkerLost"
    scene.let_go()
    scene.wait(waiting, FINISHED)
    kill(held.pid, signal.SIGCONT)
    wait_for_gone(held.pid)
    scene.check(next_one=waiting)


def test_the_process_that_runs_are_forked_from_is_killed(scene: Scene) -> None:
    held = scene.hold()
    template = scene.service.template()
    kill(template)
    scene.wait(held.export_id, FAILED)
    scene.check()
    assert scene.service.template() != template


def test_a_run_that_takes_longer_than_dagster_lets_it(scene: Scene) -> None:
    held = scene.hold()
    scene.service.instance.add_run_tags(held.run_id, {"dagster/max_runtime": "1"})
    assert code_of(scene.wait(held.export_id, EXPIRED)) == "ExportExpired"
    wait_for_gone(held.pid)
    scene.check()


def test_the_daemon_is_killed_in_mid_scan(scene: Scene) -> None:
    held = scene.hold()
    waiting = scene.ask("scoring")
    scene.service.kill("daemon")
    scene.let_go()
    scene.wait(held.export_id, FINISHED)
    scene.service.start("daemon")
    scene.wait(waiting, FINISHED)
    scene.check(next_one=waiting)


def test_the_code_location_is_killed_in_mid_scan(scene: Scene) -> None:
    held = scene.hold()
    waiting = [scene.ask("scoring"), scene.ask("entries", campaign=1)]
    scene.run_of(waiting[-1], "QUEUED")
    scene.service.kill("code")
    scene.let_go()
    scene.wait(held.export_id, FINISHED)
    assert wait_for(
        lambda: any(REFUSED in line for line in scene.service.logs(scene.run_of(waiting[0], "QUEUED"))), SECONDS
    )
    scene.service.start("code")
    for export_id in waiting:
        scene.wait(export_id, FINISHED)
    scene.check(next_one=waiting[-1])


def test_everything_is_killed_in_mid_scan(scene: Scene) -> None:
    held = scene.hold()
    waiting = [scene.ask("scoring"), scene.ask("entries", campaign=1)]
    scene.service.kill(*EVERYTHING)
    kill(held.pid)
    scene.let_go()
    scene.service.start(*EVERYTHING)
    assert code_of(scene.wait(held.export_id, FAILED)) == "WorkerLost"
    for export_id in waiting:
        scene.wait(export_id, FINISHED)
    scene.check(next_one=waiting[-1])


def test_dagster_loses_all_that_it_has_stored(scene: Scene) -> None:
    held = scene.hold()
    waiting = [scene.ask("scoring"), scene.ask("entries", campaign=1)]
    scene.run_of(waiting[-1], "QUEUED")
    scene.service.kill(*EVERYTHING)
    kill(held.pid)
    scene.let_go()
    scene.service.wipe()
    scene.service.start(*EVERYTHING)
    assert code_of(scene.wait(held.export_id, FAILED)) == "WorkerLost"
    done = [scene.wait(export_id, FINISHED) for export_id in waiting]
    assert [export.attempt for export in done] == [1, 1]
    scene.check(next_one=waiting[-1])
