"""Processes that tests start for what several do at the same time, forked from one that has imported what they need.

To import it takes each of them a second or two; they are as separate as if they had.
"""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing import forkserver
from typing import TYPE_CHECKING

import pytest

from vfexport_core.settings import PREFIX

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext

PRELOADED = ["tests.ccpa", "tests.s3_proxy", "tests.integration.queue_helpers"]


def forked() -> ForkServerContext:
    """Return what to make such processes with; they do not see the settings in the environment of the test."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(PREFIX)]:
            patch.delenv(name)
        forkserver.ensure_running()
    return context
