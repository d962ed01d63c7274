"""What is declared is what is used: dependencies, imports and the decision record that names each of them."""

from __future__ import annotations

import ast
import functools
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from typing import TYPE_CHECKING

import pytest

from tests.unit.docs_helpers import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = ("vfexport_core", "vfexport_dagster")
DECISION = next((ROOT / "docs" / "adr").glob("0007-*.md"))

NOT_IMPORTED = {"dagster-webserver": "a program", "fastapi-offline": "only its files are read"}

LENT = {
    "alembic": "dagster",
    "botocore": "boto3",
    "pydantic-core": "pydantic",
    "sqlalchemy": "dagster",
    "starlette": "fastapi",
    "universal-pathlib": "dagster",
    "werkzeug": "moto",
}
"""Imported although another distribution, which is declared, brings it along in the version that it needs."""


def declared(requirements: list[str]) -> set[str]:
    return {normal(re.split(r"[\[<>=!~ ]", requirement, maxsplit=1)[0]) for requirement in requirements}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


NEEDED = declared(PROJECT["dependencies"])
EXTRAS = {extra: declared(requirements) for extra, requirements in PROJECT["optional-dependencies"].items()}


@functools.cache
def imported(*, embedded: bool) -> list[set[str]]:
    """Return the distributions of each module that our own import, other than for type checkers alone."""
    owners = packages_distributions()
    ours = {*PACKAGES, *sys.stdlib_module_names}
    modules = {name for path in sources(embedded=embedded) for name in runtime_imports(path)}
    return [{LENT.get(normal(owner), normal(owner)) for owner in owners[name]} for name in modules - ours]


def sources(*, embedded: bool) -> Iterator[Path]:
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            if path.is_relative_to(ROOT / "vfexport_core" / "embedded") == embedded:
                yield path


def runtime_imports(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    for node in outside_type_checking(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name.partition(".")[0] for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.partition(".")[0]
            case _:
                pass


def outside_type_checking(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from outside_type_checking(child)


@pytest.mark.parametrize(("embedded", "allowed"), [(False, NEEDED | EXTRAS["deploy"]), (True, NEEDED | EXTRAS["demo"])])
def test_every_import_is_of_a_declared_dependency(*, embedded: bool, allowed: set[str]) -> None:
    assert [owners for owners in imported(embedded=embedded) if not owners & allowed] == []


def test_every_declared_dependency_is_imported_or_has_another_use() -> None:
    used = set().union(*imported(embedded=False))

    assert NEEDED - used == set(NOT_IMPORTED)


@pytest.mark.parametrize("name", sorted(NEEDED | set().union(*EXTRAS.values())))
def test_the_decision_names_every_dependency(name: str) -> None:
    words = {normal(word) for word in re.findall(r"[A-Za-z0-9][\w.-]*\w", DECISION.read_text())}

    assert name in words


@pytest.mark.xdist_group("of one test")
def test_the_tests_of_a_group_stay_in_one_process(request: pytest.FixtureRequest) -> None:
    """With some pairs of versions xdist forgets the groups: each test would start a running service of its own."""
    if not request.config.getoption("loadgroup", default=False):
        pytest.skip("only where tests run as groups in several processes")
    assert request.node.nodeid.endswith("@of one test")
