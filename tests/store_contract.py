"""What every `ObjectStore` promises, as one set of tests.

A store is held to it by a test class of its own that extends `StoreContract` and says how to make an empty one and how
to look at it without the store's own code; see tests/unit/test_local_store.py.
"""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.small_parts import SMALLEST
from vfexport_core.errors import DeliveryFailed, DeliveryRefused, LeaseLost
from vfexport_core.storage.object_keys import staging_key
from vfexport_core.storage.object_store import PIECE_BYTES, NewObject, ObjectStore, ObjectVersion

if TYPE_CHECKING:
    from vfexport_core.storage.object_store import ObjectWriter

EXPORT, OTHER = "64b7f0c2a1d3e4f5a6b7c8e0", "64b7f0c2a1d3e4f5a6b7c8e1"
KEY = f"64b7f0c2a1d3e4f5a6b7c8d9/entries/Eras-Tour-20250304T050607Z-{EXPORT}.csv"
SHARED = "vf_na_registration/Artist_en-us_001.csv"
LARGE = 2 * SMALLEST + 2**10
"""More than one part of a multipart upload."""
PIECES = 2 * PIECE_BYTES + 1

each_size = pytest.mark.parametrize("size", [0, 10, LARGE], ids=["empty", "small", "large"])


class Looked(Protocol):
    """A store, and what is in it."""

    store: ObjectStore

    def objects(self) -> list[str]:
        """Return the keys that whoever lists the store is told of."""
        ...

    def there(self) -> list[str]:
        """Return the keys of all that is there: objects, and what was begun."""
        ...

    def read(self, key: str) -> bytes: ...

    def metadata(self, key: str) -> dict[str, str]: ...

    def put(self, key: str, data: bytes, owner: str) -> None:
        """Put an object there, as an export with this id would."""
        ...


def never() -> None:
    raise LeaseLost("taken over")


