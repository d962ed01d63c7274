from __future__ import annotations

import pytest

from tests.integration.storage.conftest import ATTEMPTS
from tests.s3_faults import SLOW_DOWN, Answer
from vfexport_core.errors import DeliveryFailed, DeliveryRefused
from vfexport_core.storage.object_keys import staging_key
from vfexport_core.storage.s3 import cleanup
from vfexport_core.storage.s3.cleanup import abort_uploads, discard, discard_attempt, remove


def begin_upload(store, key):
    store.client.create_multipart_upload(Bucket=store.bucket, Key=key)


def test_remove_takes_exactly_the_given_keys(store, target):
    for key in ("a", "ab", "b", "é/日.csv", "c"):
        store.put(key)
    remove(target, ["a", "é/日.csv", "c", "absent"])
    assert store.objects() == ["ab", "b"]


def test_remove_of_nothing_sends_nothing(proxy, target):
    remove(target, [])
    assert proxy.seen() == []


def test_remove_takes_every_version_and_marker(store, target):
    store.version()
    for _ in range(3):
        store.put("a")
    store.client.delete_object(Bucket=store.bucket, Key="a")
    store.put("ab")
    assert len(store.versions()) == 5
    remove(target, ["a"])
    assert store.versions() == ["ab"]


def test_many_objects_are_deleted_in_groups(store, target, proxy, monkeypatch):
    monkeypatch.setattr(cleanup, "_DELETE_AT_ONCE", 3)
    keys = [f"k{number}" for number in range(7)]
    for key in keys:
        store.put(key)
    remove(target, keys)
    assert len(proxy.seen("DeleteObjects")) == 3
    store.assert_empty()


def test_a_multi_object_delete_has_the_digest_that_the_store_wants(store, target, proxy):
    """The proxy refuses one without: AWS takes any, stores that are older than its new ones want Content-MD5."""
    for key in ("a", "b"):
        store.put(key)
    remove(target, ["a", "b"])
    (request,) = proxy.seen("DeleteObjects")
    is_aws = request.headers["host"].endswith(".amazonaws.com")
    assert ("content-md5" in request.headers) is not is_aws
    store.assert_empty()


def not_deleted(key, code):
    """Return an answer to a DeleteObjects that fails for one object: status 200, and the proxy deletes none."""
    error = f"<Error><Key>{key}</Key><VersionId>null</VersionId><Code>{code}</Code></Error>"
    return Answer(200, body=f"<DeleteResult>{error}</DeleteResult>")


def test_only_objects_that_failed_to_be_deleted_are_tried_again(store, target, proxy):
    proxy.fail("DeleteObjects", not_deleted("b", "InternalError"), times=ATTEMPTS - 1)
    for key in ("a", "b"):
        store.put(key)
    remove(target, ["a", "b"])
    assert len(proxy.seen("DeleteObjects")) == ATTEMPTS
    assert store.objects() == ["a"]  # which was said to be deleted


@pytest.mark.parametrize(
    ("code", "error", "attempts"), [("InternalError", DeliveryFailed, ATTEMPTS), ("AccessDenied", DeliveryRefused, 1)]
)
def test_objects_that_stay_are_an_error(store, target, proxy, code, error, attempts):  # noqa: PLR0917 fixtures
    proxy.fail("DeleteObjects", not_deleted("b", code))
    for key in ("a", "b"):
        store.put(key)
    with pytest.raises(error, match=f"DeleteObjects left 1 of 2: {code}"):
        remove(target, ["a", "b"])
    assert len(proxy.seen("DeleteObjects")) == attempts


def test_uploads_are_aborted_by_exact_key(store, target):
    for key in ("a", "a", "ab", "b"):
        begin_upload(store, key)
    abort_uploads(target, ["a", "b", "absent"])
    assert store.uploads() == ["ab"]


def test_discard_leaves_neither_uploads_nor_objects(store, target):
    for key in ("a", "ab"):
        store.put(key)
        begin_upload(store, key)
    discard(target, ["a"])
    assert (store.uploads(), store.objects()) == (["ab"], ["ab"])
    discard(target, ["a"])


def test_discard_fails_when_s3_does(store, target, proxy):
    store.put("a")
    proxy.fail("DeleteObjects", SLOW_DOWN, times=ATTEMPTS)
    with pytest.raises(DeliveryFailed, match="SlowDown"):
        discard(target, ["a"])
    discard(target, ["a"])
    store.assert_empty()


def test_a_lost_attempt_leaves_nothing_and_others_stay(store, target):
    """As after kill -9: parts, staged objects and published ones of attempt 1; and what other attempts have."""
    for number in (1, 2):
        store.put(staging_key("e", 1, number))
        begin_upload(store, staging_key("e", 1, number))
    for key in ("final-1", "final-2"):
        store.put(key, owner="e")
        begin_upload(store, key)
    others = [staging_key("e", 11, 1), staging_key("e2", 1, 1), "final-3"]
    for key in others:
        store.put(key)
        begin_upload(store, key)
    discard_attempt(target, "e", 1, ["final-1", "final-2"])
    assert sorted(store.objects()) == sorted(others)
    assert sorted(store.uploads()) == sorted(others)


@pytest.mark.parametrize("versioned", [False, True])
def test_an_object_of_another_export_under_the_same_key_stays(store, target, versioned):
    """Keys that SFMC looks for name no export: what another has put there is not ours to delete."""
    if versioned:
        store.version()
        store.put("part", owner="mine")
    store.put("part", body=b"another's", owner="another")
    store.put("mine-part", owner="mine")
    discard(target, ["part", "mine-part"], "mine")
    assert store.read("part") == b"another's"
    assert store.versions() == ["part"]


def test_an_object_that_does_not_say_whose_it_is_stays(store, target):
    store.put("part")
    remove(target, ["part"], "mine")
    assert store.objects() == ["part"]


def test_what_is_ours_alone_goes_with_its_delete_markers(store, target):
    store.version()
    store.put("part", owner="mine")
    store.client.delete_object(Bucket=store.bucket, Key="part")
    remove(target, ["part"], "mine")
    store.assert_empty()


def test_a_key_is_not_touched_while_it_is_unknown_whose_object_is_there(store, target, proxy):
    store.put("part", owner="mine")
    proxy.fail("HeadObject", SLOW_DOWN, times=ATTEMPTS)
    with pytest.raises(DeliveryFailed):
        remove(target, ["part"], "mine")
    assert store.objects() == ["part"]
    remove(target, ["part"], "mine")
    store.assert_empty()
