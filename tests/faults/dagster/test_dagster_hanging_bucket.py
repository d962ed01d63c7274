"""A bucket hangs under the service: its exports wait, whoever runs them is stopped or not, and the others go on."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.faults.dagster.scene import REACHED_SECONDS, Scene, kill
from tests.faults.hanging import hanging, make_probe_due
from vfexport_core.queue.models import ExportStatus

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("running service that crashes")]
FINISHED, FAILED, PENDING, TRIGGERED = (
    *(ExportStatus.FINISHED, ExportStatus.FAILED),
    *(ExportStatus.PENDING, ExportStatus.TRIGGERED),
)
HANGING, OTHERS = ("entries", "codes", "fanlist"), ("scoring", "verifiedEntries")


@pytest.fixture
def gate(scene: Scene) -> Iterator[threading.Event]:
    """Have the bucket of `HANGING` hang until the event is set."""
    with hanging(scene) as gate:
        yield gate
    scene.store.breakers.close("exportsS3")


def let_it_answer(scene: Scene, gate: threading.Event) -> None:
    """Let the bucket answer, and the next probe be due."""
    gate.set()
    make_probe_due(scene)


def assert_waited(scene: Scene, waiting: list[str], others: list[str]) -> None:
    """The others ran, in their order, while none of those that waited did."""
    began = [state.export_id for state in scene.checker.history.read() if state.status is TRIGGERED]
    assert [export_id for export_id in began if export_id in {*waiting, *others}] == others
    for export_id in waiting:
        assert scene.store.get(export_id).status is PENDING


def test_exports_into_a_bucket_that_hangs_wait_while_the_others_go_on(scene: Scene, gate: threading.Event) -> None:
    first = scene.ask(HANGING[0])
    scene.wait(first, TRIGGERED)
    waiting, others = [scene.ask(HANGING[1])], [scene.ask(OTHERS[0])]
    waiting.append(scene.ask(HANGING[2]))
    others.append(scene.ask(OTHERS[1]))
    error = scene.wait(first, FAILED).error
    assert error is not None
    assert (error["code"], "nothing has succeeded" in str(error["message"])) == ("DeliveryFailed", True)
    for export_id in others:
        scene.wait(export_id, FINISHED)
    assert_waited(scene, waiting, others)
    let_it_answer(scene, gate)
    for export_id in waiting:
        assert scene.wait(export_id, FINISHED).attempt == 1
    scene.check(next_one=waiting[-1])


def test_a_worker_that_is_stopped_while_its_bucket_hangs_holds_nobody_up(scene: Scene, gate: threading.Event) -> None:
    first = scene.ask(HANGING[0])
    scene.s3.wait_for("PutObject", seconds=REACHED_SECONDS)
    pid = scene.service.process_of(scene.store.get(first).run_id or "")
    kill(pid, signal.SIGSTOP)
    others = [scene.ask(export_type) for export_type in OTHERS]
    error = scene.wait(first, FAILED).error
    assert error is not None
    assert error["code"] == "WorkerLost"
    for export_id in others:
        scene.wait(export_id, FINISHED)
    kill(pid)
    let_it_answer(scene, gate)
    scene.check()
