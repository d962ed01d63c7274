"""When a bucket is given up: what counts as time in which nothing succeeds, and what is not sent any more then."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from vfexport_core.errors import BucketHangs, DeliveryFailed, DeliveryRefused
from vfexport_core.storage.s3.bucket import RetryPolicy, S3Bucket
from vfexport_core.storage.s3.stall import StallClock

SILENCE = ReadTimeoutError(endpoint_url="https://fan-bucket.example")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stall(clock: Clock) -> StallClock:
    return StallClock(10, clock)


def test_time_counts_while_the_bucket_is_asked(clock: Clock, stall: StallClock) -> None:
    clock.now += 100
    assert not stall.is_over
    with stall.asking():
        clock.now += 9
        assert not stall.is_over
    clock.now += 100
    with stall.asking():
        assert not stall.is_over
        clock.now += 1
        assert stall.is_over
    assert stall.is_over


def test_requests_side_by_side_count_once(clock: Clock, stall: StallClock) -> None:
    with stall.asking():
        clock.now += 4
        with stall.asking():
            clock.now += 4
    assert not stall.is_over


def test_a_success_begins_anew(clock: Clock, stall: StallClock) -> None:
    with stall.asking(), stall.asking():
        clock.now += 9
        stall.succeeded()
        clock.now += 9
        assert not stall.is_over
        clock.now += 1
        assert stall.is_over


def bucket_that(clock: Clock, stall: StallClock, *outcomes: Exception | None):
    """A bucket, and the sending of requests to it, of which each takes 4 s and comes to one of these ends."""
    rest = list(outcomes)

    def send():
        clock.now += 4
        outcome = rest.pop(0)
        if outcome is not None:
            raise outcome
        return {}

    return S3Bucket("fan-bucket", None, RetryPolicy(attempts=99, base_seconds=0), stall=stall), send, rest


def test_a_bucket_that_never_answers_is_given_up_in_time(clock: Clock, stall: StallClock) -> None:
    bucket, send, rest = bucket_that(clock, stall, *[SILENCE] * 9)
    wanted = "S3 bucket fan-bucket: nothing has succeeded for 10 s, UploadPart neither: ReadTimeoutError"
    with pytest.raises(BucketHangs) as raised:
        bucket.call("upload_part", {}, send=send)
    assert (raised.value.message, raised.value.payload, raised.value.code) == (wanted, "fan-bucket", "DeliveryFailed")
    assert len(rest) == 9 - 3
    with pytest.raises(BucketHangs, match="ListObjectVersions neither"):
        bucket.call("list_object_versions", {}, send=send)
    assert len(rest) == 9 - 3, "nothing is sent to it any more"


def test_a_slow_bucket_is_not_given_up(clock: Clock, stall: StallClock) -> None:
    bucket, send, _ = bucket_that(clock, stall, *[SILENCE, None] * 5)
    for _ in range(5):
        bucket.call("upload_part", {}, send=send)
    assert clock.now == 40


def test_a_refusal_is_told_as_one(clock: Clock, stall: StallClock) -> None:
    answer = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    bucket, send, _ = bucket_that(clock, stall, SILENCE, SILENCE, ClientError(answer, "UploadPart"))
    with pytest.raises(DeliveryRefused, match="AccessDenied"):
        bucket.call("upload_part", {}, send=send)


def test_the_time_that_the_fence_takes_is_not_the_bucket_s(clock: Clock, stall: StallClock) -> None:
    bucket, send, _ = bucket_that(clock, stall, SILENCE, None)

    def check_fence() -> None:
        clock.now += 100

    bucket.call("put_object", {}, before=check_fence, send=send)


def test_what_may_have_been_applied_is_not_asked_for_in_a_bucket_that_hangs(clock: Clock, stall: StallClock) -> None:
    bucket, send, _ = bucket_that(clock, stall, *[SILENCE] * 9)
    asked: list[Exception] = []
    with pytest.raises(DeliveryFailed):
        bucket.call("put_object", {}, send=send, already_applied=asked.append)
    assert len(asked) == 2
