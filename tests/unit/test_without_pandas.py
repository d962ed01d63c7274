"""Processes that leave out pandas."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
from vfexport_core.without_pandas import leave_out_pandas
{leave_out}
import pyarrow
pyarrow.array(["a"])
print("pandas" in sys.modules)
"""


def imports_pandas(leave_out: str) -> bool:
    """Return whether the first array of a process that runs this line before has it import pandas."""
    command = [sys.executable, "-c", SCRIPT.format(leave_out=leave_out)]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip() == "True"


def test_arrow_does_not_import_what_is_left_out() -> None:
    assert imports_pandas("pass"), "it is installed, and nothing else keeps Arrow from it"
    assert not imports_pandas("leave_out_pandas()")
