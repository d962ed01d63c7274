"""What people press in the UI, twice or at the same time or in the last moment: each with one effect, or none."""

from __future__ import annotations

import contextlib

import dagster as dg
import pytest

from tests.faults.dagster.scene import Scene, at_once, wait_for_gone
from tests.s3_faults import ACCESS_DENIED
from vfexport_core.errors import ExportNotCancelable
from vfexport_core.queue.models import ExportStatus

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("running service")]
FINISHED, FAILED, CANCELED = ExportStatus.FINISHED, ExportStatus.FAILED, ExportStatus.CANCELED
STARTED_BY_NOW = ("SUCCESS", "FAILURE", "CANCELED")


@pytest.fixture(autouse=True)
def _buttons(scene: Scene) -> None:
    """Have the web server there before anybody holds a run."""
    scene.service.serve_ui()


def failed(scene: Scene) -> tuple[str, str]:
    """Have an export fail; gives its id and that of its run."""
    scene.s3.fail("PutObject", ACCESS_DENIED)
    export_id = scene.ask()
    scene.wait(export_id, FAILED)
    run_id = scene.run_of(export_id, "FAILURE")
    scene.s3.heal()
    return export_id, run_id


def reason(scene: Scene, run_id: str) -> str:
    """Return what the step of a run that failed says of it."""
    (entry,) = scene.service.instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    assert entry.dagster_event
    failure = entry.dagster_event.step_failure_data.user_failure_data
    return failure.description or "" if failure else ""


def test_a_running_run_is_terminated_by_two_people_and_cancelled_by_a_third(scene: Scene) -> None:
    held = scene.hold()
    at_once(
        lambda: scene.ui.terminate(held.run_id),
        lambda: scene.ui.terminate(held.run_id),
        lambda: scene.store.request_cancel(held.export_id),
    )
    scene.wait(held.export_id, CANCELED)
    wait_for_gone(held.pid)
    scene.check()


def test_a_queued_run_is_terminated_twice(scene: Scene) -> None:
    held = scene.hold()
    waiting = scene.ask("scoring")
    run_id = scene.run_of(waiting, "QUEUED")
    at_once(lambda: scene.ui.terminate(run_id), lambda: scene.ui.terminate(run_id))
    scene.wait(waiting, CANCELED)
    scene.let_go()
    scene.wait(held.export_id, FINISHED)
    scene.check()


@pytest.mark.parametrize("strategies", [("ALL_STEPS", "FROM_FAILURE"), ("FROM_FAILURE", "FROM_FAILURE")])
def test_two_people_reexecute_the_same_run(strategies: tuple[str, str], scene: Scene) -> None:
    export_id, run_id = failed(scene)
    first, second = strategies
    runs = at_once(lambda: scene.ui.reexecute(run_id, first), lambda: scene.ui.reexecute(run_id, second))
    scene.wait(export_id, FINISHED, attempt=2)
    ends = [scene.wait_for_run(run, *STARTED_BY_NOW) for run in runs]
    assert sorted(ends) == ["FAILURE", "SUCCESS"]
    loser = runs[ends.index("FAILURE")]
    assert "ExportNotClaimable" in reason(scene, loser), "it says what is in its way"
    scene.check()


def test_a_run_is_reexecuted_while_its_export_is_retried_over_the_api(scene: Scene) -> None:
    export_id, run_id = failed(scene)
    again, _ = at_once(lambda: scene.ui.reexecute(run_id, "ALL_STEPS"), lambda: scene.store.retry(export_id))
    scene.wait(export_id, FINISHED, attempt=2)
    scene.wait_for_run(again, *STARTED_BY_NOW)
    scene.check()


def test_a_run_is_terminated_while_it_publishes(scene: Scene) -> None:
    gate = scene.s3.hold("PutObject")
    export_id = scene.ask()
    scene.s3.wait_for("PutObject", seconds=120)
    run_id = scene.run_of(export_id, "STARTED")
    at_once(lambda: scene.ui.terminate(run_id), gate.set)
    scene.wait(export_id, FINISHED, CANCELED)
    scene.check()


def test_an_export_is_cancelled_while_it_finishes(scene: Scene) -> None:
    gate = scene.s3.hold("CopyObject")
    export_id = scene.ask()
    scene.s3.wait_for("PutObject", seconds=120)

    def cancel() -> None:
        with contextlib.suppress(ExportNotCancelable):
            scene.store.request_cancel(export_id)

    at_once(cancel, gate.set)
    scene.wait(export_id, FINISHED, CANCELED)
    scene.check()