def content(size: int) -> bytes:
    return bytes(range(256)) * (size // 256) + bytes(size % 256)


def begin(looked: Looked, key: str = KEY, number: int = 1) -> ObjectWriter:
    metadata = {"export-id": EXPORT, "export-type": "entries"}
    return looked.store.begin(NewObject(key=key, staging_key=staging_key(EXPORT, 1, number), metadata=metadata))


def visible(looked: Looked) -> list[str]:
    return [key for key in looked.objects() if not key.startswith("_staging/")]


class StoreContract:
    """The tests; `looked` is an empty store."""

    @pytest.fixture
    def looked(self) -> Looked:
        raise NotImplementedError

    @each_size
    def test_what_was_written_appears_whole_and_with_its_metadata(self, looked: Looked, size: int) -> None:
        data, digest = content(size), hashlib.sha256(content(size)).hexdigest()
        with begin(looked) as writer:
            for start in range(0, size, 1_000_003):
                block = data[start : start + 1_000_003]
                assert writer.write(block) == len(block)
            assert visible(looked) == []
            writer.publish({"row-count": "12"}, lambda: None)
        assert (writer.key, writer.bytes_written, writer.sha256, writer.is_drained) == (KEY, size, digest, True)
        assert looked.there() == [KEY]
        assert looked.read(KEY) == data
        wanted = {"export-id": EXPORT, "export-type": "entries", "row-count": "12", "sha256": digest}
        assert looked.metadata(KEY) == wanted

    @each_size
    def test_the_fence_is_checked_before_anything_is_visible(self, looked: Looked, size: int) -> None:
        seen: list[list[str]] = []
        with begin(looked) as writer:
            writer.write(content(size))
            writer.publish({}, lambda: seen.append(visible(looked)))
        assert seen == [[]]

    @each_size
    def test_who_lost_the_fence_publishes_nothing_and_leaves_nothing(self, looked: Looked, size: int) -> None:
        with begin(looked) as writer:
            writer.write(content(size))
            with pytest.raises(LeaseLost):
                writer.publish({}, never)
        assert looked.there() == []

    @each_size
    def test_staged_is_whole_and_visible_to_nobody(self, looked: Looked, size: int) -> None:
        with begin(looked) as writer:
            writer.write(content(size))
            writer.stage()
            writer.stage()
            assert looked.there() == [staging_key(EXPORT, 1, 1)]
            assert looked.read(staging_key(EXPORT, 1, 1)) == content(size)
            with pytest.raises(ValueError, match="staged"):
                writer.write(b"more")
            writer.publish({}, lambda: None)
        assert looked.there() == [KEY]
        assert looked.read(KEY) == content(size)

    @each_size
    @pytest.mark.parametrize("is_staged", [False, True])
    def test_an_object_of_another_is_never_replaced(self, looked: Looked, size: int, is_staged: bool) -> None:
        looked.put(SHARED, b"another's", OTHER)
        with begin(looked, SHARED) as writer:
            writer.write(content(size))
            if is_staged:
                writer.stage()
            with pytest.raises(DeliveryRefused):
                writer.publish({}, lambda: None)
        assert looked.read(SHARED) == b"another's"
        assert looked.metadata(SHARED)["export-id"] == OTHER

    @each_size
    def test_leaving_without_publishing_leaves_nothing(self, looked: Looked, size: int) -> None:
        with begin(looked) as writer:
            writer.write(content(size))
        assert looked.there() == []
        assert writer.is_drained
        assert writer.discard()
        for step in (lambda: writer.write(b"x"), writer.stage, lambda: writer.publish({}, lambda: None)):
            with pytest.raises(DeliveryFailed, match="aborted"):
                step()

    def test_what_is_published_is_not_discarded(self, looked: Looked) -> None:
        with begin(looked) as writer:
            writer.publish({}, lambda: None)
            assert writer.discard()
        assert looked.there() == [KEY]
        with pytest.raises(ValueError, match="published"):
            writer.publish({}, lambda: None)

    def test_a_writer_that_failed_can_only_be_discarded(self, looked: Looked) -> None:
        with begin(looked) as writer:
            writer.write(b"x")
            with pytest.raises(LeaseLost):
                writer.publish({}, never)
            with pytest.raises(ValueError, match="broken"):
                writer.publish({}, lambda: None)
        assert looked.there() == []

    def test_a_block_may_be_used_again_once_it_is_written(self, looked: Looked) -> None:
        block = bytearray(b"first")
        with begin(looked) as writer:
            writer.write(block)
            block[:] = b"other"
            writer.write(memoryview(block))
            writer.publish({}, lambda: None)
        assert looked.read(KEY) == b"firstother"

    def test_it_lists_exactly_the_keys_that_are_there(self, looked: Looked) -> None:
        for key in ("a", "ab", "b/c"):
            looked.put(key, b"x", EXPORT)
        found = looked.store.list(["a", "b/c", "b", "absent"])
        assert sorted(found) == ["a", "b/c"]
        assert all(version.key == key for key, versions in found.items() for version in versions)

    def test_it_deletes_what_it_lists_and_nothing_else(self, looked: Looked) -> None:
        for key in ("a", "ab"):
            looked.put(key, b"x", EXPORT)
        (versions,) = looked.store.list(["a"]).values()
        assert looked.store.delete(versions) == {}
        assert looked.there() == ["ab"]
        assert looked.store.delete(versions) == {}
        assert looked.store.delete([ObjectVersion("never-there")]) == {}

    def test_it_removes_what_is_an_export_s_own(self, looked: Looked) -> None:
        looked.put(KEY, b"x", EXPORT)
        looked.put(SHARED, b"x", EXPORT)
        looked.put("shared/2", b"x", OTHER)
        looked.store.remove([KEY, SHARED, "shared/2", "absent"], EXPORT)
        assert looked.there() == ["shared/2"]
        looked.store.remove(["shared/2"])
        assert looked.there() == []

    def test_a_lost_attempt_leaves_nothing_and_others_stay(self, looked: Looked) -> None:
        with begin(looked, "part-1", 1) as staged, begin(looked, KEY, 2) as published:
            staged.write(b"x")
            staged.stage()
            published.write(b"x")
            published.publish({}, lambda: None)
            others = ["another", staging_key(EXPORT, 11, 1), staging_key(OTHER, 1, 1)]
            for key in others:
                looked.put(key, b"x", OTHER)
            looked.store.abort_uploads([KEY])
            looked.store.discard_attempt(EXPORT, 1, [KEY, "part-1", "another"])
            assert sorted(looked.there()) == sorted(others)

    def test_nothing_is_begun_any_more_once_it_is_stopped(self, looked: Looked) -> None:
        looked.put("a", b"x", EXPORT)
        stop = threading.Event()
        stop.set()
        for ask in (
            lambda: looked.store.list(["a"], stop),
            lambda: looked.store.delete([ObjectVersion("a")], stop),
            lambda: looked.store.discard_attempt(EXPORT, 1, ["a"], stop),
        ):
            with pytest.raises(DeliveryFailed, match="aborted"):
                ask()
        assert looked.there() == ["a"]

    def test_it_reads_an_object_whole_and_none_that_is_not_there(self, looked: Looked) -> None:
        looked.put(KEY, content(PIECES), EXPORT)
        assert b"".join(looked.store.read(KEY)) == content(PIECES)
        with pytest.raises(DeliveryRefused):
            list(looked.store.read(SHARED))

    def test_it_signs_an_address(self, looked: Looked) -> None:
        looked.put(KEY, b"x", EXPORT)
        assert KEY in looked.store.sign(KEY, 60)
        assert KEY in looked.store.sign(KEY, 60, "Eras Tour.csv")
