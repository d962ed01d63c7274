"""The OpenAPI document, and ``/docs`` without the internet."""

# No postponed annotations here: FastAPI reads them when a route is declared.

from importlib import resources
from typing import Any

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import FileResponse, Response

from vfexport_core.api.openapi import TITLE
from vfexport_core.errors import RouteNotFound

_ASSETS_PACKAGE = "fastapi_offline"
_ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "favicon.png": "image/png"}
# The page and all it needs come from here; were there a reference to another host, the browser would not follow it.
_PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
async def show_document(request: Request) -> dict[str, Any]:
    """Return the OpenAPI document."""
    return request.app.openapi()


@router.get("/docs")
async def show_page() -> Response:
    """Return the page to try the API out on, with assets of an installed package."""
    page = get_swagger_ui_html(
        openapi_url="openapi.json",  # relative, as the others: behind a proxy they keep its prefix
        title=TITLE,
        swagger_js_url="docs/assets/swagger-ui-bundle.js",
        swagger_css_url="docs/assets/swagger-ui.css",
        swagger_favicon_url="docs/assets/favicon.png",
        swagger_ui_parameters={"validatorUrl": None, "persistAuthorization": True},
    )
    page.headers["Content-Security-Policy"] = _PAGE_POLICY
    return page


@router.get("/docs/assets/{name}")
def show_asset(name: str) -> Response:
    """Return one of the files that the page needs."""
    if name not in _ASSETS:
        raise RouteNotFound("there is nothing at this path")
    path = resources.files(_ASSETS_PACKAGE) / "static" / name
    return FileResponse(str(path), media_type=_ASSETS[name], headers={"Cache-Control": "max-age=86400"})
