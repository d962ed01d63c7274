"""The files as Dagster's assets: one per export type, a materialization per finished export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vfexport_core.catalog.spec import ExportSpec
    from vfexport_core.queue.models import Export

GROUP = "exports"


def asset_key(export_type: str) -> dg.AssetKey:
    """Return the key of a type's files: ``exports/{type}``."""
    return dg.AssetKey([GROUP, str(export_type)])


def export_assets(specs: Iterable[ExportSpec]) -> list[dg.AssetSpec]:
    """Describe the assets, so that the catalog shows a type before its first file."""
    return [
        dg.AssetSpec(
            asset_key(spec.type),
            description=spec.summary,
            group_name=GROUP,
            kinds={"s3", spec.extension},
            metadata={"bucket": spec.bucket.value, "dagster/column_schema": _columns(spec)},
        )
        for spec in specs
    ]


def materialization(spec: ExportSpec, export: Export) -> dg.AssetMaterialization:
    """Tell of a FINISHED export: figures, place and digest of its files; columns by name, never what is in them."""
    metadata: dict[str, Any] = {
        "rows": export.count or 0,
        "bytes": export.bytes or 0,
        "seconds": export.seconds or 0.0,
        "rows_per_second": export.rows_per_second,
        "s3_uri": _lines(f"s3://{export.bucket}/{key}" for key in export.keys),
        "sha256": _lines(export.sha256.get(key, "") for key in export.keys),
        "export_id": export.id,
        "campaign_id": export.campaign_id,
        "dagster/column_schema": _columns(spec),
    }
    return dg.AssetMaterialization(asset_key(spec.type), metadata=metadata)


def _columns(spec: ExportSpec) -> dg.TableSchema:
    return dg.TableSchema([dg.TableColumn(column.header, "string") for column in spec.columns])


def _lines(texts: Iterable[str]) -> str:
    return "\n".join(texts)
