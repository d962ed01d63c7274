"""A bucket accepts and never answers: its exports are given up and then wait, said so; those into others go on."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.api_client import wait_for
from tests.cli_helpers import error_of
from tests.faults.hanging import hanging, make_probe_due
from tests.faults.scenes import REACHED_SECONDS
from tests.reaping import reap
from tests.s3_proxy import through
from vfexport_core.mongo.own_collections import BREAKERS
from vfexport_core.queue.models import ExportStatus
from vfexport_core.storage.buckets import BucketClients

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

    from tests.faults.scenes import Scene

HANGING, OTHER = "entries", "scoring"
STALL = {"VFEXPORT_STORAGE_STALL_SECONDS": "1"}


@pytest.fixture
def gate(scene: Scene) -> Iterator[threading.Event]:
    """Have the bucket of `HANGING` hang until the event is set."""
    with hanging(scene) as gate:
        yield gate


def give_up(scene: Scene) -> None:
    """Have an export given up because its bucket hangs."""
    with scene.cli.process("export", scene.campaign, HANGING, "--json", **STALL) as worker:
        assert worker.end() == 3
        error = error_of(worker.stderr.splitlines()[-1])
    assert error["code"] == "DeliveryFailed"
    assert "nothing has succeeded for 1 s" in error["message"]


def test_an_export_is_given_up_and_the_next_into_another_bucket_runs(scene: Scene, gate: threading.Event) -> None:
    give_up(scene)
    failed = scene.export()
    assert failed.status is ExportStatus.FAILED
    assert [*scene.checker.store.breakers.all_open()] == ["exportsS3"]
    with scene.worker(OTHER) as other:
        assert other.end() == 0, other.stderr
    gate.set()
    scene.checker.store.breakers.close("exportsS3")
    scene.wait_until_unused()
    scene.checker.assert_all_well([export.id for export in scene.checker.store.list()])


def test_exports_into_it_wait_and_say_so_while_others_pass_until_it_answers(
    scene: Scene, gate: threading.Event
) -> None:
    give_up(scene)
    with scene.worker(HANGING) as waiting:
        waiting.wait_for("bucket exportsS3 has hung since")
        with scene.worker(OTHER) as other:
            assert other.end() == 0, other.stderr
        make_probe_due(scene)
        waiting.wait_for("bucket exportsS3 still hangs")
        assert scene.checker.store.breakers.all_open()["exportsS3"].failures >= 2
        gate.set()
        make_probe_due(scene)
        waiting.wait_for("bucket exportsS3 answers again")
        assert waiting.end() == 0, waiting.stderr
    assert scene.checker.database[BREAKERS].count_documents({}) == 0, "an export that ended well closes it"
    by_end = sorted(scene.checker.store.list(), key=lambda export: export.date.finished or export.date.failed)
    assert [export.export_type for export in by_end] == [HANGING, OTHER, HANGING]
    scene.checker.assert_all_well([export.id for export in by_end])


@pytest.mark.usefixtures("_little_patience")
def test_a_worker_that_is_stopped_while_its_bucket_hangs_holds_nobody_up(
    scene: Scene, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vfexport_core.storage.buckets._QUICK_SECONDS", 0.5)
    monkeypatch.setattr("vfexport_core.storage.buckets._QUICK_STALL_SECONDS", 1.0)
    settings = through(scene.checker.settings, scene.s3.url)
    with scene.worker(HANGING) as worker, BucketClients(settings) as buckets:
        scene.s3.wait_for("CreateMultipartUpload", seconds=REACHED_SECONDS)
        worker.child.send_signal(signal.SIGSTOP)
        lost = wait_for(lambda: reap(scene.checker.store, lambda: buckets, settings.timeout_millis).ended, 30)
        assert lost.error is not None
        assert lost.error["code"] == "WorkerLost"
        # What it left cannot be taken away now; that the bucket hangs is known, and it is not asked again.
        assert [*scene.checker.store.breakers.all_open()] == ["exportsS3"]
        asked = len(scene.s3.seen())
        assert reap(scene.checker.store, lambda: buckets, settings.timeout_millis).problems == ()
        assert len(scene.s3.seen()) == asked
        with scene.worker(OTHER) as other:
            assert other.end() == 0, other.stderr
        worker.child.kill()
        gate.set()
    scene.checker.store.breakers.close("exportsS3")
    scene.wait_until_unused()
    scene.checker.assert_all_well([export.id for export in scene.checker.store.list()])
