"""What routes ask for before they run: the caller, the campaign of the path, the body; in this order.

Each fails with its own error (401, 403, 400), so the order of the checks is the order of the dependencies.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated, TypeAlias

from fastapi import Depends, Path, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from vfexport_core.api.auth import Caller
from vfexport_core.api.bodies import read_body
from vfexport_core.api.services import services_of
from vfexport_core.errors import InvalidRequest, Unauthenticated

OBJECT_ID_PATTERN = "^[0-9a-fA-F]{24}$"

_OBJECT_ID = re.compile(OBJECT_ID_PATTERN.strip("^$"))

# Documents the scheme; the header is read by `find_caller`, which is stricter.
_bearer = HTTPBearer(auto_error=False, bearerFormat="JWT", scheme_name="bearer")


def find_caller(
    request: Request, _documented: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
) -> Caller:
    """Check the request's bearer token; raises Unauthenticated."""
    values = request.headers.getlist("authorization")
    if not values:
        raise Unauthenticated("a bearer token is needed")
    scheme, _, token = values[0].partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("the Authorization header must be one bearer token", payload="token")
    return services_of(request).access.verifier.verify(token.strip())


CallerOf: TypeAlias = Annotated[Caller, Depends(find_caller)]


def canonical_id(text: str) -> str:
    """Write an ObjectId in lower case, as it is stored; other texts (which find nothing) stay as they are."""
    return text.lower() if _OBJECT_ID.fullmatch(text) else text


CampaignInPath: TypeAlias = Annotated[
    str,
    Path(alias="campaignId", description="The campaign's ObjectId.", json_schema_extra={"pattern": OBJECT_ID_PATTERN}),
]
ExportInPath: TypeAlias = Annotated[
    str,
    Path(alias="exportId", description="The export's ObjectId.", json_schema_extra={"pattern": OBJECT_ID_PATTERN}),
]


async def reported_campaign(caller: CallerOf, campaign_id: CampaignInPath) -> str:  # async: saves a change of thread
    """Give the id of the path's campaign, which the caller may report on; raises MissingPermissions."""
    campaign_id = canonical_id(campaign_id)
    caller.require_report(campaign_id)
    return campaign_id


CampaignId: TypeAlias = Annotated[str, Depends(reported_campaign)]


async def permitted_body(request: Request, _campaign_id: CampaignId) -> bytes:
    """Read the body of a request on a campaign, once it is known to be permitted."""
    return await read_body(request)


PermittedBody: TypeAlias = Annotated[bytes, Depends(permitted_body)]


async def open_body(request: Request) -> bytes:
    """Read the body of a request that anybody may make."""
    return await read_body(request)


OpenBody: TypeAlias = Annotated[bytes, Depends(open_body)]


async def refuse_repeated_parameters(request: Request, _campaign_id: CampaignId) -> None:
    """Raise InvalidRequest when a query parameter comes twice: which one is meant cannot be told."""
    for name, times in Counter(name for name, _ in request.query_params.multi_items()).items():
        if times > 1:
            raise InvalidRequest(f"{name[:64]}: is given {times} times", payload=name[:64])
