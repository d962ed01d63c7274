"""Deleting what was exported of a user."""

# No postponed annotations here: FastAPI reads them when a route is declared.

from typing import Annotated

from fastapi import APIRouter, Path

from vfexport_core.api import openapi
from vfexport_core.api.container import ContainerOf
from vfexport_core.api.dependencies import SupremeCaller, actor_of
from vfexport_core.api.schemas import DeletedCount, DeletedOut
from vfexport_core.ccpa.hashing import USER_ID_PATTERN
from vfexport_core.errors import (
    ConfigurationError,
    DeleteFailed,
    DeliveryFailed,
    InvalidRequest,
    KeysUnavailable,
    MissingPermissions,
    NotInitialized,
    SourceUnavailable,
    Unauthenticated,
    VfexportError,
)
from vfexport_core.services import delete_user as services

router = APIRouter(tags=["ccpa"])

UserId = Annotated[
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
    response_description="All of it is deleted.",
    responses=openapi.errors(
        InvalidRequest,
        Unauthenticated,
        KeysUnavailable,
        MissingPermissions,
        DeleteFailed,
        ConfigurationError,
        VfexportError,
        SourceUnavailable,
        NotInitialized,
        DeliveryFailed,
    ),
)
def delete_user(container: ContainerOf, caller: SupremeCaller, user_id: UserId) -> DeletedOut:
    """Delete files and exports of every campaign in which the user has an entry, a scoring record or an assigned code.

    The types verifiedEntries, scoring and autoReminderEmail are kept; a running export is queued again and then leaves
    the user out, a waiting one stays. When something fails the answer is DeleteFailed, and the service goes on by
    itself; repeating the request is harmless.
    """
    container.backend.check_initialised()
    record = services.delete_user(container.deletion_tools, user_id, by=actor_of(caller))
    return DeletedOut(deleted_count=DeletedCount(exports=record.deleted_exports, files=record.deleted_files))
