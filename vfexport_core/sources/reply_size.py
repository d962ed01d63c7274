"""How many documents to ask a cursor for at once: more where a round trip takes longer than what it brings."""

from __future__ import annotations

import time

# What a reply may come to when it grows, and how often it doubles.
_MOST_BYTES = 10 * 2**20
_MOST_GROWTH = 4
# One that comes too late may be chance: the first ones do, while what looks ahead is filled.
_LATE_REPLIES = 2
# A server that needs longer is at work, not far away: then a larger reply would only come later.
_LONGEST_SECONDS = 0.5


class ReplySize:
    """The number of `documents` to ask for, from the first reply on; without `grows` it stays that.

    ::

        for reply in cursor:
            size.came(len(reply))
            ...                            # hand it on
            size.handed_on()               # before the next one is asked for

    `note_wait` may be called by any thread, the others by the one that reads.
    """

    def __init__(self, documents: int, *, grows: bool = True) -> None:
        self.documents = documents
        self._most = documents * _MOST_GROWTH if grows else documents
        self._asked: float | None = None
        self._waited = False
        self._late = 0

    def note_wait(self) -> None:
        """Note that somebody could go on if the next reply were there."""
        self._waited = True

    def handed_on(self) -> None:
        self._waited = False
        self._asked = time.monotonic()

    def came(self, size: int) -> None:
        """Take a reply of so many bytes, and ask for more from now on if it was waited for, as the one before it."""
        is_late = self._asked is not None and self._waited and time.monotonic() - self._asked < _LONGEST_SECONDS
        self._late = self._late + 1 if is_late else 0
        if self._late == _LATE_REPLIES and 2 * self.documents <= self._most and 2 * size <= _MOST_BYTES:
            self.documents *= 2
            self._late = 0
