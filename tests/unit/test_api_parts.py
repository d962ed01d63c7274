"""The small parts of the API: cursors, entity tags, wire form, readiness, logs, settings for workers."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api_tokens import make_settings
from vfexport_core.api import cursor
from vfexport_core.api.presenters import entity_tag, export_json, plain, tag_matches
from vfexport_core.api.readiness import Readiness
from vfexport_core.api.server import settings_environment
from vfexport_core.errors import InvalidRequest, NoMarketsFound, SourceUnavailable, VfexportError
from vfexport_core.queue.models import Export, ExportDates, ExportStatus, Progress, iso
from vfexport_core.settings import load_settings
from vfexport_core.telemetry import context
from vfexport_core.telemetry.logs import FIELDS_KEY, JsonFormatter

CREATED = datetime(2026, 1, 31, 9, 30, 0, 5_000, tzinfo=UTC)
MILLISECONDS = st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1)).map(  # noqa: DTZ001 a time zone follows
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000, tzinfo=UTC)
)
OBJECT_IDS = st.binary(min_size=12, max_size=12).map(bytes.hex)


def make_export(**fields: Any) -> Export:
    return Export(
        **{
            "id": "c" * 24,
            "campaign_id": "a" * 24,
            "campaign_name": "Tour",
            "export_type": "codeWaves",
            "status": ExportStatus.FINISHED,
            "requester_user_id": "u",
            "correlation_id": "secret-correlation",
            "source": "api",
            "date": ExportDates(created=CREATED),
            "attempt": 2,
            "run_id": "secret-run",
            "keys": ("k.csv",),
            "sha256": {"k.csv": "ff"},
            "bytes": 3,
            "count": 4,
            **fields,
        }
    )


class TestCursor:
    @given(MILLISECONDS, OBJECT_IDS, st.text())
    def test_it_finds_its_place_again(self, created: datetime, export_id: str, scope: str) -> None:
        text = cursor.encode((created, export_id), scope)
        assert len(text) == cursor.LENGTH
        assert cursor.decode(text, scope) == (created, export_id)

    @given(st.text(), st.text())
    def test_other_texts_are_refused(self, text: str, scope: str) -> None:
        with pytest.raises(InvalidRequest):
            cursor.decode(text, scope)

    @given(MILLISECONDS, OBJECT_IDS, st.integers(0, cursor.LENGTH - 1), st.characters(codec="ascii"))
    def test_a_changed_one_is_refused(self, created: datetime, export_id: str, place: int, other: str) -> None:
        text = cursor.encode((created, export_id), "list")
        changed = text[:place] + other + text[place + 1 :]
        if changed != text and place < cursor.LENGTH - 1:  # the last character has spare bits
            with pytest.raises(InvalidRequest):
                cursor.decode(changed, "list")


class TestEntityTag:
    def test_it_changes_with_the_export_and_with_half_the_life_of_its_address(self) -> None:
        finished = export_json(make_export())
        running = export_json(make_export(status=ExportStatus.TRIGGERED))

        def tag(wire: Any, now: float) -> str:
            return entity_tag(wire, now=now, url_seconds=900)

        assert tag(finished, 0) == tag(finished, 449)
        assert tag(finished, 449) != tag(finished, 450)
        assert tag(running, 0) == tag(running, 1e9)
        assert tag(finished, 0) != tag(running, 0)
        assert tag(finished | {"path": "https://signed"}, 0) != tag(finished, 0)

    @pytest.mark.parametrize(
        ("header", "matches"),
        [
            (None, False),
            ("", False),
            ('W/"a"', True),
            ('"a"', True),
            ("*", True),
            ('"b", W/"a"', True),
            ('"b"', False),
            ('"b" , "a"', True),
            ("a", False),
            ('"aa"', False),
        ],
    )
    def test_if_none_match(self, header: str | None, matches: bool) -> None:
        assert tag_matches(header, 'W/"a"') is matches


class TestWire:
    def test_everything_of_a_finished_export(self) -> None:
        dates = ExportDates(created=CREATED, triggered=CREATED + timedelta(seconds=1), finished=CREATED)
        progress = Progress(read=9, rows=4, bytes=3, updated=CREATED)
        export = make_export(
            date_key="17", include_all_markets=True, date=dates, progress=progress, meta={"a": CREATED}
        )
        assert export_json(export) == {
            "id": "c" * 24,
            "campaignId": "a" * 24,
            "campaignName": "Tour",
            "exportType": "codeWaves",
            "status": "FINISHED",
            "dateKey": "17",
            "includeAllMarkets": True,
            "requesterUserId": "u",
            "date": {
                "created": "2026-01-31T09:30:00.005Z",
                "triggered": "2026-01-31T09:30:01.005Z",
                "finished": "2026-01-31T09:30:00.005Z",
            },
            "attempt": 2,
            "count": 4,
            "progress": {"read": 9, "rows": 4, "bytes": 3, "percent": 100.0},
            "meta": {"a": "2026-01-31T09:30:00.005Z"},
            "key": "k.csv",
            "bytes": 3,
            "sha256": "ff",
        }

    def test_a_failure_says_what_to_do(self) -> None:
        hints = {
            "NoMarketsFound": NoMarketsFound.hint,
            "SourceUnavailable": SourceUnavailable.hint,
            "X": VfexportError.hint,
        }
        for code, hint in hints.items():
            error = {"code": code, "message": "m", "payload": None}
            wire = export_json(make_export(status=ExportStatus.FAILED, error=error))
            assert wire["error"] == error | {"hint": hint}

    def test_nothing_internal_is_shown(self) -> None:
        error = {"code": "X", "message": "m", "payload": None, "trace": "secret-trace"}
        for status in ExportStatus:
            text = json.dumps(export_json(make_export(status=status, error=error)))
            assert "secret" not in text

    @pytest.mark.parametrize(("read", "count", "percent"), [(0, 7, 0.0), (3, 7, 42.9), (9, 7, 100.0), (3, 0, None)])
    def test_the_share_that_is_done(self, read: int, count: int, percent: float | None) -> None:
        progress = Progress(read=read, rows=0, bytes=0, updated=None)
        export = make_export(status=ExportStatus.TRIGGERED, progress=progress, count=count)
        assert export_json(export)["progress"].get("percent") == percent

    def test_dates_are_utc_with_milliseconds(self) -> None:
        assert iso(datetime.fromisoformat("2026-01-31T01:00:00+02:00")) == "2026-01-30T23:00:00.000Z"
        assert plain({1: [(CREATED, None, 1.5, object)]})["1"][0][:3] == ["2026-01-31T09:30:00.005Z", None, 1.5]


class TestReadiness:
    def test_every_check_has_an_outcome(self) -> None:
        def fail() -> None:
            raise OSError("no")

        readiness = Readiness({"good": lambda: None, "bad": fail})
        assert asyncio.run(readiness.outcomes()) == {"good": "ok", "bad": "failed"}
        readiness.close()

    def test_who_asks_soon_after_another_gets_the_same_outcomes(self) -> None:
        calls: list[str] = []

        def fail() -> None:
            calls.append("bad")
            raise OSError("no")

        readiness = Readiness({"good": lambda: calls.append("good"), "bad": fail}, fresh_seconds=600)
        for _ in range(20):
            assert asyncio.run(readiness.outcomes()) == {"good": "ok", "bad": "failed"}
        assert sorted(calls) == ["bad", "good"]
        readiness.close()
        readiness = Readiness({"good": lambda: calls.append("later")}, fresh_seconds=0)
        for _ in range(2):
            asyncio.run(readiness.outcomes())
        assert calls.count("later") == 2
        readiness.close()

    def test_a_hanging_check_is_not_begun_twice(self) -> None:
        gate, calls = threading.Event(), []

        def hang() -> None:
            calls.append(1)
            gate.wait(60)

        readiness = Readiness({"slow": hang, "quick": lambda: None}, timeout_seconds=0.05)
        for _ in range(3):
            assert asyncio.run(readiness.outcomes()) == {"slow": "timeout", "quick": "ok"}
        assert calls == [1]
        gate.set()
        readiness._timeout_seconds = 10
        asyncio.run(readiness.outcomes())
        assert asyncio.run(readiness.outcomes())["slow"] == "ok"
        readiness.close()


class TestLogs:
    def line(self, **fields: Any) -> dict[str, Any]:
        return json.loads(JsonFormatter().format(logging.makeLogRecord({"name": "n", "levelname": "INFO", **fields})))

    def test_a_line_is_json(self) -> None:
        def told() -> dict[str, Any]:
            context.enter(correlationId="trace-1")
            return self.line(msg="a\nb %s", args=("x",), **{FIELDS_KEY: {"status": 200}})

        line = contextvars.copy_context().run(told)
        assert (line["message"], line["correlationId"], line["status"]) == ("a\nb x", "trace-1", 200)
        assert line["time"].endswith("+00:00")

    def test_an_exception_shows_its_place_but_not_its_words(self) -> None:
        try:
            try:
                {}["fan@example.com"]
            except KeyError as error:
                raise ValueError("fan@example.com") from error
        except ValueError as error:
            line = self.line(msg="m", exc_info=(type(error), error, error.__traceback__))
        assert (line["exception"]["class"], line["exception"]["cause"]) == ("builtins.ValueError", "builtins.KeyError")
        assert "test_api_parts.py" in line["exception"]["frames"][0]
        assert "fan@example.com" not in json.dumps(line)


def test_workers_get_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = make_settings(
        dev_mode=True,
        buckets={"exports": {"name": "some-bucket", "secret_access_key": "s3cret"}, "sfmc": {"name": "other"}},
        regions={"US": "NA", "DE": "EU"},
        ccpa_hash_key="hash",
        ccpa_previous_hash_keys=["older", "oldest"],
        run_resources={"entries": {"cpu": "4", "memory": "3Gi"}},
        formula_guard=False,
    )
    for name, value in settings_environment(settings).items():
        monkeypatch.setenv(name, value)
    assert load_settings(None) == settings
