"""How the modules are cut and named; who may import whom is import-linter's (pyproject.toml)."""

from __future__ import annotations

from collections import Counter

from tests.unit.docs_helpers import ROOT

SAME = {
    "app": "an entrypoint, put together",
    "audit": "the record of who asked for what",
    "backup": "what the service keeps of itself, as a file",
    "ccpa": "the deletion of a user's data",
    "delivered": "what was delivered of an export",
    "errors": "how an entrypoint tells of errors",
    "exports": "the exports, as they are asked for",
    "notifications": "what webhooks are told",
    "queue": "the queue as a whole",
    "repository": "the documents of a collection and all that changes them",
    "retention": "what is past its time",
    "schema": "the indexes and the validator of a collection",
}
"""What several modules of one name are about, each in its room: it is the same."""


def test_modules_of_one_name_are_the_same_thing() -> None:
    paths = (ROOT / "vfexport_core").rglob("*.py")
    names = Counter(path.stem for path in paths if path.stem != "__init__")
    assert {name for name, count in names.items() if count > 1} <= SAME.keys()
