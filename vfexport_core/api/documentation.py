"""The OpenAPI document, made true, and ``/docs`` without the internet.

What the framework cannot know is added (bodies that the routes read themselves, the catalog's types, the headers and
the error that every answer may have), and what it assumes and is not so is removed (its own 422).
"""

from __future__ import annotations

from copy import deepcopy
from importlib import metadata, resources
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from starlette.responses import FileResponse, Response

from vfexport_core.api import bodies, correlation
from vfexport_core.api.errors import ErrorAnswer
from vfexport_core.errors import RouteNotFound
from vfexport_core.services.request_export import DATE_KEY_PATTERN

if TYPE_CHECKING:
    from fastapi import FastAPI

    from vfexport_core.catalog import Registry

VERSION = metadata.version("vfexport")
TITLE = "Exports of fan registrations"
DESCRIPTION = """Turns a campaign's fan registrations into files: request an export, poll it, download it.

Every error has the same body, and every answer an `X-Correlation-Id`: yours, if you sent one, else a new one."""

_ASSETS_PACKAGE = "fastapi_offline"
_ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "favicon.png": "image/png"}
# The page and all it needs come from here; were there a reference to another host, the browser would not follow it.
_PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
)

_FRAMEWORK_ERRORS = ("HTTPValidationError", "ValidationError")

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def show_docs() -> Response:
    """Show the API to try out, with assets of an installed package."""
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
    """Give one of the files that the page needs."""
    if name not in _ASSETS:
        raise RouteNotFound("there is nothing at this path")
    path = resources.files(_ASSETS_PACKAGE) / "static" / name
    return FileResponse(str(path), media_type=_ASSETS[name], headers={"Cache-Control": "max-age=86400"})


def describe_api(app: FastAPI, catalog: Registry) -> dict[str, Any]:
    """Make the OpenAPI 3.1 document of the app."""
    document = get_openapi(title=TITLE, version=VERSION, description=DESCRIPTION, routes=app.routes)
    schemas: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
    for name in _FRAMEWORK_ERRORS:
        schemas.pop(name, None)
    types = [spec.type for spec in catalog.all()]
    schemas["ExportType"] = {"type": "string", "enum": types, "description": "A type of GET /export-types."}
    schemas["NewExport"] = _new_export(catalog)
    if "/dev/token" in document["paths"]:
        schemas["NewToken"] = deepcopy(_NEW_TOKEN)
    document["components"]["headers"] = {"CorrelationId": _CORRELATION_HEADER}
    for operations in document["paths"].values():
        for operation in operations.values():
            _correct(operation)
    return document


def _correct(operation: dict[str, Any]) -> None:
    answers: dict[str, Any] = operation["responses"]
    answers.pop("422", None)
    internal = {
        "description": "Internal Server Error: InternalError.",
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{ErrorAnswer.__name__}"}}},
    }
    answers.setdefault("500", internal)
    for answer in answers.values():
        answer.setdefault("headers", {})[correlation.HEADER] = {"$ref": "#/components/headers/CorrelationId"}
    if "304" in answers:
        answers["304"].pop("content", None)
    for parameter in operation.get("parameters", []):
        parameter["schema"] = _without_null(parameter["schema"])
        parameter["schema"].pop("title", None)
        if parameter["name"] == "exportType":
            parameter["schema"] = {"$ref": "#/components/schemas/ExportType"}
    operation.setdefault("parameters", []).append(_CORRELATION_PARAMETER)


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Drop ``null`` from a parameter's schema: it means that the parameter may be absent, which `required` says."""
    options = [option for option in schema.get("anyOf", []) if option != {"type": "null"}]
    if len(options) != 1:
        return schema
    return {**{name: value for name, value in schema.items() if name != "anyOf"}, **options[0]}


def _new_export(catalog: Registry) -> dict[str, Any]:
    dated = [spec.type for spec in catalog.all() if spec.needs_date_key]
    schema: dict[str, Any] = {
        "type": "object",
        "description": "What to export.",
        "required": ["exportType"],
        "additionalProperties": False,
        "properties": {
            "exportType": {"$ref": "#/components/schemas/ExportType"},
            "dateKey": {
                "type": "string",
                "pattern": f"^{DATE_KEY_PATTERN}$",
                "description": "The wave's key, in epoch milliseconds; some types need it.",
            },
            "includeAllMarkets": {
                "type": "boolean",
                "default": False,
                "description": "One more row per additional market of a fan, in the types that have such rows.",
            },
        },
    }
    if dated:
        undated = [spec.type for spec in catalog.all() if not spec.needs_date_key]
        schema["anyOf"] = [
            {"properties": {"exportType": {"enum": undated}}},
            {"properties": {"exportType": {"enum": dated}}, "required": ["dateKey"]},
        ]
    return schema


_NEW_TOKEN: dict[str, Any] = {
    "type": "object",
    "description": "For whom the token is, and what it allows.",
    "required": ["userId", "permissions"],
    "additionalProperties": False,
    "properties": {
        "userId": {"type": "string", "pattern": f"^{bodies.USER_ID_PATTERN}$"},
        "permissions": {
            "type": "object",
            "maxProperties": bodies.MOST_CAMPAIGNS,
            "propertyNames": {"pattern": f"^{bodies.CAMPAIGN_KEY_PATTERN}$"},
            "additionalProperties": {
                "type": "array",
                "maxItems": bodies.MOST_PERMISSIONS,
                "items": {"type": "string", "pattern": f"^{bodies.PERMISSION_PATTERN}$"},
            },
            "examples": [{"*": ["REPORT"]}],
        },
        "supreme": {"type": "boolean", "default": False},
    },
}
_CORRELATION_HEADER = {
    "description": "Finds this request in the logs of the API and of the export's run.",
    "required": True,
    "schema": {"type": "string", "pattern": f"^{correlation.PATTERN}$"},
}
_CORRELATION_PARAMETER = {
    "name": correlation.HEADER,
    "in": "header",
    "required": False,
    "description": f"Your own id for this request. Another one is made for what is not like `{correlation.PATTERN}`.",
    "schema": {"type": "string"},
}
