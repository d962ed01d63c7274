"""How the end of a run becomes the status of the export that it held, when the run could not see to that itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vfexport_core.errors import ExportExpired, ExportNotFound, RunFailed, WorkerLost
from vfexport_core.queue.models import ExportStatus

if TYPE_CHECKING:
    from vfexport_core.queue.repository import ExportRepository

Error = dict[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnd:
    """How a run ended, as its orchestrator tells it; times in seconds.

    `export_id` is what the run itself said it was for ("" if nothing), `requested_attempt` the attempt that it was
    asked to run (None: a person started it). `failed_by_itself`: it got as far as failing, nobody had to miss it;
    `error` is {code, message, payload} if it could say why.
    """

    run_id: str
    export_id: str
    requested_attempt: int | None = None
    is_canceled: bool = False
    message: str
    started: float | None = None
    ended: float
    max_seconds: int | None = None
    failed_by_itself: bool = False
    error: Error | None = None

    @property
    def took_too_long(self) -> bool:
        return (
            self.started is not None and self.max_seconds is not None and self.ended - self.started >= self.max_seconds
        )


def outcome_of(end: RunEnd) -> tuple[ExportStatus, Error | None]:
    """Return the status that an export gets by the end of the run that held it, and the error for it."""
    if end.took_too_long:
        message = f"the run took longer than {end.max_seconds} s"
        return ExportStatus.EXPIRED, ExportExpired(message, payload=end.run_id).as_dict()
    if end.is_canceled:
        return ExportStatus.CANCELED, None
    if end.error is not None:
        return ExportStatus.FAILED, end.error
    failure = RunFailed if end.failed_by_itself else WorkerLost
    return ExportStatus.FAILED, failure(end.message, payload=end.run_id).as_dict()


def record_run_end(queue: ExportRepository, end: RunEnd) -> ExportStatus | None:
    """Close the export of a run (L4, L5); None when there was nothing left to close. Doing it again is harmless.

    A PENDING export, which the run should have claimed, ends with its run, unless the run was lost: then nothing is
    wrong with the export, and it gets another run. Raises SourceUnavailable.
    """
    status, error = outcome_of(end)
    is_lost = error is not None and error["code"] == WorkerLost.code
    try:
        closed = queue.close_run(end.export_id, end.run_id, status, error, None if is_lost else end.requested_attempt)
    except ExportNotFound:  # the run never came to know its export, or somebody made one up
        return None
    return status if closed else None
