"""The port: what an export asks of wherever its files go. `storage/s3/` and `storage/local_store.py` are behind it.

::

    with store.begin(NewObject(key=..., staging_key=..., ...)) as writer:
        writer.write(block)                                  # as often as needed
        writer.publish({"row-count": "12"}, check_fence)     # leaving the block without this leaves nothing

Several objects that are to appear together: write and `stage` each, then `publish` each; when one fails, `discard` the
rest and `remove` those published. What every store promises is tested on all of them (tests/store_contract.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from typing_extensions import Buffer

    from vfexport_core.errors import DeliveryFailed, DeliveryRefused

SHA256 = "sha256"
"""The metadata that every store adds to what it is given: the digest of the object's bytes, in hex."""

PIECE_BYTES = 2**20
"""How many bytes of an object are read at a time."""

GRACE_SECONDS = 10.0
"""How long what is under way for a writer may take when it is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewObject:
    """An object that is to be written.

    `staging_key` is where it is put together, visible to nobody; `metadata` is what is known of it from the beginning.
    """

    key: str
    staging_key: str
    acl: str = "private"
    content_type: str = "application/octet-stream"
    content_disposition: str = "attachment"
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One version of what is (or was) under a key; `version_id` is None where only the key is known."""

    key: str
    version_id: str | None = None


class ObjectWriter(Protocol):
    """Writes one object. Its methods raise DeliveryFailed, DeliveryRefused and what `check_fence` does.

    After an error or an interrupt a writer can only be discarded. Not for use by several threads, but `discard` may be
    called from any.
    """

    @property
    def key(self) -> str: ...

    @property
    def bytes_written(self) -> int: ...

    @property
    def sha256(self) -> str:
        """The digest of everything written so far, in hex."""
        ...

    @property
    def is_drained(self) -> bool:
        """Whether nothing is under way that could have its effect later."""
        ...

    def write(self, block: Buffer, /) -> int:
        """Take the next bytes (they are copied) and return how many; waits while the store is slower than that."""
        ...

    def stage(self) -> None:
        """Bring all bytes to the store, visible to nobody; afterwards the writer holds none of them."""
        ...

    def publish(self, metadata: Mapping[str, str], check_fence: Callable[[], object]) -> None:
        """Make the object visible under its key, complete, with all metadata, unless there is another object.

        `check_fence` is called directly before the one step that does so, and again before each repetition of it.
        """
        ...

    def discard(self, grace_seconds: float = GRACE_SECONDS) -> bool:
        """Leave nothing of an unpublished object; does nothing once it is published. May be called again.

        Waits up to `grace_seconds` for what is under way, so that none of it has its effect after the cleaning. False
        when something may be left: another `discard`, or `discard_attempt`, finds it later.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class ObjectStore(Protocol):
    """The objects of one bucket. Every method raises DeliveryFailed (it may pass) or DeliveryRefused (it will not).

    Where a method takes `stop`, nothing is begun any more once it is set.
    """

    @property
    def name(self) -> str: ...

    def begin(self, new: NewObject) -> ObjectWriter:
        """Return the writer of a new object; nothing is in the store yet."""
        ...

    def sign(self, key: str, seconds: int, download_name: str | None = None) -> str:
        """Return an address that downloads an object without credentials, for `seconds` where the store can limit it.

        `download_name` replaces the file name that is kept with the object. The store is not asked anything.
        """
        ...

    def read(self, key: str) -> Iterator[bytes]:
        """Yield the bytes of an object; raises DeliveryRefused when there is none, also in the middle of it."""
        ...

    def list(self, keys: Iterable[str], stop: threading.Event | None = None) -> dict[str, list[ObjectVersion]]:
        """Return every version of those of exactly these keys that have any; raises when it cannot be known."""
        ...

    def delete(
        self, versions: Sequence[ObjectVersion], stop: threading.Event | None = None
    ) -> dict[str, DeliveryFailed | DeliveryRefused]:
        """Delete these versions for good; return the keys of which one is left, each with why."""
        ...

    def remove(self, keys: Sequence[str], owner: str | None = None) -> None:
        """Delete what is under exactly these keys, as far as it is the export's with id `owner`, if that is given."""
        ...

    def abort_uploads(self, keys: Sequence[str], stop: threading.Event | None = None) -> None:
        """Take away what was begun under exactly these keys and not completed."""
        ...

    def discard_attempt(
        self, export_id: str, attempt: int, keys: Sequence[str], stop: threading.Event | None = None
    ) -> None:
        """Leave nothing of a lost attempt: its `keys` (as noted before it published) and all that it had staged."""
        ...
