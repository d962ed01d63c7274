"""What a webhook is told of an event: JSON for machines, a line or two for people in Slack; nothing of a fan."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from vfexport_core.errors import error_class
from vfexport_core.outbound.webhook import WebhookMessage
from vfexport_core.queue.models import iso

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vfexport_core.queue.outbox import Event
    from vfexport_core.settings import Settings, WebhookSettings

TEST_TYPE = "test"
LOST_TYPE = "worker.lost"
"""An attempt's process was lost, and another attempt follows."""

_SYMBOLS = {
    "export.finished": ":white_check_mark:",
    "export.failed": ":x:",
    "export.expired": ":hourglass:",
    "export.canceled": ":no_entry_sign:",
    LOST_TYPE: ":warning:",
    "deletion.late": ":rotating_light:",
}
_LONGEST_NAME = 200
_CONTROLS = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")
_RUN_OF_DAGSTER = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def message_of(event: Event, webhook: WebhookSettings, settings: Settings) -> WebhookMessage:
    """Return the message for a webhook, in its format."""
    data = _data(event, settings)
    if webhook.format == "slack":
        content: dict[str, Any] = {"text": _text(event, data)}
    else:
        content = {"type": event.type, "timestamp": iso(event.at), "data": data}
    return WebhookMessage(event.id, json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode())


def _data(event: Event, settings: Settings) -> dict[str, Any]:
    """Return the facts of an event, with what to do about an error, and links to where more is known."""
    found = {name: iso(value) if name == "requested" else value for name, value in event.data.items()}
    code, run_id = found.pop("errorCode", None), found.pop("runId", None)
    if code is not None:
        # Nobody has to do anything about a lost worker: the next attempt follows by itself.
        hint = {} if event.type == LOST_TYPE else {"hint": error_class(code).hint}
        found["error"] = {"code": code} | hint
    links = dict(_links(found.get("campaignId"), run_id, settings))
    return found | ({"links": links} if links else {})


def _links(campaign_id: str | None, run_id: str | None, settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.page_url is not None and campaign_id is not None:
        yield "page", f"{settings.page_url.rstrip('/')}/#campaign={campaign_id}"
    if settings.dagster_url is not None and run_id is not None and _RUN_OF_DAGSTER.fullmatch(run_id):
        yield "run", f"{settings.dagster_url.rstrip('/')}/runs/{run_id}"


def _text(event: Event, data: dict[str, Any]) -> str:
    lines = [f"{_SYMBOLS.get(event.type, ':bell:')} {_headline(event, data)}"]
    if hint := data.get("error", {}).get("hint"):
        lines.append(_escaped(f"{data['error']['code']}. {hint}"))
    lines.append(" · ".join(f"<{url}|{name}>" for name, url in data.get("links", {}).items()))
    return "\n".join(filter(None, lines))


def _headline(event: Event, data: dict[str, Any]) -> str:
    if event.type == TEST_TYPE:
        return "A test: notifications of exports arrive here."
    if event.type == "deletion.late":
        return _escaped(
            f"A CCPA deletion is open since {data['requested']}: {data['deletionId']}, {data['tries']} tries"
        )
    what = f"{data['exportType']} of {_one_line(data['campaignName'])}"
    lost = event.type == LOST_TYPE
    about = [f"attempt {data['attempt']}" if lost or data["attempt"] > 1 else "", f"export {data['exportId']}"]
    if "rows" in data:
        about.insert(0, f"{data['rows']:,} rows")
    if "seconds" in data:
        about.insert(1 if "rows" in data else 0, f"{data['seconds']:,.1f} s")
    outcome = "lost its worker, the next attempt follows" if lost else data["status"]
    return f"*{_escaped(what)}* {outcome} ({', '.join(filter(None, about))})"


def _one_line(name: str) -> str:
    return _CONTROLS.sub(" ", name)[:_LONGEST_NAME]


def _escaped(text: str) -> str:
    """Escape what Slack takes for links and mentions (``<!channel>``)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
