"""Processes of our own without pandas: Arrow imports it, where it is installed, to recognise what arrays are made of.

It takes as long as to import Arrow, and nothing here is made of it. Only the standard library: scripts call this before
they import anything else.
"""

from __future__ import annotations

import sys
from typing import Any, cast

_LEFT_OUT = "pandas"


def leave_out_pandas() -> None:
    """Have this process, of which nobody else imports pandas, look as if it were not installed."""
    sys.meta_path.insert(0, cast("Any", _LeftOut))


class _LeftOut:
    """A finder that knows of one package that it is not there."""

    @staticmethod
    def find_spec(name: str, _path: object, _target: object = None) -> None:
        """Raise ModuleNotFoundError for that one, and leave all others to the next finder."""
        if name == _LEFT_OUT:
            raise ModuleNotFoundError(f"{name} is left out here", name=name)
