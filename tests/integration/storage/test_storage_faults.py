"""A failure at every request of a delivery: survived when it passes, and nothing left in S3 when it does not."""

from __future__ import annotations

import hashlib
import random
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from tests.integration.storage.conftest import ATTEMPTS, KEY, STAGING_KEY
from tests.s3_faults import ACCESS_DENIED, SLOW_DOWN, Answer, Backlog, LoseAnswer, Reset, Run
from tests.servers import require_embedded_s3
from tests.small_parts import SMALLEST, small_limits
from vfexport_core.errors import DeliveryFailed, DeliveryRefused
from vfexport_core.storage.s3.bucket import RetryPolicy

if TYPE_CHECKING:
    from vfexport_core.storage.s3.writer import Limits

CONFLICT = Answer(409, "ConditionalRequestConflict")
PART = SMALLEST
DATA = random.Random(7).randbytes(2 * PART + 17)
LARGE = small_limits(threads=2)
VERY_LARGE = small_limits(threads=2, copy_single_bytes=PART, copy_part_bytes=PART)


@dataclass(frozen=True)
class Point:
    """A request of a delivery, and the kind of file whose delivery has it."""

    operation: str
    key: str
    part: int | None = None
    limits: Limits = LARGE
    data: bytes = DATA

    def __str__(self):
        return f"{self.operation}{self.part or ''}-{'final' if self.key == KEY else 'staging'}"

    @property
    def where(self):
        return {"key": self.key, "part": self.part}

    def count(self, proxy):
        return sum((seen.key, seen.part) == (self.key, self.part) for seen in proxy.seen(self.operation))

    def deliver(self, writer):
        writer.write(self.data)
        writer.publish({"rows": "12"}, lambda: None)


SHOWING = [  # the requests that make the object visible
    Point("PutObject", KEY, data=b"small"),
    Point("CopyObject", KEY),
    Point("CompleteMultipartUpload", KEY, limits=VERY_LARGE),
]
POINTS = [
    *SHOWING,
    Point("CreateMultipartUpload", STAGING_KEY),
    *[Point("UploadPart", STAGING_KEY, part) for part in (1, 2, 3)],
    Point("CompleteMultipartUpload", STAGING_KEY),
    Point("CreateMultipartUpload", KEY, limits=VERY_LARGE),
    *[Point("UploadPartCopy", KEY, part, VERY_LARGE) for part in (1, 2, 3)],
    Point("DeleteObject", STAGING_KEY),
]
at_every_point = pytest.mark.parametrize("point", POINTS, ids=str)


def assert_delivered(store, data=DATA):
    assert (store.uploads(), store.versions()) == ([], [KEY])
    assert store.read() == data
    assert store.head()["Metadata"]["sha256"] == hashlib.sha256(data).hexdigest()


@at_every_point
@pytest.mark.parametrize(
    "fault",
    [SLOW_DOWN, Reset(), LoseAnswer(), Answer(200), Answer(200, body="", after=True)],
    ids=["503", "reset", "lost", "error in a 200", "empty"],
)
def test_a_failure_that_passes_is_survived(make_writer, proxy, store, point, fault):
    rule = proxy.fail(point.operation, fault, times=ATTEMPTS - 1, **point.where)
    with make_writer(limits=point.limits) as writer:
        point.deliver(writer)
    assert rule.applied >= 1
    assert_delivered(store, point.data)


@at_every_point
@pytest.mark.parametrize(
    ("fault", "error", "attempts"),
    [(Answer(500), DeliveryFailed, ATTEMPTS), (Reset(), DeliveryFailed, ATTEMPTS), (ACCESS_DENIED, DeliveryRefused, 1)],
    ids=["500", "reset", "denied"],
)
def test_a_failure_that_stays_fails_the_delivery_and_leaves_nothing(  # noqa: PLR0917 fixtures and parameters
    make_writer, proxy, store, point, fault, error, attempts
):
    proxy.fail(point.operation, fault, times=attempts, **point.where)
    with make_writer(limits=point.limits) as writer:
        with pytest.raises(error, match=f"S3 bucket {store.bucket}: {point.operation} failed") as raised:
            point.deliver(writer)
        assert raised.value.payload == store.bucket
    assert point.count(proxy) == attempts
    store.assert_empty()


