"""The export types: one declaration each, one registry.

A new type is a module with an `ExportSpec`, a line in `CATALOG` and a golden file (docs/adding-an-export-type.md).
"""

from __future__ import annotations

from vfexport_core.catalog.entries import ENTRIES
from vfexport_core.catalog.registry import Registry
from vfexport_core.catalog.scoring import SCORING
from vfexport_core.catalog.spec import Acl, Bucket, ExportSpec, ExportType

CATALOG = Registry((ENTRIES, SCORING))


def find_spec(export_type: object) -> ExportSpec:
    """Give the type of this name; raises InvalidExportType for anything else."""
    return CATALOG.find(export_type)


def all_specs() -> tuple[ExportSpec, ...]:
    """Give every registered type."""
    return CATALOG.all()


__all__ = ["CATALOG", "Acl", "Bucket", "ExportSpec", "ExportType", "Registry", "all_specs", "find_spec"]
