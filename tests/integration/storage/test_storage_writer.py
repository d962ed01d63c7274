from __future__ import annotations

import hashlib
import random
import threading
import tracemalloc

import pyarrow as pa
import pytest

from tests.integration.storage.conftest import DISPOSITION, KEY, METADATA, STAGING_KEY
from tests.s3_faults import Answer
from tests.servers import require_embedded_s3
from vfexport_core.errors import DeliveryFailed, DeliveryRefused, LeaseLost
from vfexport_core.storage.s3.multipart import MIB, MIN_PART_BYTES
from vfexport_core.storage.s3.writer import Limits

PART = MIN_PART_BYTES
COPY_IN_PARTS = Limits(part_bytes=PART, copy_single_bytes=PART, copy_part_bytes=PART)


@pytest.fixture
def make_writer(make_writer):
    """Make writers whose parts are as large as every S3 wants them."""

    def make(*, limits=None, **options):
        return make_writer(limits=limits or Limits(part_bytes=PART), **options)

    return make


def nothing():
    pass


def some_bytes(size):
    return random.Random(size).randbytes(size)


def operations(proxy):
    return [request.operation for request in proxy.seen()]


def assert_delivered(store, data):
    """Check the one object in the bucket: its bytes and everything that is kept with it."""
    assert store.objects() == [KEY]
    assert store.uploads() == []
    assert store.read() == data
    head = store.head()
    assert head["ContentType"] == "text/csv; charset=utf-8"
    assert head["ContentDisposition"] == DISPOSITION
    assert head["Metadata"] == METADATA | {"rows": "12", "sha256": hashlib.sha256(data).hexdigest()}


@pytest.mark.parametrize("size", [0, 1, 1000, PART - 1, PART])
def test_a_small_file_is_one_put(make_writer, proxy, store, size):
    data = some_bytes(size)
    with make_writer() as writer:
        writer.write(data)
        assert operations(proxy) == []
        writer.publish({"rows": "12"}, nothing)
    assert operations(proxy) == ["PutObject"]
    (request,) = proxy.seen()
    assert (request.key, request.size) == (KEY, size)
    assert "x-amz-acl" not in request.headers
    assert (writer.bytes_written, writer.sha256) == (size, hashlib.sha256(data).hexdigest())
    assert_delivered(store, data)


def test_a_file_just_under_five_mib_is_one_put_with_the_usual_part_size(make_writer, proxy):
    with make_writer(limits=Limits()) as writer:
        writer.write(some_bytes(5 * MIB - 1))
        writer.publish({}, nothing)
    assert operations(proxy) == ["PutObject"]


def test_a_large_file_is_staged_in_parts_and_copied(make_writer, proxy, store):
    require_embedded_s3("counts requests; one more is sent where the answer to a completion lacks the ETag")
    data = some_bytes(2 * PART + 17)
    with make_writer(acl="bucket-owner-full-control") as writer:
        writer.write(data)
        writer.publish({"rows": "12"}, nothing)
    seen = operations(proxy)
    assert seen[0] == "CreateMultipartUpload"
    assert seen[1:4] == ["UploadPart"] * 3
    assert seen[4:] == ["CompleteMultipartUpload", "CopyObject", "DeleteObject"]
    assert [request.key for request in proxy.seen()] == [STAGING_KEY] * 5 + [KEY, STAGING_KEY]
    sizes = {request.part: request.size for request in proxy.seen("UploadPart")}
    assert sizes == {1: PART, 2: PART, 3: 17}
    for operation in ("CreateMultipartUpload", "CopyObject"):
        (request,) = proxy.seen(operation)
        assert request.headers["x-amz-acl"] == "bucket-owner-full-control"
    assert_delivered(store, data)


def test_a_very_large_file_is_copied_in_parts(make_writer, proxy, store):
    require_embedded_s3("counts requests; one more is sent where the answer to a completion lacks the ETag")
    data = some_bytes(2 * PART + 17)
    with make_writer(limits=COPY_IN_PARTS) as writer:
        writer.write(data)
        writer.publish({"rows": "12"}, nothing)
    after_staging = operations(proxy)[5:]
    assert after_staging == [
        "CreateMultipartUpload",
        *["UploadPartCopy"] * 3,
        "CompleteMultipartUpload",
        "DeleteObject",
    ]
    _, create = proxy.seen("CreateMultipartUpload")
    assert create.key == KEY
    assert "x-amz-acl" not in create.headers
    assert_delivered(store, data)


