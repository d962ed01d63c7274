"""The catalog, for whoever wants to know what can be exported."""

# No postponed annotations here: FastAPI reads them when a route is declared.

from typing import Literal, cast

from fastapi import APIRouter

from vfexport_core.api import openapi
from vfexport_core.api.container import ContainerOf
from vfexport_core.api.dependencies import CallerOf
from vfexport_core.api.schemas import ExportTypeOut
from vfexport_core.errors import KeysUnavailable, Unauthenticated

router = APIRouter(tags=["catalog"])


@router.get(
    "/export-types",
    summary="List the export types",
    response_description="The catalog.",
    responses=openapi.errors(Unauthenticated, KeysUnavailable),
)
async def list_export_types(container: ContainerOf, _caller: CallerOf) -> list[ExportTypeOut]:
    """Return every type that `exportType` can name."""
    return [
        ExportTypeOut(
            type=spec.type,
            bucket=spec.bucket.value,
            format=cast("Literal['csv', 'zip']", spec.extension),
            columns=[column.header for column in spec.columns],
            needs_date_key=spec.needs_date_key,
        )
        for spec in container.catalog.all()
    ]
