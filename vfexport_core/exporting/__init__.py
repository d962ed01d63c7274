"""The pipeline put together: one export from MongoDB to its file."""

from __future__ import annotations

from vfexport_core.exporting.counting import count_rows
from vfexport_core.exporting.run import ExportHooks, run_export, write_rows
from vfexport_core.exporting.stream import Block, EntryRows, open_rows

__all__ = ["Block", "EntryRows", "ExportHooks", "count_rows", "open_rows", "run_export", "write_rows"]
