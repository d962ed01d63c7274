"""A run's events on their way into Dagster's storage, which may be away: they wait for it, and the export does not.

Without this, an event that cannot be written ends the run, and with it an export that lacks nothing. Leans on Dagster
handing every event of a run to its instance's `handle_new_event` (a test looks).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import dagster as dg

from vfexport_core.telemetry.logs import FIELDS_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    Write = Callable[[dg.EventLogEntry, Any], object]

PROMPT_SECONDS = 2.0
"""How long a run waits for an event to be written, while the storage takes what it is given."""
LAST_SECONDS = 300.0
"""How long a run that has ended waits for all that it has to say to be written."""
RETRY_SECONDS = 1.0
MOST_LINES = 2_000
"""Of more that wait, log lines are left out; what says how far a run is, never."""

_ENDS = frozenset({dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED})

_log = logging.getLogger(__name__)


class EventWriter:
    """Writes events in their order, in a thread of its own; called in the place of an instance's `handle_new_event`.

    Who hands an event over waits for it to be written, but not for long, and not at all while those before it wait:
    only the end of the run, which is the last thing said, is waited for. Threads other than the run's own never wait:
    one of them keeps the export's lease.
    """

    def __init__(
        self, write: Write, *, retry_seconds: float = RETRY_SECONDS, last_seconds: float = LAST_SECONDS
    ) -> None:
        self._write = write
        self._retry_seconds = retry_seconds
        self._last_seconds = last_seconds
        self._owner = threading.current_thread()
        self._waiting: deque[tuple[dg.EventLogEntry, Any, threading.Event]] = deque()
        self._changed = threading.Condition()
        self._is_behind = False
        self._is_failing = False
        self._left_out = 0
        threading.Thread(target=self._run, name="event-log", daemon=True).start()

    def __call__(self, event: dg.EventLogEntry, *, batch_metadata: Any = None) -> None:
        """Take an event; see the class for how long this may take."""
        written = threading.Event()
        with self._changed:
            if len(self._waiting) >= MOST_LINES and not event.is_dagster_event:
                self._left_out += 1
                return
            self._waiting.append((event, batch_metadata, written))
            self._changed.notify()
        if threading.current_thread() is not self._owner:
            return
        if _ends_run(event):
            if not written.wait(self._last_seconds):
                _log.error("Dagster's storage did not take the end of the run: Dagster will miss it")
        elif not (self._is_behind or written.wait(PROMPT_SECONDS)):
            self._is_behind = True

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                event, batch_metadata, written = self._waiting[0]
            try:
                self._write(event, batch_metadata)
            except Exception as error:  # noqa: BLE001 whatever it is, the export is worth more than its log
                self._note_failure(error)
                time.sleep(self._retry_seconds)
                continue
            self._note_success()
            with self._changed:
                self._waiting.popleft()
                self._is_behind = self._is_behind and bool(self._waiting)
            written.set()

    def _note_failure(self, error: Exception) -> None:
        if not self._is_failing:
            self._is_failing = self._is_behind = True
            about = {"exception": type(error).__name__}  # its text may hold the storage's address
            _log.warning("Dagster's storage takes no events; they wait, the run goes on", extra={FIELDS_KEY: about})

    def _note_success(self) -> None:
        if self._is_failing:
            self._is_failing = False
            _log.warning("Dagster's storage takes events again; %d log lines were left out", self._left_out)


def outlast_outages(instance: dg.DagsterInstance) -> None:
    """Have this process, a run, go on while the storage of its instance is away; harmless to repeat."""
    if not isinstance(instance.handle_new_event, EventWriter):
        write = instance.handle_new_event
        writer = EventWriter(lambda event, batch_metadata: write(event, batch_metadata=batch_metadata))
        setattr(instance, "handle_new_event", writer)  # noqa: B010 a method, but for this one instance


def _ends_run(event: dg.EventLogEntry) -> bool:
    return event.dagster_event is not None and event.dagster_event.event_type in _ENDS
