"""What a run tells the owner of its attempt, and asks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection

    from vfexport_core.queue.models import Export


class AttemptContext(Protocol):
    """One attempt of an export, as its run sees it.

    Every method but `note_undrained` may raise what the run has to stop for (LeaseLost, ExportCanceled, ExportExpired):
    the run then ends without leaving anything in its store.
    """

    @property
    def export(self) -> Export:
        """The export, as it was claimed."""
        ...

    @property
    def expected(self) -> int | None:
        """How many documents it has, about; None when they were not counted."""
        ...

    def report_progress(self, read: int, rows: int, size: int) -> None:
        """Take documents read, rows made and bytes written so far; called after every batch and every file."""
        ...

    def is_taken(self, keys: Collection[str]) -> bool:
        """Return whether another export has noted one of these keys."""
        ...

    def note_keys(self, bucket: str, keys: tuple[str, ...]) -> None:
        """Note which keys are about to be published, before anything is sent to the bucket."""
        ...

    def check_fence(self) -> None:
        """Prove that the attempt still owns its export (L6); called directly before a file appears."""
        ...

    def requeue(self) -> None:
        """Return the export to the queue, for a user is in its rows whose data is being deleted.

        Raises LeaseLost, for the attempt has ended, or ExportCanceled when that was asked for.
        """
        ...

    def note_undrained(self) -> None:
        """Note that a writer was given up while something of it was still under way."""
        ...