@pytest.mark.parametrize("point", SHOWING, ids=str)
def test_what_became_visible_unnoticed_is_not_repeated(make_writer, proxy, store, point):
    proxy.fail(point.operation, LoseAnswer(), times=1, **point.where)
    with make_writer(limits=point.limits) as writer:
        point.deliver(writer)
    assert point.count(proxy) == 1
    assert_delivered(store, point.data)


@pytest.mark.parametrize("point", SHOWING, ids=str)
def test_what_became_visible_although_the_delivery_failed_is_removed(make_writer, proxy, store, point):
    proxy.fail(point.operation, LoseAnswer(), **point.where)
    proxy.fail("HeadObject")
    with make_writer(limits=point.limits) as writer:
        with pytest.raises((DeliveryFailed, DeliveryRefused)):
            point.deliver(writer)
        assert KEY in store.objects()
    store.assert_empty()


@pytest.mark.parametrize("point", [point for point in POINTS if point.operation == "CompleteMultipartUpload"], ids=str)
def test_a_completion_that_finds_no_upload_has_happened_if_the_object_is_there(make_writer, proxy, store, point):
    require_embedded_s3("not every store heeds the condition of a copy or a completion, or says the ETag of one")
    proxy.fail(point.operation, LoseAnswer(), times=1, **point.where)
    proxy.fail("HeadObject", times=1)
    proxy.fail(point.operation, Answer(404, "NoSuchUpload"), **point.where)
    with make_writer(limits=point.limits) as writer:
        point.deliver(writer)
    assert point.count(proxy) == 2
    assert_delivered(store)


@pytest.mark.parametrize("point", [point for point in POINTS if point.operation == "CompleteMultipartUpload"], ids=str)
def test_a_completion_that_finds_no_upload_fails_if_the_object_is_not_there(make_writer, proxy, store, point):
    proxy.fail(point.operation, Answer(404, "NoSuchUpload"), **point.where)
    with make_writer(limits=point.limits) as writer, pytest.raises(DeliveryRefused, match="NoSuchUpload"):
        point.deliver(writer)
    assert point.count(proxy) == 1
    store.assert_empty()


@pytest.mark.parametrize("point", SHOWING, ids=str)
def test_an_object_of_another_s_is_never_replaced(make_writer, proxy, store, point):
    """It appears after the fence was checked: only S3 itself can tell."""
    require_embedded_s3("not every store heeds the condition of a copy or a completion, or says the ETag of one")
    proxy.fail(point.operation, Run(lambda: store.put(KEY, b"another's")), **point.where)
    read = []
    proxy.fail("HeadObject", Run(lambda: read.append(store.read())), key=KEY)
    with make_writer(limits=point.limits) as writer, pytest.raises(DeliveryRefused, match="PreconditionFailed"):
        point.deliver(writer)
    assert point.count(proxy) == 1
    assert read == [b"another's"]


@pytest.mark.parametrize("point", SHOWING, ids=str)
def test_an_object_that_is_there_already_is_looked_at_until_it_is_known_whose_it_is(make_writer, proxy, store, point):
    proxy.fail(point.operation, LoseAnswer(), times=1, **point.where)
    proxy.fail("HeadObject", times=ATTEMPTS)  # once for the lost answer, then all but the last for the refusal
    with make_writer(limits=point.limits) as writer:
        point.deliver(writer)
    assert point.count(proxy) == 2
    assert_delivered(store, point.data)


@pytest.mark.parametrize("point", SHOWING, ids=str)
@pytest.mark.parametrize(
    "refusal",
    [Answer(501, "NotImplemented"), Answer(400, "InvalidArgument"), Answer(405, body=""), Answer(501, body="")],
    ids=["501", "400", "405 without a body", "501 without a body"],
)
def test_a_store_that_knows_no_conditions_is_asked_for_none(make_writer, proxy, store, point, refusal):
    checked = []
    proxy.fail(point.operation, refusal, times=1, **point.where)
    with make_writer(limits=point.limits) as writer:
        writer.write(point.data)
        writer.publish({"rows": "12"}, lambda: checked.append(point.count(proxy)))
    conditions = [seen.headers.get("if-none-match") for seen in proxy.seen(point.operation) if seen.key == KEY]
    assert conditions == ["*", None]
    assert checked == [0, 1]
    assert_delivered(store, point.data)
    with make_writer(key="next", limits=point.limits) as writer:
        point.deliver(writer)
    (following,) = [seen for seen in proxy.seen(point.operation) if seen.key == "next"]
    assert "if-none-match" not in following.headers


