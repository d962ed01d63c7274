"""What is retried, how often, and what a failure is called; no server needed, `send` stands for the request."""

from __future__ import annotations

import threading

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError

from vfexport_core.errors import DeliveryFailed, DeliveryRefused, LeaseLost
from vfexport_core.storage.s3.bucket import RetryPolicy, S3Bucket
from vfexport_core.storage.s3.multipart import MAX_PART_BYTES, MAX_PARTS, MIB, MIN_PART_BYTES, size_of_part

TARGET = S3Bucket("fan-bucket", client=None, retry=RetryPolicy(attempts=3, base_seconds=0))
URL = "https://fan-bucket.example/secret-key"


def answered(status, code, message="why"):
    answer = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "UploadPart")


PASSING = [
    answered(500, "InternalError"),
    answered(503, "SlowDown"),
    answered(503, "ServiceUnavailable"),
    answered(502, "502"),
    answered(429, "429"),
    answered(400, "RequestTimeout"),
    answered(400, "BadDigest"),
    answered(409, "OperationAborted"),
    EndpointConnectionError(endpoint_url=URL),
    ConnectionClosedError(endpoint_url=URL),
    ReadTimeoutError(endpoint_url=URL),
    ResponseParserError("cut"),
]
LASTING = [
    answered(403, "AccessDenied"),
    answered(500, "AccessDenied"),  # how botocore reports an error in the body of a 200
    answered(404, "NoSuchBucket"),
    answered(404, "404"),
    answered(400, "EntityTooSmall"),
    answered(501, "NotImplemented"),
    NoCredentialsError(),
    ParamValidationError(report="x"),
]


class Sender:
    """Raises the given errors in turn, then answers."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.sent = 0

    def __call__(self):
        self.sent += 1
        if self.errors:
            raise self.errors.pop(0)
        return {"ETag": "sent"}


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_passing_errors_are_retried_and_then_are_delivery_failed(error):
    sender = Sender(error, error)
    assert TARGET.call("upload_part", {}, send=sender) == {"ETag": "sent"}
    assert sender.sent == 3
    with pytest.raises(DeliveryFailed, match=r"S3 bucket fan-bucket: UploadPart failed after 3 attempts: ") as raised:
        TARGET.call("upload_part", {}, send=Sender(error, error, error))
    assert raised.value.payload == "fan-bucket"
    assert "secret-key" not in raised.value.message


@pytest.mark.parametrize("error", LASTING, ids=repr)
def test_lasting_errors_are_not_retried(error):
    sender = Sender(error)
    with pytest.raises(DeliveryRefused, match=r"S3 bucket fan-bucket: UploadPart failed: ") as raised:
        TARGET.call("upload_part", {}, send=sender)
    assert sender.sent == 1
    assert raised.value.as_dict()["code"] == "DeliveryFailed"


def test_the_cause_is_named_and_cut():
    with pytest.raises(DeliveryRefused) as raised:
        TARGET.call("upload_part", {}, send=Sender(answered(403, "AccessDenied", "not authorized " * 100)))
    assert raised.value.message.startswith("S3 bucket fan-bucket: UploadPart failed: AccessDenied (HTTP 403): not auth")
    assert len(raised.value.message) < 300


def test_what_happened_although_its_answer_was_lost_is_not_repeated():
    sender = Sender(ReadTimeoutError(endpoint_url=URL), answered(404, "NoSuchUpload"))
    answers = [None, {"ETag": "found"}]
    assert TARGET.call("x", {}, send=sender, already_applied=lambda _: answers.pop(0)) == {"ETag": "found"}
    assert sender.sent == 2


def test_what_cannot_have_happened_is_not_asked_for():
    with pytest.raises(DeliveryRefused):
        TARGET.call("x", {}, send=Sender(answered(403, "AccessDenied")), already_applied=pytest.fail)


def test_before_is_called_before_each_attempt_and_may_end_them():
    calls = []

    def confirm():
        calls.append(1)
        if len(calls) == 2:
            raise LeaseLost("lost")

    sender = Sender(answered(503, "SlowDown"))
    with pytest.raises(LeaseLost):
        TARGET.call("x", {}, send=sender, before=confirm)
    assert sender.sent == 1


def test_no_attempt_begins_after_stop():
    stop, sender = threading.Event(), Sender()
    stop.set()
    with pytest.raises(DeliveryFailed, match="aborted"):
        TARGET.call("x", {}, send=sender, stop=stop)
    assert sender.sent == 0


def test_stop_ends_the_wait_for_the_next_attempt():
    patient = S3Bucket("b", None, RetryPolicy(attempts=2, base_seconds=10_000, cap_seconds=10_000))
    stop = threading.Event()

    def send():
        threading.Timer(0, stop.set).start()
        raise answered(503, "SlowDown")

    with pytest.raises(DeliveryFailed, match="aborted"):  # and not after hours
        patient.call("x", {}, send=send, stop=stop)


def test_waits_double_up_to_the_cap_and_are_jittered():
    policy = RetryPolicy(attempts=9, base_seconds=0.5, cap_seconds=4)
    waits = [[policy.wait_seconds(attempt) for _ in range(200)] for attempt in range(1, 9)]
    for tries, longest in zip(waits, [0.5, 1, 2, 4, 4, 4, 4, 4], strict=True):
        assert longest / 2 <= min(tries) < max(tries) <= longest


@pytest.mark.parametrize("first", [MIN_PART_BYTES, 8 * MIB, 64 * MIB])
def test_parts_grow_so_that_ten_thousand_hold_the_largest_object(first):
    sizes = [size_of_part(number, first) for number in range(1, MAX_PARTS + 1)]
    assert sizes[0] == first
    assert sizes == sorted(sizes)
    assert sizes[-1] <= MAX_PART_BYTES
    assert sum(sizes) >= 5 * 1024**4
