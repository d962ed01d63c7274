"""`vfexport` in a process of its own, with small batches and parts: a small campaign then takes several of both."""

from __future__ import annotations

from tests.small_parts import BATCH_DOCUMENTS, plan_defaults, small_store
from vfexport_core.cli import main
from vfexport_core.storage import buckets

if __name__ == "__main__":
    plan_defaults()["batch_documents"] = BATCH_DOCUMENTS
    buckets.S3Store = small_store
    main()
