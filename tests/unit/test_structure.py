"""How the modules are cut and named; who may import whom is import-linter's (pyproject.toml)."""

from __future__ import annotations

import ast
import re
from collections import Counter
from typing import TYPE_CHECKING

from tests.unit.docs_helpers import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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

NO_MODULES = {
    "vfexport_core/api/routes": {"router"},
    "vfexport_core/errors": {"code", "status", "hint", "payload"},
    "vfexport_dagster/startup": {"program"},
}
"""What the docstring of a package names that is no module of it: what each module or class has, or a neighbour."""


def test_modules_of_one_name_are_the_same_thing() -> None:
    paths = (ROOT / "vfexport_core").rglob("*.py")
    names = Counter(path.stem for path in paths if path.stem != "__init__")
    assert {name for name, count in names.items() if count > 1} <= SAME.keys()


def test_the_modules_that_a_package_says_it_has_are_there() -> None:
    missing = {
        str(package): absent
        for package, docstring in package_docstrings()
        if (absent := [name for name in re.findall(r"``([a-z]\w*)``", docstring) if not is_module(package, name)])
    }
    assert {package: set(names) for package, names in missing.items()} == NO_MODULES


def test_the_modules_that_a_docstring_refers_to_are_there() -> None:
    """Such as rows.values; what is called is the method of an object."""
    rooms = [path.parent.name for path in (ROOT / "vfexport_core").glob("*/__init__.py")]
    reference = re.compile(rf"(?<![\w.])({'|'.join(rooms)})\.([a-z]\w+)\b(?!\()")
    missing = [
        (str(path.relative_to(ROOT)), f"{room}.{name}")
        for path in sources()
        for docstring in docstrings(path)
        for room, name in reference.findall(docstring)
        if not is_module(ROOT / "vfexport_core" / room, name)
    ]
    assert missing == []


def sources() -> Iterator[Path]:
    for package in ("vfexport_core", "vfexport_dagster"):
        yield from (ROOT / package).rglob("*.py")


def docstrings(path: Path) -> Iterator[str]:
    """Return what stands by itself as a text in a module: the docstrings, of attributes too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value


def package_docstrings() -> Iterator[tuple[Path, str]]:
    for path in sources():
        if path.name == "__init__.py":
            yield path.parent.relative_to(ROOT), ast.get_docstring(ast.parse(path.read_text())) or ""


def is_module(package: Path, name: str) -> bool:
    return (ROOT / package / f"{name}.py").is_file() or (ROOT / package / name / "__init__.py").is_file()
