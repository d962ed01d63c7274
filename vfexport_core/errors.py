"""Every error of the service, in one tree.

::

    VfexportError
    ├── PermanentError                trying again changes nothing
    │   ├── ConfigurationError        a setting is missing or wrong
    │   ├── InitialisationFailed      an index or documents that exist are in the way of the queue's rules
    │   ├── EmbeddedServerFailed      a server of the demo or the tests did not come up
    │   ├── RequestError              400
    │   │   ├── InvalidExportType
    │   │   ├── MissingDateKey
    │   │   ├── InvalidDateKey
    │   │   ├── InvalidRequest
    │   │   │   └── RequestTooLarge   413
    │   │   └── MethodNotAllowed      405
    │   ├── AccessError
    │   │   ├── Unauthenticated       401
    │   │   └── MissingPermissions    403
    │   ├── NotFoundError             404
    │   │   ├── CampaignNotFound
    │   │   ├── ExportNotFound
    │   │   └── RouteNotFound         no such path in the API
    │   ├── ConflictError             409
    │   │   ├── CampaignExists        a synthetic campaign is loaded already
    │   │   ├── ExportNotRetryable
    │   │   ├── ExportNotCancelable
    │   │   ├── ExportNotClaimable    a run asked for an export that is not PENDING
    │   │   └── LeaseLost             a run no longer owns its export (L6)
    │   ├── ExportExpired             an export took longer than timeoutMillis (L4)
    │   ├── ExportCanceled            an export was cancelled while somebody waited for it
    │   ├── RunFailed                 a run failed before it could say why
    │   ├── OutputFailed              a file on this machine cannot be written
    │   ├── NoMarketsFound            the export ends FAILED
    │   ├── PromotersNotFound         the export ends FAILED
    │   ├── SpoolFull                 a split export needs more temporary space than it may have
    │   ├── SourceMissing             a collection that rows come from does not exist
    │   └── DeliveryRefused           S3 says no: a missing permission, bucket or key
    └── TransientError                trying again may help
        ├── QueueBusy                 another export is TRIGGERED (L2)
        ├── SourceUnavailable         MongoDB still failing after retries
        ├── DeliveryFailed            S3 still failing after retries
        ├── WorkerLost                the process that ran an export is gone
        ├── NotReady                  503: MongoDB or a bucket does not answer the readiness check
        └── DeleteFailed              500: CCPA deletion incomplete

Each class says its wire ``code``, its HTTP ``status`` and, in ``hint``, what a person can do about it. ``payload``
names the thing that failed (an id, a field, a bucket): never a token, a credential or a fan's data.
"""

from __future__ import annotations

import traceback
from typing import ClassVar

INTERNAL_CODE = "InternalError"


