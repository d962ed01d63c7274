"""The version of the schema goes with what is set up."""

from __future__ import annotations

import hashlib

from bson import json_util

from vfexport_core.services.initialise import OLDEST_VERSION, OWNED, SCHEMA_VERSION

DIGESTS = {1: "90a3bed7354457df", 2: "8d6af8a7407b8ab5", 3: "f83b4ece473005b3"}


def test_a_change_of_what_is_set_up_raises_the_version() -> None:
    """Add the next version and its digest here, raise SCHEMA_VERSION, and see to it that the one before still works."""
    definitions = [
        [owned.collection, owned.validator, sorted(json_util.dumps(index.document) for index in owned.indexes)]
        for owned in OWNED
    ]
    digest = hashlib.sha256(json_util.dumps(definitions, sort_keys=True).encode()).hexdigest()[:16]
    assert DIGESTS[SCHEMA_VERSION] == digest


def test_the_version_before_still_works() -> None:
    assert max(DIGESTS) == SCHEMA_VERSION
    assert max(1, SCHEMA_VERSION - 1) >= OLDEST_VERSION
