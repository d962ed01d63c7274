"""A bucket that accepts every request and answers none, under a worker of its own or under Dagster's."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from tests.s3_faults import Hold
from vfexport_core.mongo.own_collections import BREAKERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.checker import Checker
    from tests.s3_proxy import S3Proxy


class Scene(Protocol):
    """What both scenes have: a checker, whose settings name the bucket, and the way to S3."""

    checker: Checker
    s3: S3Proxy


@contextmanager
def hanging(scene: Scene) -> Iterator[threading.Event]:
    """Have the bucket of most exports (`exportsS3`) hang until the event is set, at the latest on leaving."""
    bucket, gate = scene.checker.settings.buckets.exports, threading.Event()
    assert bucket is not None
    scene.s3.fail(None, Hold(gate), bucket=bucket.name)
    try:
        yield gate
    finally:
        gate.set()


def make_probe_due(scene: Scene) -> None:
    """Have somebody ask at once whether the bucket answers again."""
    past = datetime(2020, 1, 1, tzinfo=UTC)
    scene.checker.database[BREAKERS].update_many({}, {"$set": {"probeDue": past}})
