"""What to do about an error, for a user of the command line; the errors' own hints speak to callers of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfexport_core.errors import (
    DeliveryFailed,
    ExportCanceled,
    ExportExpired,
    ExportNotFound,
    ExportNotRetryable,
    InvalidDateKey,
    InvalidExportType,
    InvalidRequest,
    MissingDateKey,
    NoMarketsFound,
    PromotersNotFound,
    QueueBusy,
    SourceUnavailable,
    UnknownDateKey,
    WorkerLost,
)

if TYPE_CHECKING:
    from vfexport_core.errors import VfexportError

_WAVES = "`vfexport waves CAMPAIGN` lists the waves."
_AGAIN = "`vfexport exports retry EXPORT`, or the command again"
_HINTS: dict[type[VfexportError], str] = {
    InvalidExportType: "`vfexport types` lists the types.",
    MissingDateKey: f"Name the wave with --date-key; {_WAVES}",
    InvalidDateKey: f"--date-key takes digits (epoch milliseconds); {_WAVES}",
    UnknownDateKey: f"Name another wave with --date-key; {_WAVES}",
    InvalidRequest: "See the command's --help.",
    ExportNotFound: "Check the export id; `vfexport exports list` lists exports.",
    ExportNotRetryable: "Only FAILED, EXPIRED and CANCELED exports are run again; `vfexport export` makes a new one.",
    ExportExpired: f"Raise VFEXPORT_TIMEOUT_MILLIS if the campaign needs longer, then {_AGAIN}.",
    ExportCanceled: f"If its file is still wanted: {_AGAIN}.",
    NoMarketsFound: f"Add a market to the campaign, then {_AGAIN}.",
    PromotersNotFound: f"Add promoters to the campaign, then {_AGAIN}.",
    QueueBusy: "Another export is running; `vfexport exports list --status triggered` shows it.",
    SourceUnavailable: "Check that MongoDB answers at VFEXPORT_MONGO_URI, then run the command again.",
    DeliveryFailed: "Check with `vfexport doctor` that the named bucket answers and may be written, then try again.",
    WorkerLost: f"Look for why its process ended (memory, a restart) if this happens again; {_AGAIN}.",
}


def hint_of(error: VfexportError) -> str:
    """Return what to do about an error: what it says itself where it was given words of its own."""
    return error.hint if "hint" in vars(error) else hint_of_class(type(error))


def hint_of_class(kind: type[VfexportError]) -> str:
    """Return what to do about errors of this kind."""
    return _HINTS.get(kind, kind.hint)
