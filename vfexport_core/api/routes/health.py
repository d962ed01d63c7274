"""Open to everybody: is the process alive, can it do its work, and how much does it do."""

# No postponed annotations here: FastAPI reads them when a route is declared.

from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter, Request
from starlette.responses import Response
from typing_extensions import TypedDict

from vfexport_core.api import answers
from vfexport_core.api.errors import ErrorDetail, JsonAnswer, error_answer
from vfexport_core.api.metrics import CONTENT_TYPE
from vfexport_core.api.services import services_of
from vfexport_core.errors import NotReady

router = APIRouter(tags=["health"])

CheckOutcome = Literal["ok", "failed", "timeout"]


class HeartbeatWire(TypedDict):
    """The process is alive."""

    status: Literal["alive"]


class ReadyWire(TypedDict):
    """Everything answers: MongoDB and each configured bucket, by name."""

    status: Literal["ready"]
    checks: dict[str, CheckOutcome]


class NotReadyWire(TypedDict):
    """Something does not answer; the error's payload names it."""

    error: ErrorDetail
    checks: dict[str, CheckOutcome]


@router.get("/heartbeat", summary="Is it alive?", response_model=HeartbeatWire)
async def heartbeat() -> Response:
    """Answer as long as the process does; asks nobody else."""
    return JsonAnswer({"status": "alive"})


@router.get(
    "/ready",
    summary="Can it work?",
    response_model=ReadyWire,
    responses={
        HTTPStatus.SERVICE_UNAVAILABLE: {
            **answers.errors(answers.NOT_READY)[HTTPStatus.SERVICE_UNAVAILABLE],
            "model": NotReadyWire,
        }
    },
)
async def ready(request: Request) -> Response:
    """Ask MongoDB and every configured bucket, in parallel and for a bounded time."""
    checks = await services_of(request).readiness.outcomes()
    failing = sorted(name for name, outcome in checks.items() if outcome != "ok")
    if failing:
        names = ", ".join(failing)
        return error_answer(NotReady(f"not answering: {names}", payload=names), {"checks": checks})
    return JsonAnswer({"status": "ready", "checks": checks})


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
async def metrics(request: Request) -> Response:
    """Give the figures of the API, and those of the exports if MongoDB answers (`vfexport_mongodb_up`)."""
    services = services_of(request)
    families = await services.queue_metrics.families()
    return Response(services.metrics.render(families), headers={"Content-Type": CONTENT_TYPE})
