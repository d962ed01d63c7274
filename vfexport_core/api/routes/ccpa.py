"""Deleting what was exported of a user."""

# No postponed annotations here: FastAPI reads them when a route is declared.

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from starlette.responses import Response
from typing_extensions import TypedDict

from vfexport_core.api import answers, correlation
from vfexport_core.api.auth import Caller
from vfexport_core.api.dependencies import CallerOf
from vfexport_core.api.errors import JsonAnswer
from vfexport_core.api.services import services_of
from vfexport_core.ccpa.hashing import USER_ID_PATTERN
from vfexport_core.telemetry import context

router = APIRouter(tags=["ccpa"])


class DeletedCount(TypedDict):
    """How many export documents and files were deleted, over all tries of this request."""

    exports: int
    files: int


class DeletedWire(TypedDict):
    """The deletion is complete."""

    deletedCount: DeletedCount


async def supreme_caller(caller: CallerOf) -> Caller:  # async: saves a change of thread
    """Give the caller, who may delete users' data; raises MissingPermissions."""
    caller.require_supreme()
    return caller


UserInPath = Annotated[
    str,
    Path(
        alias="userId",
        description="The user's id; 24 hexadecimal digits are the same id in either case.",
        json_schema_extra={"pattern": f"^{USER_ID_PATTERN}$"},
    ),
]


@router.delete(
    "/ccpa/users/{userId}",
    summary="Delete what was exported of a user",
    response_model=DeletedWire,
    responses={
        HTTPStatus.OK: answers.described("All of it is deleted."),
        **answers.errors(
            answers.BAD_USER_ID,
            answers.UNAUTHENTICATED,
            answers.NO_PERMISSION,
            answers.NOT_DELETED,
            answers.UNAVAILABLE,
        ),
    },
)
def delete_user(request: Request, caller: Annotated[Caller, Depends(supreme_caller)], user_id: UserInPath) -> Response:
    """Delete files and exports of every campaign in which the user has an entry or a scoring record.

    The types verifiedEntries, scoring and autoReminderEmail are kept; a running export is queued again and then leaves
    the user out, a waiting one stays. When something fails the answer is DeleteFailed, and the service goes on by
    itself; repeating the request is harmless.
    """
    record = services_of(request).deletions.delete_user(
        user_id, requested_by=caller.user_id, correlation_id=context.correlation_id() or correlation.accept(None)
    )
    counts = DeletedCount(exports=record.deleted_exports, files=record.deleted_files)
    return JsonAnswer(DeletedWire(deletedCount=counts))
