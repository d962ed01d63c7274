"""What a shell offers where a type, a campaign or an export is to be typed; without MongoDB it offers nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

from vfexport_core.catalog import all_specs
from vfexport_core.errors import VfexportError
from vfexport_core.mongo.retry import RetryLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import click

    from vfexport_core.services.bootstrap import Backend

_OFFERED = 50
# Whoever presses a key does not wait.
_PATIENCE = RetryLimits(1.5)


def types(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the export types."""
    return _beginning((CompletionItem(spec.type, help=spec.summary) for spec in all_specs()), incomplete)


def campaigns(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the newest campaigns by their ids."""
    from vfexport_core.sources.campaigns import newest_campaigns  # noqa: PLC0415 types are offered without it

    def find(backend: Backend) -> Iterable[CompletionItem]:
        found = newest_campaigns(backend.database, _OFFERED, _PATIENCE)
        return (CompletionItem(campaign_id, help=name) for campaign_id, name in found)

    return _beginning(_from_backend(find), incomplete)


def exports(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the newest exports by their ids."""

    def find(backend: Backend) -> Iterable[CompletionItem]:
        for export in backend.queue_within(_PATIENCE).list(limit=_OFFERED):
            yield CompletionItem(export.id, help=f"{export.export_type} {export.status} {export.campaign_name}")

    return _beginning(_from_backend(find), incomplete)


def _beginning(items: Iterable[CompletionItem], incomplete: str) -> list[CompletionItem]:
    return [item for item in items if str(item.value).startswith(incomplete)]


def _from_backend(find: Callable[[Backend], Iterable[CompletionItem]]) -> list[CompletionItem]:
    from vfexport_core.services.bootstrap import Backend  # noqa: PLC0415 as above
    from vfexport_core.settings import load_settings  # noqa: PLC0415 as above

    try:
        with Backend(load_settings()) as backend:
            return list(find(backend))
    except VfexportError:
        return []
