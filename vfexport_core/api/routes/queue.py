"""The queue as a whole."""

# No postponed annotations here: FastAPI reads them when a route is declared.

from fastapi import APIRouter

from vfexport_core.api import openapi
from vfexport_core.api.container import ContainerOf
from vfexport_core.api.dependencies import CallerOf
from vfexport_core.api.schemas import PauseOut, QueueStatusOut
from vfexport_core.errors import KeysUnavailable, SourceUnavailable, Unauthenticated
from vfexport_core.services import control_queue

router = APIRouter(tags=["queue"])


@router.get(
    "/queue",
    summary="Read how the queue stands",
    response_description="What waits and what runs, and whether the queue is paused.",
    responses=openapi.errors(Unauthenticated, KeysUnavailable, SourceUnavailable),
)
def read_queue(container: ContainerOf, _caller: CallerOf) -> QueueStatusOut:
    """Return how many exports wait and run, over all campaigns, and why nothing begins if the queue is paused."""
    status = control_queue.read_status(container.queue, container.backend.limits)
    return QueueStatusOut(
        pending=status.depth.pending.count,
        running=status.depth.triggered.count,
        paused=None if status.paused is None else PauseOut.model_validate(status.paused),
    )
