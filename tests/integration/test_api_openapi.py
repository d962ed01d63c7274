"""The OpenAPI document tells the truth. Every other API test holds answers against it too (tests/api_client.py)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bson import ObjectId
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from tests.api_client import Api, api_without_mongodb, insert_campaign, run_to_end, running_api
from tests.api_tokens import FOREIGN_RSA_KEY, make_settings, signed
from vfexport_core.api import cursor
from vfexport_core.catalog import all_specs

if TYPE_CHECKING:
    from pymongo.database import Database

    from vfexport_core.settings import Settings

LIST, ONE = "/campaigns/{campaignId}/exports", "/campaigns/{campaignId}/exports/{exportId}"
DOCUMENTED = {
    ("post", LIST): {200, 202, 400, 401, 403, 404, 413, 500, 503},
    ("get", LIST): {200, 400, 401, 403, 404, 500, 503},
    ("get", ONE): {200, 304, 401, 403, 404, 500, 503},
    **{("post", f"{ONE}/{action}"): {202, 401, 403, 404, 409, 500, 503} for action in ("cancel", "retry")},
    ("delete", "/ccpa/users/{userId}"): {200, 400, 401, 403, 500, 503},
    ("get", "/export-types"): {200, 401, 500, 503},
    ("get", "/queue"): {200, 401, 500, 503},
    ("get", "/heartbeat"): {200, 500},
    ("get", "/ready"): {200, 500, 503},
    ("get", "/metrics"): {200, 500},
    ("post", "/dev/token"): {200, 400, 413, 500},
}


def test_the_document_is_valid_and_complete(settings: Settings) -> None:
    with running_api(settings) as api:
        served = api.get("/openapi.json").json()
    assert served == api.document
    validate(served)
    operations = {
        (method, path): {int(status) for status in operation["responses"]}
        for path, methods in served["paths"].items()
        for method, operation in methods.items()
    }
    assert operations == DOCUMENTED
    assert served["openapi"].startswith("3.1")
    assert served["components"]["securitySchemes"] == {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    }
    secured = {key for key in operations if "security" in served["paths"][key[1]][key[0]]}
    assert secured == {key for key, statuses in DOCUMENTED.items() if 401 in statuses}
    assert served["components"]["schemas"]["ExportType"]["enum"] == [spec.type for spec in all_specs()]
    assert "422" not in str(served["paths"])


def test_every_field_is_described_and_every_example_is_as_described() -> None:
    with running_api(make_settings(dev_mode=True)) as api:
        document = api.document
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        for field, described in schema.get("properties", {}).items():
            inner = schemas[described["$ref"].rpartition("/")[2]] if "$ref" in described else {}
            assert described.get("description") or inner.get("description"), (name, field)
            assert described.get("examples") or {"properties", "enum"} & inner.keys(), (name, field)
            for example in described.get("examples", ()):
                validator_of(document, described).validate(example)
        for example in schema.get("examples", ()):
            validator_of(document, schema).validate(example)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert all(parameter["description"] for parameter in operation["parameters"]), (method, path)
            for status, answer in operation["responses"].items():
                media = answer.get("content", {}).get("application/json", {})
                for example in media.get("examples", {}).values():
                    validator_of(document, media["schema"]).validate(example["value"])
                assert int(status) < 400 or media["examples"].keys() == codes_of(answer), (method, path, status)


def validator_of(document: dict[str, Any], schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": document["components"]})


def codes_of(answer: dict[str, Any]) -> set[str]:
    return set(answer["description"].rpartition(": ")[2].rstrip(".").split(", "))


def test_the_document_says_what_a_cursor_looks_like() -> None:
    with running_api(make_settings()) as api:
        (parameter,) = (one for one in api.document["paths"][LIST]["get"]["parameters"] if one["name"] == "cursor")
    pattern = re.compile(parameter["schema"]["pattern"])
    text = cursor.encode((datetime.now(UTC), str(ObjectId())), "any list")
    assert pattern.search(text)
    assert not any(map(pattern.search, (text[:-1], f"{text}A", f"{text[:-1]}+", "")))


def test_every_documented_answer_exists(settings: Settings, database: Database[dict[str, Any]]) -> None:
    with running_api(settings, ready_seconds=60) as api:
        api.services.backend.initialise()
        provoke_answers(api, insert_campaign(database))
    cut_settings = make_settings(dev_mode=True, ccpa_hash_key="key", jwt_jwks_url="http://127.0.0.1:1/keys")
    with api_without_mongodb(cut_settings) as cut_off:
        provoke_unavailability(cut_off)
    seen = api.answers | cut_off.answers
    # What no request can provoke, a bug in the service, is in test_api_failures.
    assert seen == {(*key, status) for key, statuses in DOCUMENTED.items() for status in statuses if status != 500}


def provoke_answers(api: Api, campaign: str) -> None:
    exports, token, body = f"/campaigns/{campaign}/exports", api.token("*"), {"exportType": "entries"}
    posted = api.post(exports, token=token, json=body)
    api.post(exports, token=token, json=body)
    one = posted.headers["Location"]
    tag = api.get(one, token=token).headers["ETag"]
    api.get(one, token=token, headers={"If-None-Match": tag})
    for action in ("cancel", "retry", "retry"):  # CANCELED, PENDING again, and then there is nothing to retry
        api.post(f"{one}/{action}", token=token)
    run_to_end(api, api.services.queue.get(posted.json()["id"]), "a.csv")
    api.get(one, token=token)
    api.post(f"{one}/cancel", token=token)
    api.get(exports, token=token)
    api.get(f"{exports}?limit=x", token=token)
    api.post(exports, token=token, json={})
    big = {"Content-Type": "application/json"}, b" " * 70_000
    api.post(exports, token=token, headers=big[0], content=big[1])
    api.post("/dev/token", headers=big[0], content=big[1])
    api.post("/dev/token", json={})
    api.post("/dev/token", json={"userId": "u", "permissions": {}})
    nowhere = f"/campaigns/{ObjectId()}/exports"
    no_export = f"{exports}/{ObjectId()}"
    actions = [("POST", f"{no_export}/{action}") for action in ("cancel", "retry")]
    for method, path in (("GET", nowhere), ("POST", nowhere), ("GET", no_export), *actions):
        api.call(method, path, token=token, json=body if method == "POST" else None)
        api.call(method, path, token=api.token())
        api.call(method, path)
    api.get("/export-types", token=api.token())
    for path, caller in (("nobody", api.token(supreme=True)), ("%0A", api.token(supreme=True)), ("nobody", token)):
        api.call("DELETE", f"/ccpa/users/{path}", token=caller)
    api.call("DELETE", "/ccpa/users/nobody")
    api.get("/queue", token=api.token())
    for path in ("/export-types", "/queue", "/heartbeat", "/ready", "/metrics"):
        api.get(path)


def provoke_unavailability(api: Api) -> None:
    token, exports = api.token("*"), f"/campaigns/{ObjectId()}/exports"
    api.get(exports, token=token)
    api.get(f"{exports}/{ObjectId()}", token=token)
    api.post(exports, token=token, json={"exportType": "entries"})
    for action in ("cancel", "retry"):
        api.post(f"{exports}/{ObjectId()}/{action}", token=token)
    api.call("DELETE", "/ccpa/users/nobody", token=api.token(supreme=True))
    api.get("/queue", token=token)
    api.get("/ready")
    api.get("/export-types", token=signed(FOREIGN_RSA_KEY, headers={"kid": "foreign"}))
