"""Conditions and pipelines as data; what they do to documents is in tests/integration/test_queue_*.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from bson import ObjectId

from vfexport_core.queue import transitions
from vfexport_core.queue.models import Claim, Delivered, ExportStatus
from vfexport_core.queue.transitions import Claimant

if TYPE_CHECKING:
    from collections.abc import Iterator

ID = ObjectId("0123456789abcdef01234567")
# Would be a field path or a variable if it stood in a pipeline as it is.
HOSTILE = "$$ROOT"
CLAIM = Claim(str(ID), 2, HOSTILE)
FENCE = {"_id": ID, "status": "TRIGGERED", "attempt": 2, "runId": HOSTILE}
ERROR = {"code": HOSTILE, "message": HOSTILE, "payload": HOSTILE}
DELIVERED = Delivered(bucket=HOSTILE, keys=(HOSTILE,), rows=1, bytes=1, sha256=(HOSTILE,), meta={HOSTILE: HOSTILE})

FENCED = [
    transitions.set_count(CLAIM, 1),
    transitions.progress(CLAIM, 1, 2, 3, 500),
    transitions.note_keys(CLAIM, HOSTILE, [HOSTILE]),
    transitions.check_fence(CLAIM, 500),
    transitions.finish(CLAIM, DELIVERED),
    transitions.close(CLAIM, ExportStatus.FAILED, ERROR, drained=True),
    transitions.close(CLAIM, ExportStatus.EXPIRED, None, drained=True),
]
OTHERS = [
    transitions.claim(Claimant(HOSTILE, HOSTILE, 500), ID, None),
    transitions.claim_again(Claimant(HOSTILE, HOSTILE, 500), ID, 1),
    transitions.cancel_pending(ID),
    transitions.request_cancel(ID),
    transitions.note_drained(CLAIM),
    transitions.close_run(ID, HOSTILE, ExportStatus.FAILED, ERROR, None),
    transitions.close_run(ID, HOSTILE, ExportStatus.CANCELED, ERROR, 1),
    transitions.retry(ID, 1, redeliver=False),
]


def expressions(node: Any) -> Iterator[str]:
    """Every string of a pipeline that the server would evaluate, that is outside $literal."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, list):
        for item in node:
            yield from expressions(item)
    elif isinstance(node, dict):
        for name, value in node.items():
            yield name
            if name != "$literal":
                yield from expressions(value)


@pytest.mark.parametrize("transition", FENCED)
def test_every_write_of_a_run_is_behind_the_fence(transition: transitions.Transition) -> None:
    assert transition.condition == FENCE


@pytest.mark.parametrize("transition", [*FENCED, *OTHERS])
def test_nothing_from_outside_is_evaluated(transition: transitions.Transition) -> None:
    found = list(expressions(transition.pipeline))
    assert found
    assert HOSTILE not in found


@pytest.mark.parametrize("transition", [*FENCED, *OTHERS])
def test_no_transition_replaces_what_it_should_merge_into(transition: transitions.Transition) -> None:
    """MongoDB merges a nested document in $set, the embedded server replaces: only expressions and scalars are set."""
    for stage in transition.pipeline:
        for value in stage.get("$set", {}).values():
            assert not isinstance(value, dict) or all(name.startswith("$") for name in value)


def test_errors_are_cut_to_code_message_and_payload() -> None:
    cleaned = transitions.clean_error(
        {"code": "Boom", "message": "m\udc80" + "x" * 5_000, "payload": None, "stack": "Traceback"}
    )
    assert cleaned == {"code": "Boom", "message": "m\ufffd" + "x" * 1_998, "payload": None}
