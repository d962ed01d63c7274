"""Server-sent events: a campaign's exports as they are, sent when they change, for a bounded time to a bounded number.

Whoever follows the same campaign shares one look at it; what MongoDB is asked does not grow with those who watch.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from vfexport_core.errors import AccessError, NotReady, TransientError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from starlette.types import Receive, Scope, Send

MEDIA_TYPE = "text/event-stream"
EXPORTS, UNAVAILABLE, SIGNED_OUT = "exports", "unavailable", "signed-out"

_RECONNECT_MILLIS = 1_000


@dataclass(frozen=True, slots=True)
class FeedLimits:
    """How often to look, how long a connection lasts and is silent, how many there may be: in all, of one subject."""

    interval_seconds: float = 1.0
    longest_seconds: float = 300.0
    most_streams: int = 100
    most_streams_each: int = 10
    silent_seconds: float = 15.0


@dataclass(slots=True)
class _Watched:
    """A campaign that somebody follows: what was last seen of it, and when."""

    followers: int = 0
    text: str = ""
    seen: float = -1e9
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class ExportFeed:
    """The streams of one process, all on its event loop; `look` reads a campaign's exports, on a thread."""

    def __init__(
        self, look: Callable[[str], Any], limits: FeedLimits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._look = look
        self._limits = limits
        self._clock = clock
        self._watched: dict[str, _Watched] = {}
        self._admitted: Counter[str] = Counter()

    @property
    def streams(self) -> int:
        """How many streams there are."""
        return self._admitted.total()

    @contextlib.contextmanager
    def admitted(self, subject: str) -> Generator[None]:
        """Count a stream of a token's subject for the block; raises NotReady when there are as many as there may be."""
        if self.streams >= self._limits.most_streams:
            raise NotReady("too many pages follow exports at the moment", payload="events", hint="Try again soon.")
        if self._admitted[subject] >= self._limits.most_streams_each:
            raise NotReady("you follow exports on too many pages", payload="events", hint="Close some of them.")
        self._admitted[subject] += 1
        try:
            yield
        finally:
            self._admitted[subject] -= 1
            if not self._admitted[subject]:
                del self._admitted[subject]

    async def events(self, campaign_id: str, check_access: Callable[[], None]) -> AsyncGenerator[str]:
        """Yield events until the time of the stream is over or `check_access`, asked before each look, raises."""
        limits, sent, began = self._limits, "", self._clock()
        with self._following(campaign_id) as watched:
            yield f"retry: {_RECONNECT_MILLIS}\n\n"
            last = self._clock()
            while self._clock() - began < self._limits.longest_seconds:
                try:
                    await run_in_threadpool(check_access)
                    event = _event(EXPORTS, await self._seen(campaign_id, watched))
                except AccessError as error:
                    yield _event(SIGNED_OUT, json.dumps({"message": error.message, "hint": error.hint}))
                    return
                except TransientError as error:
                    event = _event(UNAVAILABLE, json.dumps({"code": error.code}))
                if event != sent:
                    yield event
                    sent, last = event, self._clock()
                elif self._clock() - last >= limits.silent_seconds:
                    yield ": nothing has changed\n\n"
                    last = self._clock()
                await asyncio.sleep(limits.interval_seconds)

    @contextlib.contextmanager
    def _following(self, campaign_id: str) -> Generator[_Watched]:
        watched = self._watched.setdefault(campaign_id, _Watched())
        watched.followers += 1
        try:
            yield watched
        finally:
            watched.followers -= 1
            if not watched.followers:
                self._watched.pop(campaign_id, None)

    async def _seen(self, campaign_id: str, watched: _Watched) -> str:
        """Return the campaign's exports as JSON, no older than the interval."""
        async with watched.lock:
            if self._clock() - watched.seen >= self._limits.interval_seconds * 0.9:
                watched.text = json.dumps(await run_in_threadpool(self._look, campaign_id), ensure_ascii=False)
                watched.seen = self._clock()
            return watched.text


class EventResponse(StreamingResponse):
    """Streams a campaign's exports to one subject, if there is room: raises NotReady before anything is sent."""

    media_type = MEDIA_TYPE

    def __init__(self, feed: ExportFeed, campaign_id: str, subject: str, check_access: Callable[[], None]) -> None:
        super().__init__(feed.events(campaign_id, check_access))
        self._feed = feed
        self._subject = subject

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Here, on the event loop: admitted and counted at once, and given back however the stream ends.
        with self._feed.admitted(self._subject):
            await super().__call__(scope, receive, send)


def _event(name: str, data: str) -> str:
    """Return one event; JSON has no line ends of its own."""
    return f"event: {name}\ndata: {data}\n\n"
