"""How the modules are cut and named; who may import whom is import-linter's (pyproject.toml)."""

from __future__ import annotations

import ast
import re
from collections import Counter
from typing import TYPE_CHECKING

from tests.unit.docs_helpers import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
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

SAME_CLASSES = {
    "NewExport": "a request for an export: as it is sent, and once it is checked",
}
SAME_FUNCTIONS = {
    "cause": "why a server failed, in words that callers may read",
    "is_passing": "whether the same request to a server may succeed when it is sent again",
    "main": "a program, from its arguments to its exit status",
    "render": "the text of what is there",
    "retry": "the next attempt of an export that ended without a file",
    "scan": "the documents of a collection in raw batches",
}
"""What several classes or functions of one name are, each in its room: it is the same."""

ENTRYPOINTS = {"vfexport_core/api", "vfexport_core/cli", "vfexport_dagster"}
"""A function here bears the name of the use case that it translates a call to."""

NO_MODULES = {
    "vfexport_core/api/routes": {"router"},
    "vfexport_core/errors": {"code", "status", "hint", "payload"},
    "vfexport_dagster/startup": {"program"},
}
"""What the docstring of a package names that is no module of it: what each module or class has, or a neighbour."""


def test_modules_of_one_name_are_the_same_thing() -> None:
    paths = (ROOT / "vfexport_core").rglob("*.py")
    assert repeated(path.stem for path in paths if path.stem != "__init__") <= SAME.keys()


def test_classes_of_one_name_are_the_same_thing() -> None:
    assert repeated(name for path in sources() for name in public(path, ast.ClassDef)) == SAME_CLASSES.keys()


def test_functions_of_one_name_are_the_same_thing() -> None:
    paths = [path for path in sources() if not any(path.is_relative_to(ROOT / package) for package in ENTRYPOINTS)]
    names = (name for path in paths for name in public(path, ast.FunctionDef, ast.AsyncFunctionDef))
    assert repeated(names) == SAME_FUNCTIONS.keys()


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


def repeated(names: Iterable[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}


def public(path: Path, *kinds: type[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]) -> Iterator[str]:
    """Return the names that a module has for others: of these kinds, not within a class, no leading underscore."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, kinds) and not node.name.startswith("_"):
            yield node.name


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
