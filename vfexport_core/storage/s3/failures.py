"""What an S3 failure is: passing or not, possibly done in spite of it, and what it is called."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, cast

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 botocore's own, which is not a kind of the built-in one
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
)
from botocore.parsers import ResponseParserError

from vfexport_core.errors import DeliveryFailed, DeliveryRefused, VfexportError

NO_SUCH_UPLOAD = "NoSuchUpload"
PRECONDITION_FAILED = "PreconditionFailed"
_NO_BUCKET = "NoSuchBucket"
_CONFLICT = "ConditionalRequestConflict"

# Whatever a request to S3 may raise. A response that cannot be parsed was cut on its way.
S3_ERRORS = (BotoCoreError, ClientError, ResponseParserError)

_PASSING_ERRORS = (ConnectionError, HTTPClientError, IncompleteReadError, CredentialRetrievalError, ResponseParserError)
_PASSING_CODES = frozenset(
    {
        "BadDigest",  # the bytes were damaged on their way
        "BandwidthLimitExceeded",
        _CONFLICT,
        "IncompleteBody",
        "InternalError",
        "OperationAborted",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "XAmzContentSHA256Mismatch",
    }
)
# S3 may answer 200 with an error in the body, which botocore reports as status 500: then the code alone tells.
_LASTING_CODES = frozenset(
    {"AccessDenied", "InvalidAccessKeyId", _NO_BUCKET, "NoSuchKey", NO_SUCH_UPLOAD, "SignatureDoesNotMatch"}
)
_LASTING_STATUSES = frozenset({HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED})
_PASSING_STATUSES = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
# How stores that do not know a header or an operation say so.
_UNKNOWN_STATUSES = frozenset({HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.METHOD_NOT_ALLOWED})
_UNKNOWN_CODES = frozenset({"InvalidArgument", "InvalidRequest", "MethodNotAllowed", "NotImplemented"})
_SHOWN_CHARACTERS = 200


def error_code(error: Exception) -> str:
    """Return S3's code for an error that S3 answered (the status when there is no body), else empty."""
    return str(_answer(error).get("Error", {}).get("Code", ""))


def is_passing(error: Exception) -> bool:
    """Return whether the same request may succeed when it is sent again."""
    if not isinstance(error, ClientError):
        return isinstance(error, _PASSING_ERRORS)
    code, status = error_code(error), _status(error)
    if code in _PASSING_CODES or status in _PASSING_STATUSES:
        return True
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR and status not in _LASTING_STATUSES and code not in _LASTING_CODES


def is_repeatable(error: Exception) -> bool:
    """Return whether the very same request is worth another attempt."""
    return is_passing(error) and not is_upload_spent(error)


def is_upload_spent(error: BaseException | None) -> bool:
    """Return whether completing has met another writer of the key: only a new upload may succeed then."""
    if not isinstance(error, ClientError) or error.operation_name != "CompleteMultipartUpload":
        return False
    return error_code(error) == _CONFLICT


def is_unknown(error: Exception) -> bool:
    """Return whether the store may have refused a request for a part of it that it does not know."""
    return _status(error) in _UNKNOWN_STATUSES or error_code(error) in _UNKNOWN_CODES


def is_absent(error: BaseException | None) -> bool:
    """Return whether S3 answered that what was asked for is not there, while the bucket is."""
    return isinstance(error, ClientError) and _status(error) == HTTPStatus.NOT_FOUND and error_code(error) != _NO_BUCKET


def is_passing_code(code: str) -> bool:
    """Return the same for an error that S3 reports for one of many objects."""
    return code in _PASSING_CODES


def may_be_applied(error: Exception) -> bool:
    """Return whether S3 may have done what was asked although this came back.

    An answer can be lost after the work is done; completing an upload a second time then finds no upload, and what may
    only be written once is there already.
    """
    return is_passing(error) or error_code(error) in {NO_SUCH_UPLOAD, PRECONDITION_FAILED}


def delivery_error(bucket: str, operation: str, error: Exception, attempts: int) -> VfexportError:
    """Return which bucket, operation and why: DeliveryFailed when it may pass, DeliveryRefused when it will not."""
    tries = f" after {attempts} attempts" if attempts > 1 else ""
    # A request may fail at what comes before it: assuming the role.
    failed = error.operation_name if isinstance(error, ClientError) else api_name(operation)
    message = f"S3 bucket {bucket}: {failed} failed{tries}: {cause(error)}"
    return (DeliveryFailed if is_passing(error) else DeliveryRefused)(message, payload=bucket)


def api_name(operation: str) -> str:
    """Return an operation's name as S3 documents it: ``UploadPart`` for ``upload_part``."""
    return operation.title().replace("_", "")


def cause(error: Exception) -> str:
    """Describe why in a few words; what S3 did not answer is named only, since its text may hold an address."""
    if not isinstance(error, ClientError):
        return type(error).__name__
    message = str(_answer(error).get("Error", {}).get("Message", ""))[:_SHOWN_CHARACTERS]
    return f"{error_code(error)} (HTTP {_status(error)})" + (f": {message}" if message else "")


def _status(error: Exception) -> int:
    return int(_answer(error).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _answer(error: Exception) -> dict[str, Any]:
    return cast("dict[str, Any]", error.response) if isinstance(error, ClientError) else {}
