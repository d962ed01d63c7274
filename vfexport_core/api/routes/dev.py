"""A token for trying things out; part of the app in dev mode only."""

# No postponed annotations here: FastAPI reads them when a route is declared.

from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter, Request
from starlette.responses import Response
from typing_extensions import TypedDict

from vfexport_core.api import answers
from vfexport_core.api.bodies import parse_token_body
from vfexport_core.api.dependencies import OpenBody
from vfexport_core.api.devtokens import LIFETIME_SECONDS
from vfexport_core.api.errors import JsonAnswer
from vfexport_core.api.services import services_of

router = APIRouter(tags=["dev"])


class TokenWire(TypedDict):
    """Send it as ``Authorization: Bearer {token}``."""

    token: str
    tokenType: Literal["Bearer"]
    expiresIn: int


@router.post(
    "/dev/token",
    summary="Make a token (dev mode only)",
    response_model=TokenWire,
    responses={
        HTTPStatus.OK: answers.described("A token signed by the dev key.", "Cache-Control"),
        **answers.errors(answers.BAD_TOKEN_BODY),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/NewToken"}}},
        }
    },
)
async def make_token(request: Request, body: OpenBody) -> Response:
    """Sign a token for any user with any permissions: `{"*": ["REPORT"]}` is good for every campaign."""
    wanted = parse_token_body(body)
    signer = services_of(request).access.signer
    assert signer is not None, "the route belongs to apps in dev mode"
    wire: TokenWire = {
        "token": signer.sign(wanted.user_id, wanted.permissions, supreme=wanted.supreme),
        "tokenType": "Bearer",
        "expiresIn": LIFETIME_SECONDS,
    }
    return JsonAnswer(wire, headers={"Cache-Control": "no-store"})
