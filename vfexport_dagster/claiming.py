"""Which export a run is for, and how the run comes to own it (L2, L3, L8, L9)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from functools import cached_property
from typing import TYPE_CHECKING, Any

from vfexport_core.catalog import find_spec
from vfexport_core.errors import ExportNotClaimable, ExportNotFound
from vfexport_core.queue.models import ACTIVE, Claim, Export, ExportStatus
from vfexport_core.services.claim import claim_in_turn
from vfexport_core.telemetry import tracing
from vfexport_dagster import tags
from vfexport_dagster.reporting import Skipped, recorded

if TYPE_CHECKING:
    import dagster as dg
    from pymongo.database import Database

    from vfexport_core.queue.repository import ExportRepository
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
    queue: ExportRepository
    policy: WaitPolicy
    log: RunLog

    @cached_property
    def attempt(self) -> int | None:
        """The attempt that a sensor asked for; None for what a person started."""
        return tags.requested_attempt(self.run)

    @property
    def is_reexecution(self) -> bool:
        return self.run.parent_run_id is not None

    def find_or_request(self, config: ClaimConfig, database: Database[dict[str, Any]]) -> Export:
        """Return the export that the run is for: the one of its configuration, or one that is queued for the campaign.

        Raises Skipped, ExportNotFound, ExportNotClaimable (an equal one runs already, or it is of another type),
        CampaignNotFound, MissingDateKey, InvalidDateKey.
        """
        export_id = config.export_id or (self._earlier_export_id() if self.is_reexecution else self._own_export_id())
        export = self._request(config, database) if export_id is None else self._find(export_id)
        if export.export_type != config.export_type:
            raise ExportNotClaimable(
                f"export {export.id} is of type {export.export_type}, this job is for {config.export_type}",
                payload=export.id,
            )
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
        if self.is_reexecution:
            self._check_again(export)
        if tags.EXPORT_ID not in self.run.tags:
            # Before the claim, so that whatever becomes of this run is recorded on the export.
            self.instance.add_run_tags(self.run.run_id, {tags.EXPORT_ID: export.id})
        with tracing.span("claim", vfexport__export_id=export.id, vfexport__export_type=export.export_type):
            began = self.policy.clock()  # what comes before is not waiting, tracing's start least of all
            claim, claimed = self._claim_in_turn(export)
            waited = self.policy.clock() - began
        if self.attempt is None or waited >= self.policy.interval_seconds:
            with recorded(lambda error: self._end(claim, error), self.log):
                # The export has its whole time from now on, whatever its run spent on waiting.
                all_tags = tags.export_tags(claimed, waited + self.policy.timeout_millis / 1_000)
                self.instance.add_run_tags(self.run.run_id, all_tags)
        self.log.say(f"claimed export {claimed.id}, attempt {claim.attempt}, of campaign {claimed.campaign_id}")
        return claim, claimed

    def _find(self, export_id: str) -> Export:
        try:
            return self.queue.get(export_id)
        except ExportNotFound as error:
            if self.attempt is None:
                raise
            raise Skipped(f"export {export_id}: {error.message}") from None

    def _request(self, config: ClaimConfig, database: Database[dict[str, Any]]) -> Export:
        from vfexport_core.services.request_export import new_export  # noqa: PLC0415 only a run by hand needs it

        request = new_export(
            database,
            find_spec(config.export_type),
            config.campaign_id or "",
            date_key=config.date_key,
            include_all_markets=config.include_all_markets,
            requester_user_id=REQUESTER,
            correlation_id=self.run.run_id,
            source="dagster",
        )
        export, created = self.queue.request(request)
        if export.status is ExportStatus.TRIGGERED and export.run_id != self.run.run_id:
            raise ExportNotClaimable(
                f"export {export.id} of the same campaign, type and date key is TRIGGERED by run {export.run_id}",
                payload=export.id,
            )
        self.log.say(f"export {export.id} {'is queued' if created else 'was PENDING already and is taken'}")
        return export

    def _end(self, claim: Claim, error: Exception) -> None:
        self.queue.claimed(claim).end_by(error)

    def _own_export_id(self) -> str | None:
        """Return the export that another process of this run has had, should Dagster have started it twice."""
        run = self.instance.get_run_by_id(self.run.run_id) or self.run
        export_id = run.tags.get(tags.EXPORT_ID)
        # Tags are copied from run to run, in the launchpad: they alone say nothing.
        return export_id if export_id is not None and self._has_had(export_id) else None

    def _has_had(self, export_id: str) -> bool:
        """Return whether an attempt of the export was, or is, this run's: then another process of it has claimed it."""
        try:
            export = self.queue.get(export_id)
        except ExportNotFound:
            return False
        return any(attempt.run_id == self.run.run_id for attempt in export.attempts)

    def _earlier_export_id(self) -> str | None:
        """Return the export of the run that this one re-executes; None when that one never had any."""
        if tags.EXPORT_ID in self.run.tags:
            return self.run.tags[tags.EXPORT_ID]
        parent = self.instance.get_run_by_id(self.run.parent_run_id or "")
        return None if parent is None else parent.tags.get(tags.EXPORT_ID)

    def _check_again(self, export: Export) -> None:
        """Refuse to re-execute what is active, or has been started again since somebody asked for this run."""
        if export.status in ACTIVE and export.run_id != self.run.run_id:
            by = "" if export.run_id is None else f" by run {export.run_id}"
            raise ExportNotClaimable(f"export {export.id} is {export.status}{by}", payload=export.id)
        record = self.instance.get_run_record_by_id(self.run.run_id)
        last = export.attempts[-1] if export.attempts else None
        if record is None or last is None or last.triggered is None or last.run_id == self.run.run_id:
            return
        asked = record.create_timestamp
        if last.triggered > (asked if asked.tzinfo else asked.replace(tzinfo=UTC)):
            raise ExportNotClaimable(
                f"export {export.id} has had attempt {last.attempt}, by run {last.run_id}, since this was asked for",
                payload=export.id,
            )

    def _claim_in_turn(self, export: Export) -> tuple[Claim, Export]:
        """Claim it; the order is Dagster's own here, by the priority of runs: an older export would wait for this run.

        Where another process of this run has started the next attempt, it is not for this one to start one more.
        """
        last = export.attempts[-1] if export.attempts else None
        before = export.attempt - 1 if last is not None and last.run_id == self.run.run_id else export.attempt

        def take() -> tuple[Claim, Export]:
            if self.is_reexecution:
                return self.queue.claim_again(export.id, self.run.run_id, before)
            return self.queue.claim(export.id, self.run.run_id, self.attempt)

        try:
            return claim_in_turn(self.queue, take, self.policy, lambda busy: self.log.say(f"waiting: {busy}"))
        except (ExportNotClaimable, ExportNotFound) as error:
            if self.attempt is None and not self._has_had(export.id):
                raise
            raise Skipped(error.message) from None
