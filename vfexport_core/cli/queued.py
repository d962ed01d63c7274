"""One export through the queue: ask for it, wait for its turn, run it, or follow whoever runs it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vfexport_core.cli import signals
from vfexport_core.errors import ExportNotClaimable, TransientError, VfexportError
from vfexport_core.queue.models import FINAL, ExportStatus
from vfexport_core.services import exports
from vfexport_core.services.claim import Turn, WaitPolicy
from vfexport_core.services.hanging_buckets import probe_due
from vfexport_core.services.run_attempt import run_claimed
from vfexport_core.telemetry import context, tracing

if TYPE_CHECKING:
    from vfexport_core.cli.progress_display import Display
    from vfexport_core.queue.models import Claim, Export
    from vfexport_core.services.bootstrap import Backend


def _new_run_id() -> str:
    return f"cli-{uuid.uuid4()}"


@dataclass(slots=True)
class QueuedExport:
    """An export asked for on the command line, by the same rules as any other (L1-L3, L6)."""

    backend: Backend
    display: Display
    run_id: str = field(default_factory=_new_run_id)
    export: Export | None = None
    """The export as it was last seen; None until it was asked for."""
    _created: bool = False

    def run(self, request: exports.ExportRequest) -> Export:
        """Return the export in its final state; raises what ended it when it ran here.

        A signal cancels it if it runs here, or waits because of us; an export of others goes on.
        """
        self.export, self._created = exports.request(self.backend, request)
        context.bind(correlationId=self.export.correlation_id, exportId=self.export.id)
        if not self._created:
            self.display.note(f"export {self.export.id} was asked for before and is {self.export.status}")
        while True:
            claim = self._claim_or_follow(self.export)
            if claim is not None:
                self._run(claim, self.export)
            if self.export.status in FINAL:
                return self.export

    def _claim_or_follow(self, export: Export) -> Claim | None:
        """Return the claim when it is our turn; None when an attempt that others run has ended."""
        try:
            with tracing.span("claim", vfexport__export_id=export.id):
                claim = self._wait_for_turn(export)
            if claim is None:
                self.export = self._turn.follow(export.id, self._show)
        except KeyboardInterrupt:
            with signals.deferred():
                self._cancel(self.export or export)
            raise
        return claim

    def _run(self, claim: Claim, export: Export) -> None:
        """Run the attempt that is claimed; raises what ended it, unless another one follows."""
        self.display.note("running")
        try:
            self.export = run_claimed(
                claim,
                export,
                self.backend,
                on_count=self.display.expect,
                on_progress=self.display.update,
                undisturbed=signals.deferred,
            )
        except TransientError as error:
            self._look_again()
            if self.export is None or self.export.status is not ExportStatus.PENDING:
                raise
            self.display.note(f"attempt {claim.attempt} failed, another one follows: {error.code}: {error.message}")
        finally:
            self._look_again()

    def _wait_for_turn(self, export: Export) -> Claim | None:
        """Claim the export when it is the oldest and none runs; None when somebody else has claimed or ended it.

        One that others asked for is claimed as well: whoever comes first runs it, and the next in line is not held up.
        """
        try:
            claim, self.export = self._turn.claim_oldest_first(export.id)
        except ExportNotClaimable:
            return None
        return claim

    def _show(self, export: Export) -> None:
        """Show how far an export is that another process runs."""
        self.export = export
        if export.status is ExportStatus.TRIGGERED:
            self.display.note("run by another process: following it")
            self.display.expect(export.count)
        if export.progress is not None:
            self.display.update(export.progress.read, export.progress.rows, export.progress.bytes)

    def _cancel(self, export: Export) -> None:
        """Cancel what we have claimed, or what waits only because of us."""
        self._look_again()  # another process may have run an attempt meanwhile, and left the export to the next one
        export = self.export or export
        attempt = export.attempt if self._created else None
        self.backend.queue.close_run(export.id, self.run_id, ExportStatus.CANCELED, None, attempt)
        self._look_again()

    def _look_again(self) -> None:
        """Know the export's state after an end that gave none."""
        if self.export is None or self.export.status in FINAL:
            return
        try:
            self.export = self.backend.queue.get(self.export.id)
        except VfexportError:
            return  # what is known is told

    @property
    def _turn(self) -> Turn:
        backend = self.backend
        return Turn(
            backend.queue,
            self.run_id,
            WaitPolicy.from_settings(backend.settings),
            lambda busy: self.display.note(f"waiting: {busy}"),
            lambda: probe_due(backend.queue.breakers, lambda: backend.buckets),
        )
