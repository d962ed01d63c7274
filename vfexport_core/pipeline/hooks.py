"""What a run tells its owner, and asks it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator

    from vfexport_core.storage.object_store import ObjectWriter


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class ExportHooks:
    """Each may raise LeaseLost, which ends the run without a trace on S3; `on_unsettled` raises nothing.

    `on_progress` gets documents read, rows and bytes written so far, after every batch; `note_keys` the bucket and the
    keys before anything is sent there; `confirm` is the fence (L6), asked directly before a file appears.
    `is_taken` says whether another export has noted one of these keys.
    `on_unsettled` hears of a writer that was given up while a request of it was still under way.
    """

    on_progress: Callable[[int, int, int], None]
    note_keys: Callable[[str, tuple[str, ...]], None]
    confirm: Callable[[], None]
    is_taken: Callable[[Collection[str]], bool]
    on_unsettled: Callable[[], None] = _nothing


@contextmanager
def watched(writer: ObjectWriter, hooks: ExportHooks) -> Generator[ObjectWriter]:
    """Use `writer` in the block, give it up behind it unless it has published, and tell if that left requests."""
    try:
        with writer:
            yield writer
    finally:
        if not writer.is_drained:
            hooks.on_unsettled()
