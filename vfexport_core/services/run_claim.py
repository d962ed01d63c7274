"""Which export a run of an orchestrator is for, and how the run comes to own it (L2, L3, L8, L9)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Protocol

from vfexport_core.errors import ExportNotClaimable, ExportNotFound, QueueBusy, QueuePaused
from vfexport_core.services.claim import Turn, WaitPolicy, check_type
from vfexport_core.services.hanging_buckets import check_bucket
from vfexport_core.services.launch import request_launched
from vfexport_core.telemetry import tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from vfexport_core.queue.models import Claim, Export
    from vfexport_core.queue.repository import ExportRepository
    from vfexport_core.services.bootstrap import Backend
    from vfexport_core.services.launch import Launch
    from vfexport_core.services.run_tags import RunTags

_log = logging.getLogger(__name__)


class Skipped(Exception):
    """A run that was requested for an export has nothing to do any more; the message says why."""


class RunRecord(Protocol):
    """A run as its orchestrator keeps it, for operators to see."""

    @property
    def about(self) -> RunTags:
        """What its tags say of it."""
        ...

    def earlier_export_id(self) -> str | None:
        """Return the export of the run that this one re-executes; None when that one never had any."""
        ...

    def asked(self) -> datetime | None:
        """Return when somebody asked for this run."""
        ...

    def note_export(self, export: Export) -> None:
        """Note which export the run is for, so that whatever becomes of the run is recorded on the export."""
        ...

    def note_claimed(self, export: Export, seconds: float) -> None:
        """Note the export as it was claimed; the run may take so many seconds, counted from its start."""
        ...

    def supersede(self, run_ids: Sequence[str], by: str) -> None:
        """Note with the runs of earlier attempts, as far as they are known here, what they are superseded by."""
        ...

    def withdraw(self, why: str) -> None:
        """Note that the run steps back without fault of its own or its export's."""
        ...


@dataclass(frozen=True)
class RunClaim:
    """One run's way to its export; `report` is told what operators should know.

    A run that was requested may find its export cancelled, ended, deleted or taken by another run: it came too late and
    is `Skipped`. What a person started was meant for something, so it fails and says what is in the way.
    """

    run: RunRecord
    backend: Backend
    policy: WaitPolicy
    report: Callable[[str], object]

    @classmethod
    def of(cls, run: RunRecord, backend: Backend, report: Callable[[str], object]) -> RunClaim:
        """Return the claim of a run that waits as long as an export may take."""
        policy = WaitPolicy.from_settings(backend.settings, most_seconds=backend.settings.timeout_millis / 1_000)
        return cls(run, backend, policy, report)

    @property
    def queue(self) -> ExportRepository:
        return self.backend.queue

    def find_or_request(self, launch: Launch) -> Export:
        """Return the export that the run was launched for, or one that is queued for the campaign.

        Raises Skipped, InvalidRequest, ExportNotFound, ExportNotClaimable (an equal one runs already, or it is of
        another type), and what `exports.request` raises.
        """
        launch.check()
        export_id = launch.export_id or self.run.about.placed_export_id
        if export_id is None and self.run.about.is_reexecution:
            export_id = self.run.earlier_export_id()
        export = self._request(launch) if export_id is None else self._find(export_id)
        check_type(export, launch.export_type)
        return export

    def find_again(self) -> Export:
        """Return the export of the run that this one re-executes; raises ExportNotFound."""
        export_id = self.run.earlier_export_id()
        if export_id is None:
            raise ExportNotFound("the run that is re-executed had no export yet: re-execute all of its steps")
        return self.queue.get(export_id)

    def take(self, export: Export) -> tuple[Claim, Export]:
        """Claim `export`, waiting while another one is TRIGGERED (L2), and note it with the run.

        Raises Skipped, QueueBusy when the wait was in vain, ExportNotClaimable when the export is no longer PENDING.
        """
        self.run.note_export(export)
        with tracing.span("claim", vfexport__export_id=export.id, vfexport__export_type=export.export_type):
            began = self.policy.clock()
            waits: list[str] = []
            claim, claimed = self._claim_in_turn(export, waits.append)
            # What else may take long is not waiting, tracing's start least of all.
            waited = self.policy.clock() - began if waits else 0.0
        if self.run.about.requested_attempt is None or waits:
            seconds = waited + self.policy.timeout_millis / 1_000  # all of its time from now on
            self._note(lambda: self.run.note_claimed(claimed, seconds))
        earlier = [item.run_id for item in claimed.attempts if item.run_id and item.run_id != claim.run_id]
        if earlier:
            self._note(lambda: self.run.supersede(earlier, f"attempt {claim.attempt}, run {claim.run_id[:8]}"))
        self.report(f"claimed export {claimed.id}, attempt {claim.attempt}, of campaign {claimed.campaign_id}")
        return claim, claimed

    def _find(self, export_id: str) -> Export:
        try:
            return self.queue.get(export_id)
        except ExportNotFound as error:
            if self.run.about.requested_attempt is None:
                raise
            raise Skipped(f"export {export_id}: {error.message}") from None

    def _request(self, launch: Launch) -> Export:
        export, created = request_launched(self.backend, launch, self.run.about.run_id)
        self.report(f"export {export.id} {'is queued' if created else 'was PENDING already and is taken'}")
        return export

    def _note(self, note: Callable[[], None]) -> None:
        try:
            note()
        except Exception as error:  # noqa: BLE001 the orchestrator's storage is away: the export is worth more than that
            _log.warning("a run could not be tagged: %s", type(error).__name__)

    def _step_back_from_what_hangs(self, export: Export) -> None:
        """Let the next run begin while exports into the bucket of this one wait; it is requested again."""
        try:
            check_bucket(self.queue.breakers.waiting_types(), export)
        except QueueBusy as busy:
            if self.run.about.requested_attempt is None:
                raise  # a person sees why, and what to do
            self._withdraw(busy)

    def _withdraw(self, busy: QueueBusy) -> NoReturn:
        """End without having claimed the export: it stays PENDING, and another run is requested for it."""
        self.run.withdraw(busy.message)
        raise Skipped(busy.message) from None

    def _claim_in_turn(self, export: Export, on_wait: Callable[[str], object]) -> tuple[Claim, Export]:
        """Claim it, in the order of the orchestrator, by the priority of runs: an older export would wait for this.

        `on_wait` is told what is waited for.
        """

        def tell(busy: str) -> None:
            on_wait(busy)
            self.report(f"waiting: {busy}")

        turn = Turn(
            self.queue,
            self.run.about.run_id,
            self.policy,
            tell,
            # No other run could begin meanwhile, one that deletes a user's data neither.
            waits_while_paused=False,
        )
        self._step_back_from_what_hangs(export)
        try:
            if self.run.about.is_reexecution:
                return turn.claim_again(export, self.run.asked())
            return turn.claim(export.id, self.run.about.requested_attempt)
        except QueuePaused as paused:
            if self.run.about.is_reexecution:
                raise  # its export has ended, so nobody would ask for another run: a person does, after the pause
            self._withdraw(paused)
        except (ExportNotClaimable, ExportNotFound) as error:
            if self.run.about.requested_attempt is None and not self._has_had(export.id):
                raise
            raise Skipped(error.message) from None

    def _has_had(self, export_id: str) -> bool:
        """Return whether an attempt of the export was, or is, this run's: then another process of it has claimed it."""
        try:
            return self.queue.get(export_id).was_run_by(self.run.about.run_id)
        except ExportNotFound:
            return False
