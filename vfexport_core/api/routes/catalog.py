"""The catalog, for whoever wants to know what can be exported."""

# No postponed annotations here: FastAPI reads them when a route is declared.

from typing import Literal, cast

from fastapi import APIRouter, Request
from starlette.responses import Response
from typing_extensions import TypedDict

from vfexport_core.api import answers
from vfexport_core.api.dependencies import CallerOf
from vfexport_core.api.errors import JsonAnswer
from vfexport_core.api.services import services_of
from vfexport_core.catalog import ExportSpec

router = APIRouter(tags=["catalog"])

# Stands for the columns that each campaign defines for itself: one per preference, `#{type}.{id}`.


class ExportTypeWire(TypedDict):
    """One export type: where its files go, their format and columns, whether a request needs a dateKey."""

    type: str
    bucket: Literal["exportsS3", "scoringS3", "vfScoringS3", "sfmcS3"]
    format: Literal["csv", "zip"]
    columns: list[str]
    needsDateKey: bool


@router.get(
    "/export-types",
    summary="List the export types",
    response_model=list[ExportTypeWire],
    response_description="The catalog.",
    responses=answers.errors(answers.UNAUTHENTICATED),
)
async def list_export_types(request: Request, _caller: CallerOf) -> Response:
    """Give every type that `exportType` can name."""
    return JsonAnswer([_wire(spec) for spec in services_of(request).catalog.all()])


def _wire(spec: ExportSpec) -> ExportTypeWire:
    return {
        "type": spec.type,
        "bucket": spec.bucket.value,
        "format": cast("Literal['csv', 'zip']", spec.extension),
        "columns": [column.header for column in spec.columns],
        "needsDateKey": spec.needs_date_key,
    }