def test_a_refusal_that_has_other_reasons_stays_one(make_writer, proxy, store):
    proxy.fail("PutObject", Answer(400, "InvalidArgument"))
    with make_writer() as writer, pytest.raises(DeliveryRefused, match="InvalidArgument"):
        POINTS[0].deliver(writer)
    assert len(proxy.seen("PutObject")) == 2
    store.assert_empty()


@pytest.mark.parametrize("point", SHOWING, ids=str)
def test_a_conflict_with_another_writer_passes(make_writer, proxy, store, point):
    proxy.fail(point.operation, CONFLICT, times=ATTEMPTS - 1, **point.where)
    with make_writer(limits=point.limits) as writer:
        point.deliver(writer)
    assert point.count(proxy) == ATTEMPTS
    assert_delivered(store, point.data)


def test_after_a_conflict_the_copy_is_made_by_a_new_upload(make_writer, proxy, store):
    proxy.fail("CompleteMultipartUpload", CONFLICT, times=1, key=KEY)
    checked = []
    with make_writer(limits=VERY_LARGE) as writer:
        writer.write(DATA)
        writer.publish({"rows": "12"}, lambda: checked.append(1))
    assert sum(seen.key == KEY for seen in proxy.seen("CreateMultipartUpload")) == 2
    assert len(proxy.seen("UploadPartCopy")) == 2 * 3
    assert [seen.key for seen in proxy.seen("AbortMultipartUpload")] == [KEY]
    assert len(checked) == 2
    assert_delivered(store)


def test_a_conflict_that_stays_fails_the_delivery_and_leaves_nothing(make_writer, proxy, store):
    proxy.fail("CompleteMultipartUpload", CONFLICT, key=KEY)
    with make_writer(limits=VERY_LARGE) as writer, pytest.raises(DeliveryFailed, match="ConditionalRequestConflict"):
        POINTS[2].deliver(writer)
    assert POINTS[2].count(proxy) == ATTEMPTS
    store.assert_empty()


def test_a_store_with_a_backlog_gets_the_parts_as_it_can_take_them(make_writer, target, proxy, store):
    rule = proxy.fail("UploadPart", Backlog(1))
    with make_writer(target=replace(target, retry=RetryPolicy())) as writer:
        POINTS[1].deliver(writer)
    assert rule.fault.refused.is_set()
    assert len(proxy.seen("UploadPart")) > 3
    assert_delivered(store)


def test_the_fence_is_checked_again_before_a_repetition(make_writer, proxy, store):
    proxy.fail("CopyObject", SLOW_DOWN, times=2)
    checked = []
    with make_writer() as writer:
        writer.write(DATA)
        writer.publish({}, lambda: checked.append(len(proxy.seen("CopyObject"))))
    assert checked == [0, 1, 2]
    assert_delivered(store)


def test_a_failed_part_fails_the_file_even_if_the_error_was_overlooked(make_writer, proxy, store):
    proxy.fail("UploadPart", ACCESS_DENIED, part=1)
    with make_writer() as writer:
        writer.write(DATA)
        with pytest.raises(DeliveryRefused):
            writer.stage()
        for step in (writer.stage, lambda: writer.write(b"x"), lambda: writer.publish({}, lambda: None)):
            with pytest.raises(ValueError, match="broken"):
                step()
    store.assert_empty()


def test_a_failed_part_is_reported_while_others_are_under_way(make_writer, proxy):
    gate = proxy.hold("UploadPart", part=1)
    proxy.fail("UploadPart", ACCESS_DENIED, part=2)
    with make_writer(limits=LARGE) as writer:
        with pytest.raises(DeliveryRefused):  # with part 1 still held, and room for no other
            writer.write(DATA + DATA)
        gate.set()


