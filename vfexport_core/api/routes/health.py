"""Open to everybody: is the process alive, can it do its work, and how much does it do."""

# No postponed annotations here: FastAPI reads them when a route is declared.

from http import HTTPStatus

from fastapi import APIRouter
from starlette.responses import Response

from vfexport_core.api import openapi
from vfexport_core.api.container import ContainerOf
from vfexport_core.api.errors import not_ready_response
from vfexport_core.api.examples import NOT_READY
from vfexport_core.api.metrics import CONTENT_TYPE, of_readiness
from vfexport_core.api.readiness import ESSENTIAL, MONGODB, SCHEMA
from vfexport_core.api.schemas import HeartbeatOut, NotReadyOut, ReadyOut
from vfexport_core.errors import NotReady

router = APIRouter(tags=["health"])


@router.get("/heartbeat", summary="Is it alive?")
async def heartbeat() -> HeartbeatOut:
    """Answer as long as the process does; asks nobody else."""
    return HeartbeatOut(status="alive")


@router.get(
    "/ready",
    summary="Can it work?",
    response_model=ReadyOut,
    responses={
        HTTPStatus.SERVICE_UNAVAILABLE: {"model": NotReadyOut}
        | openapi.described("Service Unavailable: NotReady.", "Retry-After", examples={"NotReady": NOT_READY})
    },
)
async def ready(container: ContainerOf) -> ReadyOut | Response:
    """Ask MongoDB, whether it is set up, and every configured bucket, in parallel and for a bounded time.

    Without MongoDB nothing can be done here. A bucket that does not answer is told of, and no more: exports into it
    wait, what concerns the others goes on. A process that has been told to end is not ready (`payload`: `stopping`).
    """
    if container.draining.has_begun:
        stopping = NotReady(
            "this process is about to end", payload="stopping", hint="Ask another one, or ask again soon."
        )
        return not_ready_response(stopping, {})
    checks = await container.readiness.outcomes()
    failing = {name for name, outcome in checks.items() if outcome != "ok"}
    if failing & ESSENTIAL:
        # Without MongoDB nobody can tell whether it is set up.
        names = ", ".join(sorted(failing - {SCHEMA} if MONGODB in failing else failing))
        what = "the database is not set up: run `vfexport init`" if failing == {SCHEMA} else f"not answering: {names}"
        return not_ready_response(NotReady(what, payload=names), checks)
    return ReadyOut(status="degraded" if failing else "ready", checks=checks)


@router.get(
    "/metrics",
    summary="How much does it do?",
    response_class=Response,
    responses={
        HTTPStatus.OK: {
            "description": "Prometheus' text format.",
            "content": {CONTENT_TYPE: {"schema": {"type": "string"}}},
        }
    },
)
async def metrics(container: ContainerOf) -> Response:
    """Return the figures of the API, and those of the exports if MongoDB answers (`vfexport_mongodb_up`)."""
    families = await container.queue_metrics.families()
    ready = of_readiness(await container.readiness.outcomes())
    return Response(container.metrics.render([ready, *families]), headers={"Content-Type": CONTENT_TYPE})
