"""`vfexport` in a process of its own, with small batches and parts: a small campaign then takes several of both."""

from __future__ import annotations

import functools

from tests.small_parts import small_limits
from vfexport_core.cli import main
from vfexport_core.pipeline import ExportPlan
from vfexport_core.storage import buckets
from vfexport_core.storage.s3.s3_store import S3Store

BATCH_DOCUMENTS = 4

if __name__ == "__main__":
    defaults = ExportPlan.load.__func__.__kwdefaults__  # the function of a class method
    assert "batch_documents" in defaults
    defaults["batch_documents"] = BATCH_DOCUMENTS
    buckets.S3Store = functools.partial(S3Store, limits=small_limits())
    main()