def test_an_empty_listing_is_not_taken_for_the_truth(make_writer, proxy, store):
    for operation in ("ListMultipartUploads", "ListObjectVersions"):
        proxy.fail(operation, Answer(200, body=""), times=1)
    with make_writer() as writer:
        writer.write(DATA)
        writer.stage()
    store.assert_empty()


@at_every_point
def test_cleaning_up_survives_failures_of_its_own(make_writer, proxy, store, point):
    proxy.fail(point.operation, Answer(500, after=True), times=ATTEMPTS, **point.where)
    proxy.fail("HeadObject")
    for operation in ("AbortMultipartUpload", "ListMultipartUploads", "ListObjectVersions", "DeleteObjects"):
        proxy.fail(operation, SLOW_DOWN, times=ATTEMPTS - 1)
    with make_writer(limits=point.limits) as writer:
        with pytest.raises((DeliveryFailed, DeliveryRefused)):
            point.deliver(writer)
        assert writer.discard()
    store.assert_empty()


def test_an_abort_that_cannot_reach_s3_says_so_and_can_be_repeated(make_writer, proxy, store, caplog):
    with make_writer() as writer:
        writer.write(DATA)
        writer.stage()
        proxy.fail(None, Reset())
        assert not writer.discard()
        assert not writer.discard()
        assert "may be left" in caplog.text
        proxy.heal()
        assert writer.discard()
        sent = len(proxy.seen())
        assert writer.discard()
        assert len(proxy.seen()) == sent
    store.assert_empty()


def test_without_permission_to_list_uploads_the_own_one_is_aborted(make_writer, proxy, store):
    proxy.fail("ListMultipartUploads", ACCESS_DENIED)
    proxy.fail("UploadPart", ACCESS_DENIED)
    with make_writer() as writer:
        writer.write(DATA)
        with pytest.raises(DeliveryRefused):
            writer.stage()
    assert store.uploads() == []


def test_without_permission_to_list_versions_the_objects_are_removed(make_writer, proxy, store):
    proxy.fail("ListObjectVersions", ACCESS_DENIED)
    with make_writer() as writer:
        writer.write(DATA)
        writer.stage()
    store.assert_empty()


def test_another_thread_may_abort_a_writer_that_waits(make_writer, proxy, store):
    gate = proxy.hold("UploadPart")
    writer = make_writer(limits=small_limits(threads=1))
    outcome = []

    def write():
        try:
            writer.write(DATA + DATA)
        except DeliveryFailed as error:
            outcome.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    proxy.wait_for("UploadPart")
    aborting = threading.Thread(target=lambda: outcome.append(writer.discard()))
    aborting.start()
    gate.set()
    thread.join(30)
    aborting.join(30)
    assert not thread.is_alive()
    assert not aborting.is_alive()
    assert True in outcome
    assert any("aborted" in str(error) for error in outcome if error is not True)
    assert len(proxy.seen("UploadPart")) == 1
    store.assert_empty()


def test_a_request_that_does_not_end_is_not_waited_for_for_ever(make_writer, proxy, store):
    proxy.hold("CopyObject")
    writer = make_writer()
    writer.write(DATA)
    writer.stage()
    failures = []

    def publish():
        try:
            writer.publish({}, lambda: None)
        except (DeliveryFailed, DeliveryRefused) as error:
            failures.append(error)

    thread = threading.Thread(target=publish)
    thread.start()
    proxy.wait_for("CopyObject")
    assert not writer.discard(grace_seconds=0.05)
    proxy.heal()
    thread.join(30)
    assert not thread.is_alive()
    assert failures
    # The copy went on when its source was gone already.
    store.assert_empty()


def test_what_came_too_late_for_an_abort_is_found_by_the_next(make_writer, proxy, store):
    proxy.hold("CreateMultipartUpload")
    writer = make_writer()
    failures = []

    def write():
        try:
            writer.write(DATA)
        except DeliveryFailed as error:
            failures.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    proxy.wait_for("CreateMultipartUpload")
    assert not writer.discard(grace_seconds=0.05)
    proxy.heal()
    thread.join(30)
    assert not thread.is_alive()
    assert "aborted" in str(failures[0])
    assert store.uploads() == [STAGING_KEY]
    assert writer.discard()
    store.assert_empty()
