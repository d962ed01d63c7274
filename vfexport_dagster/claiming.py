"""Which export a run is for, and how the run comes to own it (L2, L3, L8, L9)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from functools import cached_property
from typing import TYPE_CHECKING

from vfexport_core.catalog import find_spec
from vfexport_core.errors import ExportNotClaimable, ExportNotFound, QueueBusy
from vfexport_core.services.claim import Turn, check_not_running, check_type
from vfexport_core.services.hanging_buckets import check_bucket
from vfexport_core.telemetry import tracing
from vfexport_dagster import tags
from vfexport_dagster.reporting import Skipped

if TYPE_CHECKING:
    from datetime import datetime

    import dagster as dg

    from vfexport_core.queue.models import Claim, Export
    from vfexport_core.queue.repository import ExportRepository
    from vfexport_core.services.bootstrap import Backend
    from vfexport_core.services.claim import WaitPolicy
    from vfexport_dagster.config import ClaimConfig
    from vfexport_dagster.reporting import RunLog

REQUESTER = "dagster"


@dataclass(frozen=True)
class RunClaim:
    """One run's way to its export.

    A run that a sensor asked for may find its export cancelled, ended, deleted or taken by another run: it came too
    late and is `Skipped`. What a person started was meant for something, so it fails and says what is in the way.
    """

    run: dg.DagsterRun
    instance: dg.DagsterInstance
    backend: Backend
    policy: WaitPolicy
    log: RunLog

    @property
    def queue(self) -> ExportRepository:
        return self.backend.queue

    @cached_property
    def attempt(self) -> int | None:
        """The attempt that a sensor asked for; None for what a person started."""
        return tags.requested_attempt(self.run)

    @property
    def is_reexecution(self) -> bool:
        return self.run.parent_run_id is not None

    def find_or_request(self, config: ClaimConfig) -> Export:
        """Return the export that the run is for: the one of its configuration, or one that is queued for the campaign.

        Raises Skipped, ExportNotFound, ExportNotClaimable (an equal one runs already, or it is of another type),
        CampaignNotFound, MissingDateKey, InvalidDateKey.
        """
        export_id = config.export_id or (self._earlier_export_id() if self.is_reexecution else self._own_export_id())
        export = self._request(config) if export_id is None else self._find(export_id)
        check_type(export, config.export_type)
        return export

    def find_again(self) -> Export:
        """Return the export of the run that this one re-executes; raises ExportNotFound."""
        export_id = self._earlier_export_id()
        if export_id is None:
            raise ExportNotFound("the run that is re-executed had no export yet: re-execute all of its steps")
        return self.queue.get(export_id)

    def take(self, export: Export) -> tuple[Claim, Export]:
        """Claim `export`, waiting while another one is TRIGGERED (L2), and tag the run with it.

        Raises Skipped, QueueBusy when the wait was in vain, ExportNotClaimable when the export is no longer PENDING.
        """
        if tags.EXPORT_ID not in self.run.tags:
            # Before the claim, so that whatever becomes of this run is recorded on the export.
            self.instance.add_run_tags(self.run.run_id, {tags.EXPORT_ID: export.id})
        with tracing.span("claim", vfexport__export_id=export.id, vfexport__export_type=export.export_type):
            began = self.policy.clock()  # what comes before is not waiting, tracing's start least of all
            claim, claimed = self._claim_in_turn(export)
            waited = self.policy.clock() - began
        if self.attempt is None or waited >= self.policy.interval_seconds:
            self._tag(claimed, waited)
        self.log.report(f"claimed export {claimed.id}, attempt {claim.attempt}, of campaign {claimed.campaign_id}")
        return claim, claimed

    def _find(self, export_id: str) -> Export:
        try:
            return self.queue.get(export_id)
        except ExportNotFound as error:
            if self.attempt is None:
                raise
            raise Skipped(f"export {export_id}: {error.message}") from None

    def _request(self, config: ClaimConfig) -> Export:
        from vfexport_core.services import exports  # noqa: PLC0415 only a run by hand needs it

        request = exports.ExportRequest(
            spec=find_spec(config.export_type),
            campaign_id=config.campaign_id or "",
            date_key=config.date_key,
            include_all_markets=config.include_all_markets,
            requester_user_id=REQUESTER,
            correlation_id=self.run.run_id,
            source="dagster",
        )
        export, created = exports.request(self.backend, request)
        check_not_running(export, self.run.run_id)
        self.log.report(f"export {export.id} {'is queued' if created else 'was PENDING already and is taken'}")
        return export

    def _tag(self, export: Export, waited: float) -> None:
        """Tag the run with its claimed export, which has its whole time from now on, whatever the run waited."""
        longest = tags.longest_run(waited + self.policy.timeout_millis / 1_000)
        try:
            self.instance.add_run_tags(self.run.run_id, tags.export_tags(export, longest))
        except Exception as error:  # noqa: BLE001 Dagster's storage is away: the export is worth more than its tags
            self.log.report_warning(f"the run could not be tagged with its export: {type(error).__name__}")

    def _own_export_id(self) -> str | None:
        """Return the export that another process of this run has had, should Dagster have started it twice."""
        run = self.instance.get_run_by_id(self.run.run_id) or self.run
        export_id = run.tags.get(tags.EXPORT_ID)
        # Tags are copied from run to run, in the launchpad: they alone say nothing.
        return export_id if export_id is not None and self._has_had(export_id) else None

    def _has_had(self, export_id: str) -> bool:
        """Return whether an attempt of the export was, or is, this run's: then another process of it has claimed it."""
        try:
            return self.queue.get(export_id).was_run_by(self.run.run_id)
        except ExportNotFound:
            return False

    def _earlier_export_id(self) -> str | None:
        """Return the export of the run that this one re-executes; None when that one never had any."""
        if tags.EXPORT_ID in self.run.tags:
            return self.run.tags[tags.EXPORT_ID]
        parent = self.instance.get_run_by_id(self.run.parent_run_id or "")
        return None if parent is None else parent.tags.get(tags.EXPORT_ID)

    def _step_back_from_what_hangs(self, export: Export) -> None:
        """Let the next run begin while exports into the bucket of this one wait; the sensor asks for it again."""
        try:
            check_bucket(self.queue.breakers.waiting_types(), export)
        except QueueBusy as busy:
            if self.attempt is None:
                raise  # a person sees why, and what to do
            self.instance.add_run_tags(self.run.run_id, {tags.WITHDRAWN: busy.message})
            raise Skipped(busy.message) from None

    def _claim_in_turn(self, export: Export) -> tuple[Claim, Export]:
        """Claim it, in Dagster's own order, by the priority of runs: an older export would wait for this run."""
        turn = Turn(self.queue, self.run.run_id, self.policy, lambda busy: self.log.report(f"waiting: {busy}"))
        self._step_back_from_what_hangs(export)
        try:
            if self.is_reexecution:
                return turn.claim_again(export, self._asked())
            return turn.claim(export.id, self.attempt)
        except (ExportNotClaimable, ExportNotFound) as error:
            if self.attempt is None and not self._has_had(export.id):
                raise
            raise Skipped(error.message) from None

    def _asked(self) -> datetime | None:
        """Return when somebody asked for this run."""
        record = self.instance.get_run_record_by_id(self.run.run_id)
        moment = None if record is None else record.create_timestamp
        return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
