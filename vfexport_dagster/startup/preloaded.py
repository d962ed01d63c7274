"""Imports what a run needs until it has claimed its export; see `vfexport_dagster.startup.forking`.

Runs are forked from the process that imports this, so nothing here may start a thread or open a connection (a test
looks). Arrow is left out: numpy and pyarrow start threads when they are imported.
"""

# ruff: noqa: F401
# pyright: reportUnusedImport=false

import contextlib
import gc

import dagster._cli
import dagster._core.executor.in_process
import dagster._core.storage.sqlite_storage
import dagster._grpc.impl
import sqlalchemy.dialects.sqlite

import vfexport_core.mongo.client
import vfexport_core.queue.repository
import vfexport_core.services.attempt_session
import vfexport_dagster.s3
from vfexport_core.telemetry import tracing
from vfexport_dagster.definitions import defs

with contextlib.suppress(ImportError):  # the storage of a deployment
    import dagster_postgres

if tracing.is_on():
    import vfexport_core.telemetry.spans

defs.get_repository_def()
# What is there now lives as long as the process: a collection in a run would only copy the memory that they share.
gc.freeze()
