"""Server-sent events of exports: what is sent and when, who shares a look, what ends a stream."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest

from vfexport_core.api.page.feed import EventResponse, ExportFeed, FeedLimits
from vfexport_core.errors import MissingPermissions, NotReady, SourceUnavailable, Unauthenticated

CAMPAIGN = "c" * 24


class Source:
    """What a look finds, one item after the other, the last one for ever; exceptions are raised."""

    def __init__(self, *found: Any) -> None:
        self.found = list(found)
        self.looks = 0
        self.lock = threading.Lock()

    def __call__(self, campaign_id: str) -> Any:
        assert campaign_id == CAMPAIGN
        with self.lock:
            self.looks += 1
            found = self.found.pop(0) if len(self.found) > 1 else self.found[0]
        if isinstance(found, Exception):
            raise found
        return found


class Clock:
    """A second goes by each time somebody asks."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def feed_of(source: Source, **limits: Any) -> ExportFeed:
    wanted: dict[str, Any] = {"interval_seconds": 0.0, "longest_seconds": 40.0, "silent_seconds": 1e9, **limits}
    return ExportFeed(source, FeedLimits(**wanted), Clock())


def read(feed: ExportFeed, check_access: Any = lambda: None) -> list[str]:
    async def collect() -> list[str]:
        return [text async for text in feed.events(CAMPAIGN, check_access)]

    return asyncio.run(collect())


def events(texts: list[str]) -> list[tuple[str, Any]]:
    lines = [text.splitlines() for text in texts if text.startswith("event: ")]
    assert all(len(block) == 3 for block in lines), "a name, one line of data, and the end"
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data, _ in lines]


def test_what_changes_is_sent_once_and_a_stream_ends() -> None:
    source = Source([{"id": "a"}], [{"id": "a"}], [{"id": "b\n\nevent: x"}], [])
    texts = read(feed_of(source))
    assert texts[0].startswith("retry: ")
    assert events(texts) == [("exports", [{"id": "a"}]), ("exports", [{"id": "b\n\nevent: x"}]), ("exports", [])]
    assert source.looks > 4, "it went on looking until its time was over"


def test_silence_is_broken_by_comments() -> None:
    texts = read(feed_of(Source([]), silent_seconds=5.0))
    assert len(texts) - 2 == texts.count(": nothing has changed\n\n") > 1


def test_a_source_that_is_away_is_told_of_and_looked_at_again() -> None:
    texts = read(feed_of(Source([1], SourceUnavailable("x"), SourceUnavailable("x"), [1])))
    assert [name for name, _ in events(texts)] == ["exports", "unavailable", "exports"]


@pytest.mark.parametrize("error", [Unauthenticated("it has expired"), MissingPermissions("not any more")])
def test_a_stream_ends_with_its_token(error: Exception) -> None:
    answers = iter([None, None])

    def check_access() -> None:
        if next(answers, error) is not None:
            raise error

    texts = read(feed_of(Source([1])), check_access)
    assert [name for name, _ in events(texts)] == ["exports", "signed-out"]
    assert events(texts)[-1][1]["message"] == str(error)


def test_those_who_follow_the_same_campaign_share_a_look() -> None:
    source = Source([1])
    feed = ExportFeed(source, FeedLimits(interval_seconds=1e6))

    async def follow() -> None:
        streams = [feed.events(CAMPAIGN, lambda: None) for _ in range(5)]
        for _ in range(2):  # the pause between tries, then the exports
            await asyncio.gather(*(anext(stream) for stream in streams))
        for stream in streams:
            await stream.aclose()

    asyncio.run(follow())
    assert source.looks == 1


async def answer(feed: ExportFeed, subject: str, sent: list[Any], leaves: asyncio.Event) -> None:
    """Serve a stream to a client until it `leaves`."""

    async def receive() -> dict[str, Any]:
        await leaves.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "asgi": {"spec_version": "2.3"}}
    await EventResponse(feed, CAMPAIGN, subject, lambda: None)(scope, receive, send)


def test_a_stream_counts_from_its_admission_to_its_end_in_all_and_for_its_subject() -> None:
    feed = ExportFeed(Source([1]), FeedLimits(interval_seconds=1e6, most_streams=3, most_streams_each=2))

    async def follow() -> None:
        leaves = asyncio.Event()
        refused: list[Any] = []
        async with asyncio.TaskGroup() as group:
            for subject in ("ann", "ann"):
                group.create_task(answer(feed, subject, [], leaves))
            await asyncio.sleep(0)
            with pytest.raises(NotReady, match="you follow"):
                await answer(feed, "ann", refused, leaves)
            group.create_task(answer(feed, "bob", [], leaves))
            await asyncio.sleep(0)
            with pytest.raises(NotReady, match="too many pages follow"):
                await answer(feed, "eve", refused, leaves)
            assert (feed.streams, refused) == (3, [])
            leaves.set()

    asyncio.run(follow())
    assert feed.streams == 0
