"""Requests that are wrong, and the answers that say so; all of it before the database is asked."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.exceptions import RequestValidationError

from tests.api_client import Api, running_api
from tests.api_tokens import CAMPAIGN, make_settings, signed
from vfexport_core.api.errors import request_error
from vfexport_core.api.requests import LARGEST_BODY, parse_body
from vfexport_core.api.schemas import NewExport
from vfexport_core.catalog import CATALOG, Registry
from vfexport_core.errors import VfexportError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

PATH = f"/campaigns/{CAMPAIGN}/exports"
ENTRIES, SCORING = CATALOG.find("entries"), CATALOG.find("scoring")
WAVES = replace(ENTRIES, type="codeWaves", needs_date_key=True)
TYPES = Registry([ENTRIES, SCORING, WAVES])


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with running_api(make_settings(admin_page=False), catalog=TYPES) as api:  # there is nothing at / then
        yield api


def post(api: Api, body: Any, **options: Any) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} | options.pop("headers", {})
    return api.post(PATH, token=signed(), content=content, headers=headers, **options)


def problem(response: httpx.Response) -> tuple[int, str, str | None]:
    error = response.json()["error"]
    return response.status_code, error["code"], error["payload"]


WRONG_BODIES: dict[str, tuple[Any, str, str | None]] = {
    "empty": (b"", "InvalidRequest", "body"),
    "not json": (b"{", "InvalidRequest", "body"),
    "trailing text": (b'{"exportType":"entries"} x', "InvalidRequest", "body"),
    "a comment": (b'{"exportType":"entries"/**/}', "InvalidRequest", "body"),
    "an array": ([{"exportType": "entries"}], "InvalidRequest", "body"),
    "a string": ("entries", "InvalidRequest", "body"),
    "null": (None, "InvalidRequest", "body"),
    "a number": (1, "InvalidRequest", "body"),
    "a huge number": (b'{"exportType":' + b"9" * 5_000 + b"}", "InvalidRequest", "body"),
    "nan": (b'{"exportType":NaN}', "InvalidRequest", "body"),
    "utf-16": ('{"exportType":"entries"}'.encode("utf-16"), "InvalidRequest", "body"),
    "a byte order mark": (b'\xef\xbb\xbf{"exportType":"entries"}', "InvalidRequest", "body"),
    "bad utf-8": (b'{"exportType":"\xff"}', "InvalidRequest", "body"),
    "deep array": (b'{"exportType":' + b"[" * 30_000 + b"]" * 30_000 + b"}", "InvalidRequest", "body"),
    "deep object": (b'{"exportType":' + b'{"a":' * 900 + b"1" + b"}" * 901, "InvalidRequest", "body"),
    "a key twice": (b'{"exportType":"entries","exportType":"scoring"}', "InvalidRequest", "exportType"),
    "a key twice inside": (b'{"exportType":{"a":1,"a":2}}', "InvalidRequest", "a"),
    "no type": ({}, "InvalidRequest", "exportType"),
    "no type but a date": ({"dateKey": "1"}, "InvalidRequest", "exportType"),
    "an unknown field": ({"exportType": "entries", "$where": "1"}, "InvalidRequest", "$where"),
    "a field in another case": ({"exporttype": "entries"}, "InvalidRequest", "exporttype"),
    "a long unknown field": ({"x" * 5_000: 1}, "InvalidRequest", "x" * 64),
    "half a surrogate as a field": (b'{"\\ud800":1}', "InvalidRequest", "?"),
    "an unknown type": ({"exportType": "everything"}, "InvalidExportType", "everything"),
    "a type in another case": ({"exportType": "ENTRIES"}, "InvalidExportType", "ENTRIES"),
    "an operator": ({"exportType": {"$ne": None}}, "InvalidExportType", None),
    "a type list": ({"exportType": ["entries"]}, "InvalidExportType", None),
    "type null": ({"exportType": None}, "InvalidExportType", None),
    "type true": ({"exportType": True}, "InvalidExportType", None),
    "type number": ({"exportType": 0}, "InvalidExportType", None),
    "type empty": ({"exportType": ""}, "InvalidExportType", None),
    "type with nul": ({"exportType": "entries\0"}, "InvalidExportType", None),
    "the longest name": ({"exportType": "y" * 64}, "InvalidExportType", "y" * 64),
    "an address as a type": ({"exportType": "fan@example.com"}, "InvalidExportType", None),
    "a type with a line end": ({"exportType": "entries\n"}, "InvalidExportType", None),
    "a long type": ({"exportType": "y" * 65}, "InvalidExportType", None),
    "half a surrogate as a type": (b'{"exportType":"\\ud800"}', "InvalidExportType", None),
    "date null": ({"exportType": "codeWaves", "dateKey": None}, "InvalidDateKey", "dateKey"),
    "date number": ({"exportType": "codeWaves", "dateKey": 1700000000000}, "InvalidDateKey", "dateKey"),
    "date operator": ({"exportType": "codeWaves", "dateKey": {"$gt": ""}}, "InvalidDateKey", "dateKey"),
    "date empty": ({"exportType": "codeWaves", "dateKey": ""}, "InvalidDateKey", "dateKey"),
    "date signed": ({"exportType": "codeWaves", "dateKey": "-1"}, "InvalidDateKey", "dateKey"),
    "date with a line end": ({"exportType": "codeWaves", "dateKey": "1\n"}, "InvalidDateKey", "dateKey"),
    "date in other digits": ({"exportType": "codeWaves", "dateKey": "١٢"}, "InvalidDateKey", "dateKey"),
    "date too long": ({"exportType": "codeWaves", "dateKey": "1" * 33}, "InvalidDateKey", "dateKey"),
    "date where none is needed": ({"exportType": "entries", "dateKey": "x"}, "InvalidDateKey", "dateKey"),
    "markets text": ({"exportType": "entries", "includeAllMarkets": "true"}, "InvalidRequest", "includeAllMarkets"),
    "markets number": ({"exportType": "entries", "includeAllMarkets": 1}, "InvalidRequest", "includeAllMarkets"),
    "markets null": ({"exportType": "entries", "includeAllMarkets": None}, "InvalidRequest", "includeAllMarkets"),
    "markets in vain": ({"exportType": "scoring", "includeAllMarkets": True}, "InvalidRequest", "includeAllMarkets"),
}


@pytest.mark.parametrize(("body", "code", "payload"), WRONG_BODIES.values(), ids=WRONG_BODIES)
def test_a_wrong_body_is_refused(api: Api, body: Any, code: str, payload: str | None) -> None:
    assert problem(post(api, body)) == (400, code, payload)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"x": 1}', b"{}"])
def test_a_refusal_shows_a_body_that_would_do(body: bytes) -> None:
    with running_api(make_settings(dev_mode=True)) as api:
        error = api.post("/dev/token", content=body).json()["error"]
        shown = json.loads(re.search(r"\{.*\}", error["hint"])[0])
        assert error["code"] == "InvalidRequest"
        assert api.post("/dev/token", json=shown).status_code == 200


@pytest.mark.parametrize("body", [{"exportType": "scoring", "includeAllMarkets": False}, {"exportType": "entries"}])
def test_a_right_body_is_read(body: dict[str, Any]) -> None:
    read = parse_body(NewExport, json.dumps(body).encode())
    assert (read.export_type, read.date_key, read.include_all_markets) == (body["exportType"], None, False)


def test_a_wave_is_read() -> None:
    body = b'{"exportType": "codeWaves", "dateKey": "1700000000000", "includeAllMarkets": true}'
    read = parse_body(NewExport, body)
    assert (read.export_type, read.date_key, read.include_all_markets) == ("codeWaves", "1700000000000", True)


def test_a_body_that_is_too_large_is_refused(api: Api) -> None:
    def padded(size: int) -> bytes:
        return b'{"x":"' + b"y" * (size - 8) + b'"}'

    assert problem(post(api, padded(LARGEST_BODY))) == (400, "InvalidRequest", "x")
    assert problem(post(api, padded(LARGEST_BODY + 1))) == (413, "InvalidRequest", "body")
    assert problem(post(api, b" " * 10_000_000)) == (413, "InvalidRequest", "body")


def test_many_keys_cost_little(api: Api) -> None:
    body = json.dumps({f"k{number}": 0 for number in range(5_000)}).encode()
    twice = body[:-1] + b',"k4999":1}'
    assert len(twice) <= LARGEST_BODY
    assert problem(post(api, twice)) == (400, "InvalidRequest", "k4999")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "json", ""])
def test_another_content_type_is_refused(api: Api, kind: str) -> None:
    answer = post(api, {"exportType": "nothing"}, headers={"Content-Type": kind})
    assert problem(answer) == (400, "InvalidRequest", "Content-Type")


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON"])
def test_json_by_other_spellings_is_read(api: Api, kind: str) -> None:
    answer = post(api, {"exportType": "nothing"}, headers={"Content-Type": kind})
    assert problem(answer) == (400, "InvalidExportType", "nothing")


def test_no_content_type_counts_as_json(api: Api) -> None:
    assert problem(api.post(PATH, token=signed(), content=b'{"a":1}')) == (400, "InvalidRequest", "a")


WRONG_QUERIES = {
    "limit=0": ("InvalidRequest", "limit"),
    "limit=201": ("InvalidRequest", "limit"),
    "limit=-1": ("InvalidRequest", "limit"),
    "limit=": ("InvalidRequest", "limit"),
    "limit=x": ("InvalidRequest", "limit"),
    "limit=5.0": ("InvalidRequest", "limit"),
    "limit=1_0": ("InvalidRequest", "limit"),
    "limit=%201": ("InvalidRequest", "limit"),
    "limit=%D9%A1": ("InvalidRequest", "limit"),
    "limit=" + "9" * 5_000: ("InvalidRequest", "limit"),
    "limit=1&limit=2": ("InvalidRequest", "limit"),
    "status=pending": ("InvalidRequest", "status"),
    "status=": ("InvalidRequest", "status"),
    "status[$ne]=PENDING": ("InvalidRequest", "status[$ne]"),
    "sort=name": ("InvalidRequest", "sort"),
    "sortDir=down": ("InvalidRequest", "sortDir"),
    "since=1700000000": ("InvalidRequest", "since"),
    "since=2026-01-31": ("InvalidRequest", "since"),
    "since=2026-01-31T09:30:00": ("InvalidRequest", "since"),
    "until=now": ("InvalidRequest", "until"),
    "until=": ("InvalidRequest", "until"),
    "since=9999-12-31T23:59:59-12:00": ("InvalidRequest", "since"),
    "sort_dir=asc": ("InvalidRequest", "sort_dir"),
    "page=2": ("InvalidRequest", "page"),
    "dateKey=1": ("InvalidRequest", "dateKey"),
    "exportType=everything": ("InvalidExportType", "everything"),
    "exportType=": ("InvalidExportType", None),
    "exportType=%00": ("InvalidExportType", None),
    "cursor=x": ("InvalidRequest", "cursor"),
    "cursor=": ("InvalidRequest", "cursor"),
    "cursor=%F0%9F%98%80": ("InvalidRequest", "cursor"),
    "cursor=" + "A" * 5_000: ("InvalidRequest", "cursor"),
    "cursor=..%2F..": ("InvalidRequest", "cursor"),
}


@pytest.mark.parametrize(("query", "expected"), WRONG_QUERIES.items(), ids=[query[:30] for query in WRONG_QUERIES])
def test_a_wrong_query_is_refused(api: Api, query: str, expected: tuple[str, str | None]) -> None:
    response = api.get(f"{PATH}?{query}", token=signed())
    assert problem(response) == (400, *expected)
    assert expected[0] == "InvalidExportType" or str(expected[1]) in response.json()["error"]["message"]


def test_a_refusal_does_not_offer_null_which_is_refused_as_well(api: Api) -> None:
    refused = [post(api, {"exportType": "entries", "dateKey": value}) for value in (123, "12a", None)]
    refused += [api.get(f"{PATH}?{query}", token=signed()) for query in ("status=running", "cursor=x", "since=today")]
    messages = [response.json()["error"]["message"] for response in refused]
    assert [response.status_code for response in refused] == [400] * 6
    assert not [message for message in messages if "None" in message or ";" in message]


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/campaigns", f"{PATH}/", f"{PATH}/x/y", "/docs/assets/x.js", "//", "/metrics/x"]
)
def test_unknown_paths(api: Api, path: str) -> None:
    response = api.get(path)
    assert problem(response) == (404, "NotFound", None)
    assert "location" not in response.headers


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", PATH, "GET, POST"),
        ("DELETE", PATH, "GET, POST"),
        ("POST", f"{PATH}/{CAMPAIGN}", "GET"),
        ("POST", "/heartbeat", "GET"),
        ("OPTIONS", "/export-types", "GET"),
        ("TRACE", "/ready", "GET"),
        ("POST", "/openapi.json", "GET"),
        ("DELETE", "/docs", "GET"),
        ("X" * 300, "/heartbeat", "GET"),
    ],
)
def test_other_methods(api: Api, method: str, path: str, allowed: str) -> None:
    response = api.call(method, path)
    assert problem(response) == (405, "MethodNotAllowed", None)
    assert response.headers["Allow"] == allowed


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/heartbeat", "/export-types", PATH])
def test_no_path_has_head(api: Api, path: str) -> None:
    response = api.call("HEAD", path, token=signed())
    assert response.status_code == 405
    assert "GET" in response.headers["Allow"].split(", ")


def test_no_other_page_can_frame_the_documentation(api: Api) -> None:
    policy = api.get("/docs").headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy.split("; ")


@pytest.mark.parametrize(
    "sent",
    ["", " ", "a b", "a\tb", "a" * 129, "é", "a/b", "a,b", "<script>", "a\r\nSet-Cookie: x=1", "a\nb", "a;b", "a\x00"],
)
def test_a_bad_correlation_id_is_replaced(api: Api, sent: str) -> None:
    response = api.get("/heartbeat", headers=[(b"X-Correlation-Id", sent.encode())])
    assert response.status_code == 200
    assert response.headers["X-Correlation-Id"] != sent
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize("sent", ["a", "A-z_0.9", "x" * 128, "0f8fad5b-d9cb-469f-a165-70867728950e"])
def test_a_good_correlation_id_is_kept(api: Api, sent: str) -> None:
    for path in ("/heartbeat", "/nothing", "/export-types"):
        assert api.get(path, headers={"X-Correlation-Id": sent}).headers["X-Correlation-Id"] == sent


def test_correlation_ids_are_not_repeated(api: Api) -> None:
    assert len({api.get("/heartbeat").headers["X-Correlation-Id"] for _ in range(20)}) == 20


def parse(body: bytes) -> None:
    """Parse as a route does, raising what the app's handler answers."""
    try:
        parse_body(NewExport, body)
    except RequestValidationError as error:
        raise request_error(error.errors()) from None


def test_errors_of_the_parser_quote_nothing() -> None:
    for body in (b'{"secret-value', b'{"exportType":"entries","dateKey":"secret-value"}', b"\xffsecret-value"):
        with pytest.raises(VfexportError) as caught:
            parse(body)
        assert "secret-value" not in f"{caught.value.message}{caught.value.payload}"
        assert caught.value.__cause__ is None
