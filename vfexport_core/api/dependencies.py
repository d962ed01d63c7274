"""What routes ask for before they run: the caller, the campaign and the export of the path.

Each fails with its own error (401, 403, ...), so the order of a route's parameters is the order of its checks.
"""

# No postponed annotations here: FastAPI reads them when a dependency is declared.

import re
from typing import Annotated, Any, TypeAlias

from fastapi import Depends, Path, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import AfterValidator

from vfexport_core.api import correlation
from vfexport_core.api.auth.tokens import Caller
from vfexport_core.api.container import ContainerOf
from vfexport_core.errors import Unauthenticated
from vfexport_core.queue.audit import Actor

OBJECT_ID_PATTERN = "^[0-9a-fA-F]{24}$"

_OBJECT_ID = re.compile(OBJECT_ID_PATTERN.strip("^$"))

# Documents the scheme; the header is read by `find_caller`, which is stricter.
_bearer = HTTPBearer(auto_error=False, bearerFormat="JWT", scheme_name="bearer")


def find_caller(
    request: Request,
    container: ContainerOf,
    _documented: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
) -> Caller:
    """Return the caller by the request's bearer token; raises Unauthenticated and KeysUnavailable."""
    return container.access.verifier.verify(bearer_token(request))


def bearer_token(request: Request) -> str:
    """Return the token of a request, not checked yet; raises Unauthenticated when it has none, or several."""
    values = request.headers.getlist("authorization")
    if not values:
        raise Unauthenticated("a bearer token is needed")
    scheme, _, token = values[0].partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("the Authorization header must be one bearer token", payload="token")
    return token.strip()


CallerOf: TypeAlias = Annotated[Caller, Depends(find_caller)]


def actor_of(caller: Caller) -> Actor:
    """Return the caller of this request as the audit log names them."""
    return Actor(caller.user_id, "api", correlation.current())


async def supreme_caller(caller: CallerOf) -> Caller:
    """Return the caller, who may delete users' data; raises MissingPermissions."""
    caller.require_supreme()
    return caller


SupremeCaller: TypeAlias = Annotated[Caller, Depends(supreme_caller)]


def _canonical(text: str) -> str:
    """Return an ObjectId in lower case, as it is stored; other texts (which find nothing) stay as they are."""
    return text.lower() if _OBJECT_ID.fullmatch(text) else text


def _object_id(name: str, description: str) -> Any:
    """Return the metadata of an id in the path. Its pattern is documented, not checked: another text finds nothing."""
    return Path(alias=name, description=description, json_schema_extra={"pattern": OBJECT_ID_PATTERN})


CampaignInPath: TypeAlias = Annotated[
    str, _object_id("campaignId", "The campaign's ObjectId."), AfterValidator(_canonical)
]
ExportId: TypeAlias = Annotated[str, _object_id("exportId", "The export's ObjectId."), AfterValidator(_canonical)]


async def permitted_campaign(caller: CallerOf, campaign_id: CampaignInPath) -> str:
    """Return the id of the path's campaign, which the caller may report on; raises MissingPermissions."""
    caller.require_report(campaign_id)
    return campaign_id


CampaignId: TypeAlias = Annotated[str, Depends(permitted_campaign)]
