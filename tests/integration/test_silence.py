"""A MongoDB that says nothing: the first callers wait for it, those that come then do not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient
from pymongo.errors import AutoReconnect, NetworkTimeout

from tests.proxy import Proxy
from vfexport_core.errors import SourceUnavailable
from vfexport_core.mongo import silence
from vfexport_core.mongo.retry import RetryLimits, with_retries

if TYPE_CHECKING:
    from vfexport_core.embedded import MongoServer

CALLER = RetryLimits(4.0, silent_seconds=1.0)
WORKER = RetryLimits(1.0)


def test_after_a_silence_callers_are_answered_at_once(
    mongo_server: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "REST_SECONDS", 600.0)
    with (
        Proxy(("127.0.0.1", mongo_server.port)) as proxy,
        MongoClient[dict[str, Any]](
            proxy.host, proxy.port, directConnection=True, serverSelectionTimeoutMS=5_000
        ) as client,
    ):
        collection, asked = client["silence"]["exports"], list[str]()

        def ask(who: str, limits: RetryLimits) -> object:
            def operation() -> object:
                asked.append(who)
                return collection.find_one({})

            return with_retries(collection, operation, limits)

        ask("caller", CALLER)
        proxy.blackhole()
        with pytest.raises(SourceUnavailable):
            ask("who waits", CALLER)
        for who, limits in (("who is spared", CALLER), ("worker", WORKER)):
            with pytest.raises(SourceUnavailable):
                ask(who, limits)
        assert "who is spared" not in asked
        assert "worker" in asked
        proxy.restore()
        ask("worker", RetryLimits(30.0))
        ask("caller again", CALLER)
        assert asked[-1] == "caller again"


def test_when_the_rest_is_over_one_caller_asks(mongo_server: MongoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "REST_SECONDS", 0.0)
    with MongoClient[dict[str, Any]]("127.0.0.1", mongo_server.port) as client:
        silences = silence.Silences()
        assert not silences.spares(client, 600.0)
        silences.begin(client)
        assert [silences.spares(client, 600.0) for _ in range(3)] == [False, True, True]
        silences.end(client)
        assert not silences.spares(client, 600.0)


def test_a_server_that_has_refused_for_a_while_may_be_slow_at_first(mongo_server: MongoServer) -> None:
    """As one is that was just started: from its refusals on somebody is there."""
    limits, tries = RetryLimits(60.0, silent_seconds=1.5), list[str]()
    refuses_until = time.monotonic() + 2 * limits.until_silent

    def operation() -> str:
        if time.monotonic() < refuses_until:
            tries.append("refused")
            raise AutoReconnect("connection refused")
        if tries[-1] == "refused":
            tries.append("slow")
            raise NetworkTimeout("timed out")
        return "answered"

    with MongoClient[dict[str, Any]]("127.0.0.1", mongo_server.port) as client:
        assert with_retries(client["silence"]["exports"], operation, limits) == "answered"
    assert tries[-1] == "slow"
