"""The pipeline: one export from MongoDB to its files, by stages (pipeline.stages)."""

from __future__ import annotations

import gc
import os

# Before numpy is imported: for each processor it would start a thread that multiplies matrices, of which there are none
# here, and that takes memory and time from those that do something.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from vfexport_core.pipeline.attempt_context import AttemptContext
from vfexport_core.pipeline.counting import count_matching, count_rows
from vfexport_core.pipeline.export_pipeline import ExportPipeline
from vfexport_core.pipeline.export_plan import ExportPlan
from vfexport_core.pipeline.run import run_export, write_rows

__all__ = ["AttemptContext", "ExportPipeline", "ExportPlan", "count_matching", "count_rows", "run_export", "write_rows"]

# What was imported lives as long as the process: the collector need not look at it again.
gc.freeze()
