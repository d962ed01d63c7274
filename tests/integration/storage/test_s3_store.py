"""S3 keeps every promise of a store: with a client as made for an address of one's own, and as made for AWS."""

from __future__ import annotations

import pytest

from tests.servers import require_embedded_s3
from tests.small_parts import SMALLEST, small_limits
from tests.store_contract import StoreContract
from vfexport_core.storage.s3.s3_store import S3Store


class Bucket:
    """A store in a bucket, looked at with a client of its own."""

    def __init__(self, store, target, limits):
        self.direct = store
        self.store = S3Store(target, target, limits)

    def objects(self):
        return sorted(self.direct.objects())

    def there(self):
        return sorted([*self.direct.objects(), *self.direct.uploads()])

    def read(self, key):
        return self.direct.read(key)

    def metadata(self, key):
        return self.direct.head(key)["Metadata"]

    def put(self, key, data, owner):
        self.direct.put(key, data, owner)


class TestS3Store(StoreContract):
    @pytest.fixture(params=["copied at once", "copied in parts"])
    def looked(self, request, store, target):
        require_embedded_s3("not every store heeds the condition of a copy or a completion")
        copies = {"copy_single_bytes": 1, "copy_part_bytes": SMALLEST} if "parts" in request.param else {}
        return Bucket(store, target, small_limits(**copies))
