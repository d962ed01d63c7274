"""The pipeline put together: one export from MongoDB to its file."""

from __future__ import annotations

from vfexport_core.exporting.counting import count_rows
from vfexport_core.exporting.hooks import ExportHooks
from vfexport_core.exporting.run import run_export, write_rows
from vfexport_core.exporting.stream import Lines, RowStream

# What the command line calls the opening of an export's rows.
open_rows = RowStream

__all__ = ["ExportHooks", "Lines", "RowStream", "count_rows", "open_rows", "run_export", "write_rows"]
