"""The export types: one declaration each, one registry.

A new type is a module with an `ExportSpec`, a line in `CATALOG` and a golden file (docs/adding-an-export-type.md).
"""

from __future__ import annotations

from vfexport_core.catalog.codes import CODE_ASSIGNMENTS, CODE_WAVES, CODES
from vfexport_core.catalog.entries import ENTRIES
from vfexport_core.catalog.fans import FANLIST, WAITLIST
from vfexport_core.catalog.opt_ins import (
    ARTIST_OPT_IN,
    ARTIST_SMS_OPT_IN,
    LIVENATION_OPT_IN,
    PROMOTER_EMAIL_OPT_IN,
)
from vfexport_core.catalog.registry import Registry
from vfexport_core.catalog.reminders import AUTO_REMINDER_EMAIL, REMINDER_EMAIL, REMINDER_EMAIL_SAMPLE
from vfexport_core.catalog.scoring import SCORING
from vfexport_core.catalog.spec import Acl, Bucket, ExportSpec, ExportType
from vfexport_core.catalog.verified_entries import VERIFIED_ENTRIES

CATALOG = Registry(
    (
        ENTRIES,
        SCORING,
        VERIFIED_ENTRIES,
        CODES,
        CODE_ASSIGNMENTS,
        CODE_WAVES,
        ARTIST_OPT_IN,
        ARTIST_SMS_OPT_IN,
        LIVENATION_OPT_IN,
        PROMOTER_EMAIL_OPT_IN,
        FANLIST,
        WAITLIST,
        REMINDER_EMAIL,
        REMINDER_EMAIL_SAMPLE,
        AUTO_REMINDER_EMAIL,
    )
)


def find_spec(export_type: object) -> ExportSpec:
    """Return the type of this name; raises InvalidExportType for anything else."""
    return CATALOG.find(export_type)


def all_specs() -> tuple[ExportSpec, ...]:
    """Return every registered type."""
    return CATALOG.all()


__all__ = ["CATALOG", "Acl", "Bucket", "ExportSpec", "ExportType", "Registry", "all_specs", "find_spec"]
