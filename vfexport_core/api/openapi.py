"""The OpenAPI document: what routes say about their answers, and what the framework cannot know or assumes wrongly."""

from __future__ import annotations

from http import HTTPStatus
from importlib import metadata
from typing import TYPE_CHECKING, Any, TypeAlias

from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from vfexport_core.api import correlation
from vfexport_core.api.examples import error_example
from vfexport_core.api.schemas import ErrorOut, NewExport, NewToken

if TYPE_CHECKING:
    from fastapi import FastAPI

    from vfexport_core.api.schemas import RequestModel
    from vfexport_core.catalog import Registry
    from vfexport_core.errors import VfexportError

Responses: TypeAlias = dict[int | str, dict[str, Any]]
Document: TypeAlias = dict[str, Any]

VERSION = metadata.version("vfexport")
TITLE = "Exports of fan registrations"
DESCRIPTION = """Turns a campaign's fan registrations into files: request an export, poll it, download it.

Every error has the same body, and every answer an `X-Correlation-Id`: yours, if you sent one, else a new one."""

_REF = "#/components/schemas/{model}"
_BODIES = (NewExport, NewToken)
_FRAMEWORK_ERRORS = ("HTTPValidationError", "ValidationError")
_HEADERS = {
    "Location": ("Where the export can be read.", {"type": "string"}),
    "Retry-After": ("After how many seconds asking again makes sense.", {"type": "integer", "minimum": 1}),
    "ETag": ("The state of the export, for If-None-Match.", {"type": "string"}),
    "Link": ('The next page: `<...>; rel="next"`.', {"type": "string"}),
    "WWW-Authenticate": ("How to authenticate.", {"type": "string"}),
}
_ERROR_HEADERS = {
    HTTPStatus.UNAUTHORIZED: ("WWW-Authenticate",),
    HTTPStatus.SERVICE_UNAVAILABLE: ("Retry-After",),
    HTTPStatus.INTERNAL_SERVER_ERROR: ("Retry-After",),
}
_HEADERS_OF_ALL: Document = {
    correlation.HEADER: {
        "description": "Finds this request in the logs of the API and of the export's run.",
        "required": True,
        "schema": {"type": "string", "pattern": f"^{correlation.PATTERN}$"},
    },
    "Cache-Control": {"description": "Answers are not to be kept.", "required": True, "schema": {"type": "string"}},
}
_CORRELATION_PARAMETER: Document = {
    "name": correlation.HEADER,
    "in": "header",
    "required": False,
    "description": f"Your own id for this request. Another one is made for what is not like `{correlation.PATTERN}`.",
    "schema": {"type": "string"},
}


def described(text: str, *headers: str, examples: Document | None = None) -> Document:
    """Return the description of an answer and of the headers it may carry, with examples of it by their names."""
    answer: Document = {
        "description": text,
        "headers": {name: {"description": _HEADERS[name][0], "schema": _HEADERS[name][1]} for name in headers},
    }
    if examples is not None:
        shown = {name: {"value": value} for name, value in examples.items()}
        answer["content"] = {"application/json": {"examples": shown}}
    return answer


def errors(*classes: type[VfexportError]) -> Responses:
    """Return the description of a route's error answers, by the errors that it raises."""
    by_status: dict[int, list[type[VfexportError]]] = {}
    for error in classes:
        by_status.setdefault(error.status, []).append(error)
    return {status: _error(HTTPStatus(status), found) for status, found in sorted(by_status.items())}


def _error(status: HTTPStatus, classes: list[type[VfexportError]]) -> Document:
    shown = {error.code: error_example(error) for error in classes}
    text = f"{status.phrase}: {', '.join(error.code for error in classes)}."
    return {"model": ErrorOut, **described(text, *_ERROR_HEADERS.get(status, ()), examples=shown)}


def links(**operations: str) -> Document:
    """Return what can be done next with the export in the answer: the id of the operation, by the link's name."""
    parameters = {"campaignId": "$response.body#/campaignId", "exportId": "$response.body#/id"}
    return {
        "links": {name: {"operationId": operation, "parameters": parameters} for name, operation in operations.items()}
    }


def request_body(model: type[RequestModel]) -> Document:
    """Return the description of a body that `requests.json_body` reads."""
    schema = {"$ref": _REF.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def openapi_document(app: FastAPI, catalog: Registry) -> Document:
    """Return the OpenAPI 3.1 document of the app."""
    document = get_openapi(title=TITLE, version=VERSION, description=DESCRIPTION, routes=app.routes)
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    schemas: Document = document["components"]["schemas"]
    for name in _FRAMEWORK_ERRORS:
        schemas.pop(name, None)
    bodies = [model for model in _BODIES if any(request_body(model).items() <= one.items() for one in operations)]
    schemas |= models_json_schema([(model, "validation") for model in bodies], ref_template=_REF)[1]["$defs"]
    _add_catalog(schemas, catalog)
    document["components"]["headers"] = _HEADERS_OF_ALL
    for operation in operations:
        _correct(operation)
    return document


def _add_catalog(schemas: Document, catalog: Registry) -> None:
    """Name the export types where models have any text: only the app knows its catalog."""
    specs = catalog.all()
    names = [spec.type for spec in specs]
    schemas["ExportType"] = {"type": "string", "enum": names, "description": "A type of GET /export-types."}
    schemas["NewExport"]["properties"]["exportType"] |= {"$ref": _REF.format(model="ExportType")}
    alike: dict[tuple[bool, bool], list[str]] = {}
    for spec in specs:
        alike.setdefault((spec.needs_date_key, spec.has_additional_markets), []).append(spec.type)
    schemas["NewExport"]["anyOf"] = [
        {
            "properties": {"exportType": {"enum": types}}
            | ({} if has_additional_markets else {"includeAllMarkets": {"const": False}}),
            **({"required": ["dateKey"]} if needs_date_key else {}),
        }
        for (needs_date_key, has_additional_markets), types in alike.items()
    ]


def _correct(operation: Document) -> None:
    answers: Document = operation["responses"]
    answers.pop("422", None)  # the framework's own; here it is 400
    for status, answer in answers.items():
        if status == "304":
            answer.pop("content", None)
        for example in answer.get("content", {}).get("application/json", {}).get("examples", {}).values():
            if "error" in example["value"]:  # an error without a payload says so; the framework drops every null
                example["value"]["error"].setdefault("payload", None)
        headers = {name: {"$ref": f"#/components/headers/{name}"} for name in _HEADERS_OF_ALL}
        answer["headers"] = answer.get("headers", {}) | headers
    for parameter in operation.get("parameters", []):
        if parameter["name"] == "exportType":
            parameter["schema"] = {"$ref": _REF.format(model="ExportType")}
    operation.setdefault("parameters", []).append(_CORRELATION_PARAMETER)
