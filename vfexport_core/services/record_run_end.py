"""How the end of a run becomes the status of the export that it held, when the run could not see to that itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

from vfexport_core.errors import ExportExpired, ExportNotFound, RunFailed, WorkerLost
from vfexport_core.queue.models import ExportStatus
from vfexport_core.services.run_tags import CORRELATION_ID, WITHDRAWN
from vfexport_core.telemetry.export_log import log_export

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from vfexport_core.queue.repository import ExportRepository
    from vfexport_core.services.run_tags import RunTags

Error = dict[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnd:
    """How a run ended, as its orchestrator tells it; when is not asked: its clocks decide nothing about an export.

    `export_id` is what the run itself said it was for ("" if nothing), `requested_attempt` the attempt that it was
    asked to run (None: a person started it), `max_seconds` how long it was allowed to take. `failed_by_itself`: it got
    as far as failing, nobody had to miss it; `error` is {code, message, payload} if it could say why, `is_transient`
    whether that is a passing fault. `is_launched`: a person launched it, and it waited in the place of an export that
    may be somebody else's. `was_withdrawn`: it ended before its claim without fault of its own or its export's.
    """

    run_id: str
    export_id: str
    requested_attempt: int | None = None
    is_canceled: bool = False
    message: str
    max_seconds: int | None = None
    failed_by_itself: bool = False
    error: Error | None = None
    is_transient: bool = False
    is_launched: bool = False
    was_withdrawn: bool = False
    correlation_id: str | None = None

    @classmethod
    def from_tags(
        cls,
        about: RunTags,
        *,
        message: str,
        is_canceled: bool,
        max_seconds: int | None,
        failed_by_itself: bool,
        report: Mapping[str, str],
    ) -> Self:
        """Return the end of a run by its tags and by what it could still report of its error (`error_report`)."""
        error = {name: report.get(name) for name in ("code", "message", "payload")} if "code" in report else None
        return cls(
            run_id=about.run_id,
            export_id=about.export_id,
            requested_attempt=about.requested_attempt,
            is_canceled=is_canceled,
            message=message,
            max_seconds=max_seconds,
            failed_by_itself=failed_by_itself,
            error=error,
            is_transient="transient" in report,
            is_launched=about.is_placed,
            was_withdrawn=WITHDRAWN in about.tags,
            correlation_id=about.tags.get(CORRELATION_ID),
        )


def outcome_of(end: RunEnd, held_seconds: float | None) -> tuple[ExportStatus, Error | None]:
    """Return the status that an export gets by the end of the run that held it, and the error for it.

    `held_seconds` is for how long, by MongoDB's clock, the run has held the export; None when it does not hold it.
    """
    if held_seconds is not None and end.max_seconds is not None and held_seconds >= end.max_seconds:
        message = f"the run took longer than {end.max_seconds} s"
        return ExportStatus.EXPIRED, ExportExpired(message, payload=end.run_id).as_dict()
    if end.is_canceled:
        return ExportStatus.CANCELED, None
    if end.error is not None:
        return ExportStatus.FAILED, end.error
    failure = RunFailed if end.failed_by_itself else WorkerLost
    return ExportStatus.FAILED, failure(end.message, payload=end.run_id).as_dict()


class Closed(NamedTuple):
    """How an attempt was closed; without an error code when it was cancelled."""

    status: ExportStatus
    error_code: str | None


def record_run_end(queue: ExportRepository, end: RunEnd) -> Closed | None:
    """Close the export of a run (L4, L5); None when there was nothing left to close. Doing it again is harmless.

    An attempt that a passing fault ended may be followed by the next one.

    A PENDING export, which the run should have claimed, ends with its run, unless the run was lost: then nothing is
    wrong with the export, and it gets another run; or it was one of two that were asked for, and cancelled by whoever
    had launched it: the other one stays. A run that was withdrawn leaves its export as it is. Raises SourceUnavailable.
    """
    if end.was_withdrawn:
        return None
    try:
        status, error = outcome_of(end, queue.held_seconds(end.export_id, end.run_id))
        code = None if error is None else error["code"]
        is_lost = code == WorkerLost.code
        attempt = None if is_lost or _is_one_too_many(queue, end) else end.requested_attempt
        is_transient = is_lost or end.is_transient
        closed = queue.close_run(end.export_id, end.run_id, status, error, attempt, is_transient=is_transient)
    except ExportNotFound:  # the run never came to know its export, or somebody made one up
        return None
    return Closed(status, code) if closed else None


class EndedRuns(Protocol):
    """What an orchestrator tells of the runs that did not end well."""

    def ends_behind(self, cursor: Mapping[str, int]) -> Iterable[tuple[str, int, RunEnd | None]]:
        """Yield the ends behind a cursor, oldest first: what kind of end, its number among those of its kind, the end.

        The end is None when the run has been deleted meanwhile: then its export is as it was.
        """
        ...

    def note_error(self, run_id: str, code: str) -> None:
        """Note the error that a run ended with, for operators to see."""
        ...


def record_run_ends(
    queue: ExportRepository, runs: EndedRuns, cursor: str | None, move_cursor: Callable[[str], object]
) -> list[str]:
    """Close the exports of the runs that ended behind a cursor, and return which; `move_cursor` when one is recorded.

    Whoever is interrupted goes on behind the last one. Raises SourceUnavailable.
    """
    numbers: dict[str, int] = json.loads(cursor or "{}")
    told: list[str] = []
    for kind, number, end in runs.ends_behind(numbers):
        closed = None if end is None else record_run_end(queue, end)
        if end is not None and closed is not None:
            told.append(f"{end.export_id} {closed.status}")
            ids = (end.correlation_id, end.export_id)
            log_export("export closed", *ids, exportStatus=closed.status, runId=end.run_id)
            if closed.error_code is not None:
                runs.note_error(end.run_id, closed.error_code)
        numbers[kind] = number
        move_cursor(json.dumps(numbers))
    return told


def _is_one_too_many(queue: ExportRepository, end: RunEnd) -> bool:
    """Return whether the end is that of a run which somebody launched for the PENDING export of somebody else."""
    return end.is_launched and end.is_canceled and queue.get(end.export_id).correlation_id != end.run_id
