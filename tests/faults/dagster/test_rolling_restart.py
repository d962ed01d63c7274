"""A rolling restart of every process in the middle of 20 exports loses none and does none twice."""

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


def test_every_process_is_replaced_while_twenty_exports_go_on(scene: Scene) -> None:
    held = scene.hold()
    asked = [
        held.export_id,
        *(scene.ask(kind, campaign) for campaign in (0, 1) for kind in TYPES if campaign or kind != "entries"),
    ]
    assert len(asked) == 20
    # Told to end, the code location waits for the run that is its child; what waits in Dagster's queue stays there.
    code = scene.service.tell_to_end("code")
    scene.service.replace("daemon")
    assert (scene.store.get(held.export_id).status, code.is_running()) == (TRIGGERED, True)
    scene.let_go()
    scene.wait(held.export_id, FINISHED)
    wait_for(lambda: not code.is_running(), 60)
    scene.service.start("code")
    for name, after in (("web", 5), ("daemon", 10), ("code", 14)):
        scene.wait(asked[after], FINISHED)
        scene.service.replace(name)
    ended = [scene.wait(export_id, FINISHED) for export_id in asked]
    assert {export.attempt for export in ended} == {1}
    assert len({export.run_id for export in ended}) == 20
    scene.check()
