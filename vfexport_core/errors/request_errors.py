"""What can be wrong with a request, of whoever asks: the API, the command line, a run."""

from __future__ import annotations

from vfexport_core.errors.base import PermanentError, TransientError


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


class UnknownDateKey(RequestError):
    """The wave that was asked for is none of the campaign's: an export of it would be empty."""

    code = "UnknownDateKey"
    hint = "Send the dateKey of a wave that has codes; the message lists them."


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
    hint = "Ask for the REPORT permission on this campaign; a CCPA deletion needs a supreme token."


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


class ExportNotFinished(ConflictError):
    """What was delivered is asked for, and nothing is delivered yet."""

    code = "ExportNotFinished"
    hint = "Only FINISHED exports have files; `vfexport exports show EXPORT` says how this one stands."


class ExportNotClaimable(ConflictError):
    code = "ExportNotClaimable"
    hint = "The export is not PENDING: it runs elsewhere or has ended. Retry it first if it failed."


class LeaseLost(ConflictError):
    code = "LeaseLost"
    hint = "The export was cancelled, expired or taken over; nothing was published by this run."


class KeysUnavailable(TransientError):
    """Whether a token is good cannot be told: it is not refused, and not accepted."""

    code = "KeysUnavailable"
    status = 503
    hint = "Check that VFEXPORT_JWT_JWKS_URL can be reached from here, and what it answers."


class NotReady(TransientError):
    code = "NotReady"
    status = 503
    hint = "Check the services that the payload names."


class DeleteFailed(TransientError):
    code = "DeleteFailed"
    hint = "The deletion is recorded and tried again until complete; repeating the request is harmless."
