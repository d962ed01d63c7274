"""Told to end, the API says that it is not ready any more, and answers for a while."""

from __future__ import annotations

import asyncio
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from vfexport_core.api.app import create_app

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from vfexport_core.settings import Settings

pytestmark = pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread(), reason="only the main thread is told of signals"
)


@contextmanager
def server_told() -> Iterator[list[int]]:
    """Be the server that ends when it is told to; gives what it was told."""
    told: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    try:
        yield told
    finally:
        signal.signal(signal.SIGTERM, before)


def run(settings: Settings, seconds: float, look: Callable[[httpx.AsyncClient, list[int]], Awaitable[Any]]) -> None:
    app = create_app(settings.model_copy(update={"api_drain_seconds": seconds}))

    async def serve() -> None:
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://api") as client,
        ):
            await look(client, told)

    with server_told() as told:
        asyncio.run(serve())


def test_it_is_not_ready_at_once_and_answers_until_it_is_told_again(settings: Settings) -> None:
    async def look(client: httpx.AsyncClient, told: list[int]) -> None:
        assert "Connection" not in (await client.get("/heartbeat")).headers
        signal.raise_signal(signal.SIGTERM)
        ready = await client.get("/ready")
        assert (ready.status_code, ready.json()["error"]["payload"]) == (503, "stopping")
        assert ready.json()["checks"] == {}
        alive = await client.get("/heartbeat")
        assert (alive.status_code, alive.headers["Connection"]) == (200, "close")
        assert told == []
        signal.raise_signal(signal.SIGTERM)
        assert told == [signal.SIGTERM]

    run(settings, 300, look)


def test_after_a_while_it_ends(settings: Settings) -> None:
    async def look(client: httpx.AsyncClient, told: list[int]) -> None:
        signal.raise_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            while not told:  # noqa: ASYNC110 a signal handler tells it
                await asyncio.sleep(0.01)
        assert (await client.get("/heartbeat")).status_code == 200

    run(settings, 0.05, look)


def test_without_a_while_nobody_comes_before_the_server(settings: Settings) -> None:
    async def look(client: httpx.AsyncClient, told: list[int]) -> None:
        signal.raise_signal(signal.SIGTERM)
        assert told == [signal.SIGTERM]
        assert "Connection" not in (await client.get("/heartbeat")).headers

    run(settings, 0, look)
