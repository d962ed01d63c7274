"""Exports, queued and watched over HTTP."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from vfexport_core.embedded.synthetic import DATE_KEYS
from vfexport_core.errors import EmbeddedServerFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Mapping
    from pathlib import Path

    from vfexport_core.embedded.demo.api_client import ApiClient

POLL_SECONDS = 0.25
# A queue in which nothing moves for so long does not work.
STALLED_SECONDS = 180.0
FINISHED = "FINISHED"
_ACTIVE = ("PENDING", "TRIGGERED")


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoExport:
    """An export as the API shows it, and the bucket it goes to, by its name in S3."""

    id: str
    type: str
    bucket: str
    status: str
    rows: int
    bytes: int
    percent: float
    keys: tuple[str, ...]
    sha256: tuple[str, ...]
    seconds: float | None
    error: str | None

    @property
    def final(self) -> bool:
        return self.status not in _ACTIVE

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any], bucket: str) -> DemoExport:
        """Read the API's answer."""
        progress: dict[str, Any] = wire.get("progress", {})
        finished = wire["status"] == FINISHED
        return cls(
            id=wire["id"],
            type=wire["exportType"],
            bucket=bucket,
            status=wire["status"],
            rows=wire.get("count", 0) if finished else progress.get("rows", 0),
            bytes=wire.get("bytes", progress.get("bytes", 0)),
            percent=100.0 if finished else progress.get("percent", 0.0),
            keys=_texts(wire, "key", "keys"),
            sha256=_texts(wire, "sha256", "sha256"),
            seconds=_seconds(wire["date"]),
            error=": ".join(filter(None, (wire["error"]["code"], wire["error"]["message"])))
            if "error" in wire
            else None,
        )


def queue_exports(
    client: ApiClient, campaign_id: str, types: Collection[str], buckets: Mapping[str, str]
) -> list[DemoExport]:
    """Queue an export of each of these types that the API's catalog has, in the order of the catalog.

    `buckets` gives the S3 name of each of the catalog's buckets.
    """
    return [
        DemoExport.from_wire(
            client.request(campaign_id, kind["type"], DATE_KEYS[0] if kind["needsDateKey"] else None),
            buckets[kind["bucket"]],
        )
        for kind in client.export_types()
        if kind["type"] in types
    ]


def watch(
    client: ApiClient, campaign_id: str, queued: list[DemoExport], check: Callable[[], None], logs: Path
) -> Generator[list[DemoExport]]:
    """Yield the exports as they are now, until all are final; `check` is called in between and may raise.

    Raises EmbeddedServerFailed, naming the folder of the logs, when the queue does not move for `STALLED_SECONDS`.
    """
    buckets = {export.id: export.bucket for export in queued}
    seen, since = queued, time.monotonic()
    yield seen
    while not all(export.final for export in seen):
        check()
        time.sleep(POLL_SECONDS)
        wires = [wire for wire in client.exports(campaign_id) if wire["id"] in buckets]
        now = [DemoExport.from_wire(wire, buckets[wire["id"]]) for wire in wires]
        if now != seen:
            since = time.monotonic()
        elif time.monotonic() - since > STALLED_SECONDS:
            raise EmbeddedServerFailed(f"no export has moved for {STALLED_SECONDS:.0f} s", payload=str(logs))
        seen = now
        yield seen


def _texts(wire: Mapping[str, Any], one: str, many: str) -> tuple[str, ...]:
    value = wire.get(one, wire.get(many, ()))
    return (value,) if isinstance(value, str) else tuple(value)


def _seconds(date: Mapping[str, str]) -> float | None:
    """Return how long the run took, if it began and ended."""
    ended = [date[name] for name in ("finished", "failed", "expired", "canceled") if name in date]
    if not ended or "triggered" not in date:
        return None
    return (datetime.fromisoformat(ended[0]) - datetime.fromisoformat(date["triggered"])).total_seconds()
