"""A token for trying things out; part of the app in dev mode only."""

# No postponed annotations here: FastAPI reads them when a route is declared.

from typing import Annotated

from fastapi import APIRouter

from vfexport_core.api import openapi
from vfexport_core.api.auth.dev_tokens import LIFETIME_SECONDS
from vfexport_core.api.container import ContainerOf
from vfexport_core.api.requests import json_body
from vfexport_core.api.schemas import NewToken, TokenOut
from vfexport_core.errors import InvalidRequest, RequestTooLarge

router = APIRouter(tags=["dev"])


@router.post(
    "/dev/token",
    summary="Make a token (dev mode only)",
    response_description="A token signed by the dev key.",
    responses=openapi.errors(InvalidRequest, RequestTooLarge),
    openapi_extra=openapi.request_body(NewToken),
)
async def make_token(container: ContainerOf, wanted: Annotated[NewToken, json_body(NewToken)]) -> TokenOut:
    """Sign a token for any user with any permissions: `{"*": ["REPORT"]}` is good for every campaign."""
    signer = container.access.signer
    assert signer is not None, "the route belongs to apps in dev mode"
    token = signer.sign(wanted.user_id, wanted.permissions, supreme=wanted.supreme)
    return TokenOut(token=token, token_type="Bearer", expires_in=LIFETIME_SECONDS)  # noqa: S106 no password
