"""A client of the API for tests: whatever the app answers is held against its own OpenAPI document.

So each test, whatever it is about, also proves that the document tells the truth about the answers it saw.
"""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.from_thread
import httpx
from bson import ObjectId
from jsonschema import Draft202012Validator
from pymongo import MongoClient

from vfexport_core.api.app import create_app
from vfexport_core.catalog import CATALOG
from vfexport_core.mongo.retry import RetryLimits
from vfexport_core.queue.models import Delivered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI
    from pymongo.database import Database

    from vfexport_core.api.container import AppContainer
    from vfexport_core.queue.models import Export
    from vfexport_core.settings import Settings

ERROR_FIELDS = {"status", "code", "message", "payload", "hint"}
CORRELATION = re.compile(r"[A-Za-z0-9._-]{1,128}")

_documents: dict[tuple[Any, ...], dict[str, Any]] = {}


class Api:
    """Speaks ASGI with the app on an event loop in another thread; `call` is synchronous."""

    def __init__(self, app: FastAPI, portal: anyio.from_thread.BlockingPortal) -> None:
        self.app = app
        self.services: AppContainer = app.state.container
        self.document = document_of(app)
        self.answers: set[tuple[str, str, int]] = set()
        self._portal = portal
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://api")

    def token(self, *campaigns: object, user_id: str = "admin-1", supreme: bool = False) -> str:
        """Make a token that allows REPORT for these campaigns."""
        assert self.services.access.signer is not None
        permissions = {str(campaign): ["REPORT"] for campaign in campaigns}
        return self.services.access.signer.sign(user_id, permissions, supreme=supreme)

    def call(self, method: str, path: str, *, token: str | None = None, **options: Any) -> httpx.Response:
        headers = httpx.Headers(options.pop("headers", None))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        response = self._portal.call(partial(self._client.request, method, path, headers=headers, **options))
        check_answer(self.document, response, self.answers)
        return response

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.call("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.call("POST", path, **options)

    def close(self) -> None:
        self._portal.call(self._client.aclose)


def document_of(app: FastAPI) -> dict[str, Any]:
    """Return the app's OpenAPI document; that of the service's own types is made once: it takes most of a start."""
    container: AppContainer = app.state.container
    if container.catalog is not CATALOG:
        return app.openapi()
    kind = container.access.signer is not None, *(spec.type for spec in CATALOG.all())  # a test may add one
    if kind not in _documents:
        _documents[kind] = app.openapi()
    return _documents[kind]


@contextmanager
def running_api(*args: Any, **options: Any) -> Iterator[Api]:
    """Run an app (`create_app`'s arguments) from its start-up to its shutdown."""
    app = create_app(*args, **options)
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(app.router.lifespan_context(app)),
    ):
        api = Api(app, portal)
        yield api
        api.close()


@contextmanager
def api_without_mongodb(settings: Settings, *, seconds: float = 0.2) -> Iterator[Api]:
    """Run an app whose MongoDB is not there, and which gives up soon, so that tests of that are quick."""
    with MongoClient[dict[str, Any]]("mongodb://127.0.0.1:1", serverSelectionTimeoutMS=round(seconds * 1000)) as client:
        limits = RetryLimits(seconds)
        with running_api(settings, database=client["nothing"], ready_seconds=seconds, caller_limits=limits) as api:
            yield api


def check_answer(document: dict[str, Any], response: httpx.Response, answers: set[tuple[str, str, int]]) -> None:
    """Assert what holds for every answer: correlation id, no caching, error body, what the OpenAPI document says."""
    assert CORRELATION.fullmatch(response.headers["X-Correlation-Id"])
    if not response.request.url.path.startswith("/docs/assets/"):
        assert response.headers["Cache-Control"] == "no-store"
    if response.status_code >= 400 and response.request.method != "HEAD":
        error = response.json()["error"]
        assert set(error) == ERROR_FIELDS
        assert error["status"] == response.status_code
    method, template = response.request.method.lower(), find_template(document, response.request.url.path)
    operation = document["paths"].get(template, {}).get(method)
    if operation is None:
        assert response.status_code in {404, 405} or template is None
        return
    answers.add((method, template, response.status_code))
    described = operation["responses"].get(str(response.status_code))
    assert described is not None, f"{method} {template} does not document {response.status_code}"
    _check_headers(described, response)
    content = described.get("content")
    if content is None:
        assert response.content == b""
        return
    assert response.headers["Content-Type"] in content
    if "application/json" not in content:
        return
    schema = content["application/json"]["schema"]
    Draft202012Validator({**schema, "components": document["components"]}).validate(response.json())


def _check_headers(described: dict[str, Any], response: httpx.Response) -> None:
    documented = {name.lower() for name in described["headers"]}
    always = {"content-length", "content-type", "x-content-type-options"}
    assert set(response.headers) <= documented | always


def find_template(document: dict[str, Any], path: str) -> str | None:
    for template in document["paths"]:
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), path):
            return template
    return None


def insert_campaign(database: Database[dict[str, Any]], **fields: Any) -> str:
    campaign_id = ObjectId()
    database["campaigns"].insert_one({"_id": campaign_id, "name": "Summer Tour", "type": "standard", **fields})
    return str(campaign_id)


def run_to_end(api: Api, export: Export, *keys: str, bucket: str = "exportsS3") -> Export:
    """Take a PENDING export through its run to FINISHED, as a worker would, without a file."""
    store = api.services.queue
    claim, _ = store.claim(export.id, f"run-{export.id}")
    store.claimed(claim).set_count(40)
    store.claimed(claim).progress(40, 41, 5_000)
    digests = tuple(f"{number:064x}" for number, _ in enumerate(keys, start=1))
    meta = {"warnings": {"unknownUser": 2}}
    delivered = Delivered(bucket=bucket, keys=keys, rows=41, bytes=5_000, sha256=digests, meta=meta)
    return store.claimed(claim).finish(delivered)


class WaitedInVain(AssertionError):
    """The time is over, and nothing came; what a condition itself asserts is another matter."""


def wait_for(condition: Any, seconds: float = 200) -> Any:
    """Wait until `condition()` gives something; for what has no event to wait for (another process).

    Raises WaitedInVain.

    It is asked the less often the longer it takes: who asks without a pause takes the time of those who are to get on.
    """
    began = time.monotonic()
    while not (value := condition()):
        waited = time.monotonic() - began
        if waited >= seconds:
            raise WaitedInVain(f"waited in vain for {seconds} s")
        time.sleep(min(max(0.02, waited / 10), 0.25))
    return value
