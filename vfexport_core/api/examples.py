"""Answers as the service gives them, for the OpenAPI document: an export on its way, and every error.

Each is made by the model that makes the real ones, so none can have another form.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from vfexport_core.api.schemas import (
    CAMPAIGN_ID_EXAMPLE,
    EXPORT_ID_EXAMPLE,
    KEY_EXAMPLE,
    ErrorDetail,
    ErrorOut,
    ExportDatesOut,
    ExportErrorOut,
    ExportOut,
    ProgressOut,
    QueueOut,
)
from vfexport_core.errors import INTERNAL_CODE, NoMarketsFound, NotReady
from vfexport_core.queue.models import ExportStatus

if TYPE_CHECKING:
    from vfexport_core.errors import VfexportError

_CREATED = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
_TRIGGERED = _CREATED + timedelta(seconds=42)
_ENDED = _TRIGGERED + timedelta(seconds=96)
_ADDRESS = f"https://exports-bucket.s3.us-east-1.amazonaws.com/{KEY_EXAMPLE}?X-Amz-Expires=900&X-Amz-Signature=..."


def _export(status: ExportStatus, date: ExportDatesOut, attempt: int = 1, **fields: Any) -> dict[str, Any]:
    export = ExportOut(
        id=EXPORT_ID_EXAMPLE,
        campaign_id=CAMPAIGN_ID_EXAMPLE,
        campaign_name="Summer Tour",
        export_type="entries",
        status=status,
        include_all_markets=False,
        requester_user_id="admin-1",
        date=date,
        attempt=attempt,
        **fields,
    )
    return export.model_dump(mode="json")


PENDING = _export(
    ExportStatus.PENDING, ExportDatesOut(created=_CREATED), queue=QueueOut(position=2, starts_in_seconds=42)
)
PENDING_AGAIN = _export(
    ExportStatus.PENDING, ExportDatesOut(created=_CREATED), attempt=2, queue=QueueOut(position=1, starts_in_seconds=0)
)
TRIGGERED = _export(
    ExportStatus.TRIGGERED,
    ExportDatesOut(created=_CREATED, triggered=_TRIGGERED),
    ends_in_seconds=55,
    count=27_991,
    progress=ProgressOut(read=12_000, rows=11_874, bytes=2_097_152, percent=42.9),
)
FINISHED = _export(
    ExportStatus.FINISHED,
    ExportDatesOut(created=_CREATED, triggered=_TRIGGERED, finished=_ENDED),
    count=27_694,
    progress=ProgressOut(read=27_991, rows=27_694, bytes=4_812_013, percent=100.0),
    meta={"read": 27_991, "warnings": {"unknownUser": 2}},
    key=KEY_EXAMPLE,
    bytes=4_812_013,
    sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    path=_ADDRESS,
    path_expires=_ENDED + timedelta(minutes=15),
)
FAILED = _export(
    ExportStatus.FAILED,
    ExportDatesOut(created=_CREATED, triggered=_TRIGGERED, failed=_TRIGGERED),
    error=ExportErrorOut(
        code=NoMarketsFound.code,
        message=f"campaign {CAMPAIGN_ID_EXAMPLE} has no market",
        payload=CAMPAIGN_ID_EXAMPLE,
        hint=NoMarketsFound.hint,
    ),
)
CANCELED = _export(ExportStatus.CANCELED, ExportDatesOut(created=_CREATED, canceled=_TRIGGERED))

# What is said, and of what, by the error's code.
_ERRORS: dict[str, tuple[str, str | None]] = {
    "InvalidExportType": ("there is no export type everything", "everything"),
    "MissingDateKey": ("codeWaves needs dateKey, the key of one of the campaign's waves", "dateKey"),
    "InvalidDateKey": ("dateKey: String should match pattern '^[0-9]{1,32}$'", "dateKey"),
    "UnknownDateKey": (
        "no code of the campaign has the dateKey 5; its waves are 1773936000000, 1774022400000",
        "dateKey",
    ),
    "InvalidRequest": ("limit: must be a whole number", "limit"),
    "Unauthenticated": ("the token is refused: it has expired", "token"),
    "MissingPermissions": ("the token does not allow REPORT for this campaign", CAMPAIGN_ID_EXAMPLE),
    "CampaignNotFound": ("no such campaign", CAMPAIGN_ID_EXAMPLE),
    "ExportNotFound": ("no such export", EXPORT_ID_EXAMPLE),
    "ExportNotRetryable": (f"export {EXPORT_ID_EXAMPLE} is FINISHED", EXPORT_ID_EXAMPLE),
    "ExportNotCancelable": (f"export {EXPORT_ID_EXAMPLE} is FINISHED", EXPORT_ID_EXAMPLE),
    "SourceUnavailable": ("MongoDB or S3 does not answer at the moment; try again later", "exports"),
    "DeliveryFailed": ("MongoDB or S3 does not answer at the moment; try again later", "exportsS3"),
    "NotInitialized": ("the database is not set up", "exports"),
    "KeysUnavailable": ("the keys of the token's issuer cannot be fetched", "VFEXPORT_JWT_JWKS_URL"),
    "DeleteFailed": ("the deletion is not complete yet", EXPORT_ID_EXAMPLE),
    "ConfigurationError": ("VFEXPORT_CCPA_HASH_KEY is missing", "VFEXPORT_CCPA_HASH_KEY"),
    "NotReady": ("not answering: exportsS3", "exportsS3"),
    INTERNAL_CODE: ("the service failed to answer; the correlation id finds the cause in its logs", None),
}


def error_example(error: type[VfexportError]) -> dict[str, Any]:
    """Return the body of an answer with this error."""
    message, payload = _ERRORS[error.code]
    detail = ErrorDetail(status=error.status, code=error.code, message=message, payload=payload, hint=error.hint)
    return ErrorOut(error=detail).model_dump(mode="json")


NOT_READY = {**error_example(NotReady), "checks": {"mongodb": "timeout", "exportsS3": "ok"}}