class VfexportError(Exception):
    """Root of the tree; anything else that reaches an edge is a bug and is reported as ``InternalError``."""

    code: ClassVar[str] = INTERNAL_CODE
    status: ClassVar[int] = 500
    hint: ClassVar[str] = "Look for the correlation id in the logs."

    def __init__(self, message: str, *, payload: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.payload = payload

    def as_dict(self) -> dict[str, str | None]:
        """Give ``{code, message, payload}``, the form in which an export document keeps an error."""
        return {"code": self.code, "message": self.message, "payload": self.payload}


class PermanentError(VfexportError):
    """Trying the same again gives the same error."""


class TransientError(VfexportError):
    """A passing fault: the same request may work later."""


class ConfigurationError(PermanentError):
    code = "ConfigurationError"
    hint = "Correct the named environment variable and start again."


class InitialisationFailed(PermanentError):
    code = "InitialisationFailed"
    hint = "Drop the named index, or end the named exports, then run `vfexport init` again."


class EmbeddedServerFailed(PermanentError):
    code = "EmbeddedServerFailed"
    hint = "Install the extra `demo`, and look into the log that the error names."


class RequestError(PermanentError):
    status = 400
    hint = "Correct the request; the catalog of types is at GET /export-types."


class InvalidExportType(RequestError):
    code = "InvalidExportType"


class MissingDateKey(RequestError):
    code = "MissingDateKey"
    hint = "Send dateKey, the wave's key: a string of digits (epoch milliseconds)."


class InvalidDateKey(RequestError):
    code = "InvalidDateKey"
    hint = "dateKey is a string of digits (epoch milliseconds)."


class InvalidRequest(RequestError):
    code = "InvalidRequest"


class RequestTooLarge(InvalidRequest):
    status = 413
    hint = "Send a smaller body; a request needs a few hundred bytes."


class MethodNotAllowed(RequestError):
    code = "MethodNotAllowed"
    status = 405
    hint = "The Allow header lists the methods of this path."


class AccessError(PermanentError):
    """The caller may not do this."""


class Unauthenticated(AccessError):
    code = "Unauthenticated"
    status = 401
    hint = "Send a valid, unexpired token in the Authorization header."


class MissingPermissions(AccessError):
    code = "MissingPermissions"
    status = 403
    hint = "Ask for the REPORT permission on this campaign."


class NotFoundError(PermanentError):
    status = 404


class CampaignNotFound(NotFoundError):
    code = "CampaignNotFound"
    hint = "Check the campaign id."


class ExportNotFound(NotFoundError):
    code = "ExportNotFound"
    hint = "Check the export id, and that it belongs to this campaign."


class RouteNotFound(NotFoundError):
    code = "NotFound"
    hint = "The API's paths are described at /openapi.json."


class ConflictError(PermanentError):
    status = 409


class CampaignExists(ConflictError):
    code = "CampaignExists"
    hint = "Use the campaign that is there, or give another --seed or --campaign-name."


class ExportNotRetryable(ConflictError):
    code = "ExportNotRetryable"
    hint = "Only FAILED, EXPIRED and CANCELED exports can be run again."


class ExportNotCancelable(ConflictError):
    code = "ExportNotCancelable"
    hint = "Only PENDING and TRIGGERED exports can be cancelled."


class ExportNotClaimable(ConflictError):
    code = "ExportNotClaimable"
    hint = "The export is not PENDING: it runs elsewhere or has ended. Retry it first if it failed."


class LeaseLost(ConflictError):
    code = "LeaseLost"
    hint = "The export was cancelled, expired or taken over; nothing was published by this run."


class ExportExpired(PermanentError):
    code = "ExportExpired"
    hint = "Raise VFEXPORT_TIMEOUT_MILLIS if the campaign needs longer, then retry the export."


class ExportCanceled(PermanentError):
    code = "ExportCanceled"
    hint = "Retry the export if its file is still wanted."


class RunFailed(PermanentError):
    code = "RunFailed"
    hint = "Look at the run that the payload names in the Dagster UI, then retry the export."


class OutputFailed(PermanentError):
    code = "OutputFailed"
    hint = "Check that the folder exists, may be written and has room."


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


class WorkerLost(TransientError):
    code = "WorkerLost"
    hint = "Retry the export; if this happens again, look for why its process ended (memory, a restart)."


class NotReady(TransientError):
    code = "NotReady"
    status = 503
    hint = "Check the services that the payload names."


class DeleteFailed(TransientError):
    code = "DeleteFailed"
    hint = "The deletion is recorded and tried again until complete; repeating the request is harmless."


def error_document(error: BaseException) -> dict[str, str | None]:
    """Give ``{code, message, payload}`` of any exception, as an export keeps it.

    The message of an exception that is not ours may quote what it stumbled over, so only its class and place are told.
    """
    if isinstance(error, VfexportError):
        return error.as_dict()
    frame = traceback.extract_tb(error.__traceback__)[-1:]
    place = f" at {frame[0].name}, line {frame[0].lineno}" if frame else ""
    return {"code": INTERNAL_CODE, "message": f"{type(error).__name__}{place}", "payload": None}