@pytest.mark.parametrize("seed", range(3))
def test_blocks_of_any_kind_and_size_add_up(make_writer, store, seed):
    chance = random.Random(seed)
    data = some_bytes(3 * PART + seed)
    kinds = [bytes, bytearray, memoryview, pa.py_buffer, lambda block: memoryview(bytes(block)).cast("b")]
    with make_writer() as writer:
        start = 0
        while start < len(data):
            size = chance.choice([0, 1, 1000, 300_000, PART, PART + 1, 2 * PART])
            block = data[start : start + size]
            assert writer.write(chance.choice(kinds)(block)) == len(block)
            start += size
        writer.publish({"rows": "12"}, nothing)
    assert_delivered(store, data)


def test_a_block_may_be_reused_once_written(make_writer, store):
    block = bytearray(b"a" * (PART + 1))
    with make_writer() as writer:
        writer.write(block)
        block[:] = b"b" * len(block)
        writer.write(block)
        writer.publish({"rows": "12"}, nothing)
    assert_delivered(store, b"a" * len(block) + b"b" * len(block))


@pytest.mark.parametrize("size", [10, PART + 10])
def test_staged_means_on_s3_and_visible_to_nobody(make_writer, proxy, store, size):
    data = some_bytes(size)
    with make_writer() as writer:
        writer.write(data)
        writer.stage()
        assert store.objects() == [STAGING_KEY]
        assert store.uploads() == []
        assert store.read(STAGING_KEY) == data
        writer.stage()
        with pytest.raises(ValueError, match="staged"):
            writer.write(b"more")
        writer.publish({"rows": "12"}, nothing)
    assert operations(proxy)[-2:] == ["CopyObject", "DeleteObject"]
    assert_delivered(store, data)


def test_several_staged_files_are_published_one_after_the_other(make_writer, store):
    writers = [make_writer(key=f"k{number}", staging_key=f"_staging/x-1/{number}") for number in range(3)]
    for number, writer in enumerate(writers):
        writer.write(b"%d" % number)
        writer.stage()
    assert all(key.startswith("_staging/") for key in store.objects())
    for writer in writers:
        writer.publish({}, nothing)
    assert store.objects() == ["k0", "k1", "k2"]
    assert [store.read(key) for key in store.objects()] == [b"0", b"1", b"2"]


@pytest.mark.parametrize(
    ("size", "limits", "step"),
    [
        (10, None, "PutObject"),
        (PART + 10, None, "CopyObject"),
        (PART + 10, COPY_IN_PARTS, "CompleteMultipartUpload"),
    ],
)
def test_the_fence_is_checked_directly_before_the_step_that_makes_it_visible(  # noqa: PLR0917 fixtures and parameters
    make_writer, proxy, store, size, limits, step
):
    checked = []

    def check_fence():
        assert KEY not in store.objects()
        checked.append(len(proxy.seen()))

    with make_writer(limits=limits) as writer:
        writer.write(some_bytes(size))
        writer.publish({}, check_fence)
    (before,) = checked
    assert (proxy.seen()[before].operation, proxy.seen()[before].key) == (step, KEY)
    assert KEY in store.objects()


@pytest.mark.parametrize(("size", "limits"), [(10, None), (PART + 10, None), (PART + 10, COPY_IN_PARTS)])
def test_a_lost_lease_publishes_nothing_and_leaves_nothing(make_writer, proxy, store, size, limits):
    def check_fence():
        raise LeaseLost("taken over")

    with make_writer(limits=limits) as writer:
        writer.write(some_bytes(size))
        with pytest.raises(LeaseLost):
            writer.publish({}, check_fence)
    made_visible = [
        request
        for request in proxy.seen()
        if request.key == KEY and request.operation in {"PutObject", "CopyObject", "CompleteMultipartUpload"}
    ]
    assert made_visible == []
    store.assert_empty()


@pytest.mark.parametrize(("size", "limits"), [(10, None), (PART + 10, None), (PART + 10, COPY_IN_PARTS)])
def test_private_is_what_s3_gives_by_itself(make_writer, proxy, store, size, limits):
    """The proxy's buckets enforce their owner: they refuse to be asked for `private`, and no request goes twice."""
    data = some_bytes(size)
    with make_writer(limits=limits) as writer:
        writer.write(data)
        writer.publish({"rows": "12"}, nothing)
    assert [request for request in proxy.seen() if "x-amz-acl" in request.headers] == []
    assert len({(request.operation, request.key, request.part) for request in proxy.seen()}) == len(proxy.seen())
    assert_delivered(store, data)


