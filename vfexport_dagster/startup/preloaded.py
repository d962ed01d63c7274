"""Imports what a run needs until it has claimed its export; see `vfexport_dagster.startup.forking`.

Runs are forked from the process that imports this, so nothing here may start a thread or open a connection (a test
looks). Arrow is left out: numpy and pyarrow start threads when they are imported.
"""

# ruff: noqa: F401
# pyright: reportUnusedImport=false

import contextlib
import gc
import multiprocessing.queues

import dagster._cli
import dagster._core.execution.plan.active
import dagster._core.executor.in_process
import dagster._core.instance.factory
import dagster._core.storage.migration.utils
import dagster._core.storage.root
import dagster._core.storage.sqlite_storage
import dagster._core.system_config.composite_descent
import dagster._core.utility_ops
import dagster._core.workspace.autodiscovery
import dagster._grpc.impl
import dagster._utils.test.definitions
import sqlalchemy.dialects.sqlite
import upath.implementations.local
from dagster import DagsterInvalidConfigError
from dagster._core.execution.api import create_execution_plan

import vfexport_core.mongo.client
import vfexport_core.queue.repository
import vfexport_core.services.attempt_session
import vfexport_core.services.bootstrap
import vfexport_core.services.launch
import vfexport_dagster.s3
import vfexport_dagster.startup.run_coordinator
from vfexport_core.errors import ConfigurationError
from vfexport_core.settings import load_settings
from vfexport_core.telemetry import tracing
from vfexport_dagster.definitions import defs
from vfexport_dagster.startup import shortcuts

with contextlib.suppress(ImportError):  # the storage of a deployment
    import dagster_postgres

if tracing.is_on():
    import vfexport_core.telemetry.spans

for job in defs.get_repository_def().get_all_jobs():
    with contextlib.suppress(DagsterInvalidConfigError):  # of a job that cannot be launched without
        create_execution_plan(job)  # what Dagster works out once for each job is kept with it
with contextlib.suppress(ConfigurationError):  # a run will say so
    load_settings()  # is theirs if they read the same
shortcuts.make_engines_once()
shortcuts.read_migrations_once()
shortcuts.read_migrations()
shortcuts.watch_no_tails()
# What is there now lives as long as the process: a collection in a run would only copy the memory that they share.
gc.freeze()
