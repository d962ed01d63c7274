"""The pipeline: one export from MongoDB to its files, by stages (pipeline.stages)."""

from __future__ import annotations

from vfexport_core.pipeline.counting import count_rows
from vfexport_core.pipeline.export import ExportPipeline
from vfexport_core.pipeline.hooks import ExportHooks
from vfexport_core.pipeline.plan import ExportPlan
from vfexport_core.pipeline.run import run_export, write_rows

__all__ = ["ExportHooks", "ExportPipeline", "ExportPlan", "count_rows", "run_export", "write_rows"]