def test_another_acl_is_never_left_out(make_writer, proxy, store):
    proxy.fail("PutObject", Answer(400, "AccessControlListNotSupported"))
    with make_writer(acl="bucket-owner-full-control") as writer:
        writer.write(b"x")
        with pytest.raises(DeliveryRefused, match="AccessControlListNotSupported"):
            writer.publish({}, nothing)
    assert len(proxy.seen("PutObject")) == 1
    store.assert_empty()


@pytest.mark.parametrize("limits", [None, COPY_IN_PARTS])
def test_checksums_are_agreed_on_where_the_client_sends_any(make_writer, target, proxy, store, limits):
    """The proxy refuses parts and completions with other checksums than those that their upload was created for."""
    sends = target.client.meta.config.request_checksum_calculation == "when_supported"
    data = some_bytes(2 * PART + 1)
    with make_writer(limits=limits) as writer:
        writer.write(data)
        writer.publish({"rows": "12"}, nothing)
    creates = proxy.seen("CreateMultipartUpload")
    assert len(creates) == (1 if limits is None else 2)
    for create in creates:
        assert create.headers.get("x-amz-checksum-algorithm") == ("CRC32" if sends else None)
    assert [("x-amz-checksum-crc32" in part.headers) for part in proxy.seen("UploadPart")] == [sends] * 3
    assert_delivered(store, data)


def test_a_slow_s3_holds_the_writer_back(make_writer, proxy, store):
    gate = proxy.hold("UploadPart")
    block = some_bytes(MIB)
    limits = Limits(part_bytes=PART, threads=2)
    written = threading.Event()

    def write():
        with make_writer(limits=limits) as writer:
            writers.append(writer)
            for _ in range(40):
                writer.write(block)
            written.set()
            writer.publish({"rows": "12"}, nothing)

    writers = []
    thread = threading.Thread(target=write)
    thread.start()
    proxy.wait_for("UploadPart", limits.threads)
    # Two parts under way and a full third one may be held. That no more comes is no event: it is watched for a while.
    assert not written.wait(0.5)
    assert writers[0].bytes_written <= (limits.threads + 1) * PART
    assert len(proxy.seen("UploadPart")) == limits.threads
    gate.set()
    thread.join(60)
    assert not thread.is_alive()
    assert_delivered(store, block * 40)


def test_memory_does_not_grow_with_the_file(make_writer):
    block = some_bytes(MIB)
    limits = Limits(part_bytes=PART, threads=2)
    peaks = []
    for size in (20, 60):
        tracemalloc.start()
        with make_writer(key=f"{size}-mib", limits=limits) as writer:
            for _ in range(size):
                writer.write(block)
            writer.publish({}, nothing)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # The proxy runs in this process and holds a copy of each part under way, twice while it reads it, and once more
    # while it takes the chunks apart in which a client sends to AWS.
    assert max(peaks) < (1 + 4 * limits.threads) * PART * 1.25
    assert peaks[1] < peaks[0] * 1.25


def test_leaving_without_publishing_leaves_nothing(make_writer, store):
    with make_writer() as writer:
        writer.write(some_bytes(2 * PART))
        writer.write(b"x")
    store.assert_empty()
    with pytest.raises(DeliveryFailed, match="aborted"):
        writer.write(b"x")
    with pytest.raises(DeliveryFailed, match="aborted"):
        writer.publish({}, nothing)


def test_aborting_before_anything_was_sent_sends_nothing(make_writer, proxy):
    with make_writer() as writer:
        writer.write(b"x")
    assert writer.discard()
    assert proxy.seen() == []


def test_abort_leaves_a_published_object_alone(make_writer, store):
    with make_writer() as writer:
        writer.write(b"x")
        writer.publish({"rows": "12"}, nothing)
        assert writer.discard()
    assert_delivered(store, b"x")
    with pytest.raises(ValueError, match="published"):
        writer.publish({}, nothing)


def test_parts_smaller_than_s3_takes_are_refused_at_once(make_writer):
    with pytest.raises(ValueError, match="5242880"):
        make_writer(limits=Limits(part_bytes=PART - 1))


def test_a_versioned_bucket_keeps_no_version_of_the_staging_object(make_writer, store):
    store.version()
    data = some_bytes(PART + 1)
    with make_writer() as writer:
        writer.write(data)
        writer.publish({"rows": "12"}, nothing)
    assert store.versions() == [KEY]
    assert_delivered(store, data)
