"""`vfexport` in a process of its own, with small batches and parts: a small campaign then takes several of both."""

from __future__ import annotations

import pytest

from tests.small_parts import use_small_parts
from vfexport_core.cli import main

if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:
        use_small_parts(patch)
        main()
