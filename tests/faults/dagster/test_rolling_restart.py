"""A rolling restart of every process in the middle of ten exports loses none and does none twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.api_client import wait_for
from vfexport_core.queue.models import ExportStatus

if TYPE_CHECKING:
    from tests.faults.dagster.scene import Scene

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("running service")]
TYPES = (
    *("entries", "scoring", "verifiedEntries", "codes", "codeAssignments"),
    *("artistOptIn", "artistSmsOptIn", "livenationOptIn", "fanlist", "waitlist"),
)
FINISHED, TRIGGERED = ExportStatus.FINISHED, ExportStatus.TRIGGERED


def test_every_process_is_replaced_while_ten_exports_go_on(scene: Scene) -> None:
    scene.service.serve_ui()
    held = scene.hold(TYPES[0])
    asked = [held.export_id, *map(scene.ask, TYPES[1:])]
    # Told to end, the code location waits for the run that is its child; what waits in Dagster's queue stays there.
    code = scene.service.tell_to_end("code")
    scene.service.replace("daemon")
    assert (scene.store.get(held.export_id).status, code.is_running()) == (TRIGGERED, True)
    scene.let_go()
    scene.wait(held.export_id, FINISHED)
    wait_for(lambda: not code.is_running(), 60)
    scene.service.start("code")
    # While daemon or code location are away none is begun, so that there are always some to come.
    for name, after in (("daemon", 2), ("code", 5), ("web", 7)):
        scene.wait(asked[after], FINISHED)
        scene.service.replace(name)
    ended = [scene.wait(export_id, FINISHED) for export_id in asked]
    assert {export.attempt for export in ended} == {1}
    assert len({export.run_id for export in ended}) == len(TYPES)
    scene.check(next_one=asked[-1])
