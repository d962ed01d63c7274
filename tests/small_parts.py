"""Uploads of several parts that are small: what can happen to them does not depend on their size, what they cost does.

S3 takes no part below 5 MiB but the last. The embedded one is started with a lower limit (`SMALLEST`) and refuses what
is below that; a server that was named keeps its own. That the service's own parts are large enough for any S3, and that
its writer does with them what it should, is in `tests/integration/storage/test_storage_writer.py`.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

from vfexport_core.pipeline.export_plan import ExportPlan
from vfexport_core.storage import buckets
from vfexport_core.storage.s3 import writer
from vfexport_core.storage.s3.multipart import MIN_PART_BYTES
from vfexport_core.storage.s3.s3_store import S3Store

if TYPE_CHECKING:
    import pytest

    from vfexport_core.storage.s3.writer import Limits

SMALLEST = MIN_PART_BYTES if os.environ.get("VFEXPORT_TEST_S3_ENDPOINT") else 64 * 2**10
"""The smallest part that the S3 of the tests takes."""
BATCH_DOCUMENTS = 4
VARIABLE = "S3_UPLOAD_PART_MIN_SIZE"
"""How moto is told."""


def small_limits(**limits: Any) -> Limits:
    """Return limits with the smallest parts (unless `part_bytes` says otherwise), which the service itself refuses."""
    writer.MIN_PART_BYTES = SMALLEST
    try:
        return writer.Limits(**{"part_bytes": SMALLEST} | limits)
    finally:
        writer.MIN_PART_BYTES = MIN_PART_BYTES


small_store = functools.partial(S3Store, limits=small_limits())


def plan_defaults() -> dict[str, Any]:
    """Return what a plan of an export is made with unless somebody says otherwise."""
    return ExportPlan.load.__func__.__kwdefaults__  # of a class method


def use_small_parts(patch: pytest.MonkeyPatch) -> None:
    """Have exports that run in this process upload small parts, and read as many batches as with large documents."""
    patch.setitem(plan_defaults(), "batch_documents", BATCH_DOCUMENTS)
    patch.setattr(buckets, "S3Store", small_store)
