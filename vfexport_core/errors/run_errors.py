"""What can go wrong on the way of an export, or when a process starts."""

from __future__ import annotations

from vfexport_core.errors.base import PermanentError, TransientError


class ConfigurationError(PermanentError):
    code = "ConfigurationError"
    hint = "Correct the named environment variable and start again."


class HashKeyMissing(ConfigurationError):
    """The one missing setting of which callers of the API are told: only supreme users come to it."""


class InitialisationFailed(PermanentError):
    code = "InitialisationFailed"
    hint = "Drop the named index, or end the named exports, then run `vfexport init` again."


class NotInitialized(TransientError):
    """What keeps two exports apart is not there: the service does not work without it."""

    code = "NotInitialized"
    status = 503
    hint = "Run `vfexport init` with the settings of the service."


class EmbeddedServerFailed(PermanentError):
    code = "EmbeddedServerFailed"
    hint = "Install the extra `demo`, and look into the log that the error names."


class CheckoutOnly(PermanentError):
    code = "CheckoutOnly"
    hint = "Run it in a checkout of the repository, after `make venv` or `pip install -e '.[demo]'` there."


class ExportExpired(PermanentError):
    code = "ExportExpired"
    hint = "Raise VFEXPORT_TIMEOUT_MILLIS if the campaign needs longer, then retry the export."


class ExportCanceled(PermanentError):
    code = "ExportCanceled"
    hint = "Retry the export if its file is still wanted."


class RunFailed(PermanentError):
    code = "RunFailed"
    hint = "Look at the run that the payload names in the Dagster UI, then retry the export."


class ListenFailed(PermanentError):
    code = "ListenFailed"
    hint = "Stop what listens there, or name another --host and --port."


class OutputFailed(PermanentError):
    code = "OutputFailed"
    hint = "Check that the folder exists, may be written and has room."


class RestoreRefused(PermanentError):
    code = "RestoreRefused"
    hint = "Restore a whole backup, of this version or an older one, into a database without the service's documents."


class FileDiffers(PermanentError):
    """A delivered file is not what was recorded when it was delivered."""

    code = "FileDiffers"
    hint = "Find out who changed or removed the file, and export it anew."


class NoMarketsFound(PermanentError):
    code = "NoMarketsFound"
    hint = "Add a market to the campaign, then retry the export."


class PromotersNotFound(PermanentError):
    code = "PromotersNotFound"
    hint = "Add promoters to the campaign, then retry the export."


class SpoolFull(PermanentError):
    code = "SpoolFull"
    hint = "Raise VFEXPORT_SPOOL_MAX_BYTES if the worker's disk allows it, then retry the export."


class QueueBusy(TransientError):
    code = "QueueBusy"
    status = 503
    hint = "Another export is running; this one waits as PENDING."


class QueuePaused(QueueBusy):
    code = "QueuePaused"
    hint = "Wait until somebody resumes the queue (`vfexport queue resume`): what is PENDING then goes on by itself."


class SourceUnavailable(TransientError):
    code = "SourceUnavailable"
    status = 503
    hint = "Check that MongoDB answers, then retry the export."


class SourceMissing(PermanentError):
    """A collection that rows come from does not exist: an error, never an empty file."""

    code = "SourceUnavailable"
    status = 503
    hint = "Check VFEXPORT_MONGO_URI and VFEXPORT_MONGO_DATABASE: the named collection is not there."


class DeliveryRefused(PermanentError):
    """S3 answered, and will answer the same again; on the wire it is a failed delivery like any other."""

    code = "DeliveryFailed"
    status = 503
    hint = "Correct the named bucket's settings, or what its policy allows, then retry the export."


class DeliveryFailed(TransientError):
    code = "DeliveryFailed"
    status = 503
    hint = "Check that the named bucket answers and may be written, then retry the export."


class BucketHangs(DeliveryFailed):
    """Nothing that a bucket was asked for has succeeded for too long; on the wire it is a failed delivery."""

    hint = "Find out why the named bucket does not answer; exports into it wait until it does, then retry this one."


class WorkerLost(TransientError):
    code = "WorkerLost"
    hint = "Retry the export; if this happens again, look for why its process ended (memory, a restart)."


class AddressRefused(PermanentError):
    code = "AddressRefused"
    hint = (
        "Name a host with public addresses; VFEXPORT_WEBHOOKS__*__ALLOW_PRIVATE lets a webhook be in the own network."
    )


class WebhookGone(PermanentError):
    code = "WebhookGone"
    hint = "Correct the webhook's address, or take it out of the settings."


class NotificationFailed(TransientError):
    """`retry_after` is after how many seconds the receiver wants to be asked again, if it said so."""

    code = "NotificationFailed"
    hint = "See whether the receiver answers; `vfexport notifications test` sends it a message."

    def __init__(self, message: str, *, payload: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(message, payload=payload)
        self.retry_after = retry_after
