"""The documentation says what is true: links, paths, commands, settings, errors, types."""

from __future__ import annotations

import ast
import json
import re
from typing import TYPE_CHECKING, Any

import click
import pytest
from annotated_types import Ge, Le
from pydantic import BaseModel, SecretStr
from pymongo import MongoClient

import vfexport_core.errors
from tests.unit.docs_helpers import (
    DOCS,
    OPERATIONS,
    ROOT,
    anchors,
    code_spans,
    commands,
    links,
    table,
    text_of,
)
from vfexport_core.api.app import create_app
from vfexport_core.cli.app import vfexport
from vfexport_core.errors import INTERNAL_CODE, VfexportError
from vfexport_core.settings import PREFIX, BucketSettings, BucketsSettings, Settings, WebhookSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydantic.fields import FieldInfo

every_file = pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
EXAMPLE = ROOT / "docs" / "adding-an-export-type.md"
BUCKET_NAMES = [name.upper() for name in BucketsSettings.model_fields]


# Links, paths, commands


@every_file
def test_relative_links_resolve(path: Path) -> None:
    broken = []
    for link in links(path):
        if link.startswith(("https://", "http://")):
            continue
        target, _, anchor = link.partition("#")
        file = (path.parent / target).resolve() if target else path
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(link)
    assert broken == []


@every_file
def test_paths_that_are_named_exist(path: Path) -> None:
    if path == EXAMPLE:
        new = {"vfexport_core/catalog/phone_confirmed.py"}
        assert not any((ROOT / name).exists() for name in new), "the example is a type that there is not"
    else:
        new = set()
    pattern = (
        r"(?:(?:vfexport_core|vfexport_dagster|tests|docs|benchmarks|deploy)/[\w./-]*|[\w.-]+\.(?:yaml|toml|lock))"
    )
    named = {span for span in code_spans(path) if re.fullmatch(pattern, span)}
    assert {name for name in named - new if not (ROOT / name).exists() and not (path.parent / name).exists()} == set()


@every_file
def test_make_targets_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", text_of(ROOT / "Makefile"), re.MULTILINE))
    named = {command.split()[1] for command in commands(path) if command.startswith("make ")}
    assert named <= targets


@every_file
def test_vfexport_commands_and_their_options_exist(path: Path) -> None:
    for command in commands(path):
        words = command.partition(" | ")[0].split()
        if words[0] != "vfexport" or words[1].startswith("-"):
            continue
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert given <= options(known_command(command)) | {"--help"}, command


@every_file
def test_python_modules_that_are_run_exist(path: Path) -> None:
    for command in commands(path):
        match = re.search(r"python -m ([\w.]+)", command)
        if match:
            assert (ROOT / (match[1].replace(".", "/") + ".py")).exists(), command


@every_file
def test_no_file_names_a_machine(path: Path) -> None:
    assert not re.search(r"/(?:work|root|home|Users)/|pypi|files\.pythonhosted", text_of(path))


def test_the_readme_has_the_two_commands_and_the_gate() -> None:
    named = {command.split()[1] for command in commands(ROOT / "README.md") if command.startswith("make ")}
    assert {"demo", "test", "check"} <= named


def test_the_architecture_names_every_module_and_package() -> None:
    text = text_of(ROOT / "docs" / "architecture.md")
    parts = [path for root in ("vfexport_core", "vfexport_dagster") for path in (ROOT / root).iterdir()]
    names = {str(path.relative_to(ROOT)) for path in parts if path.name[0] not in "_."}
    unimportant = {f"vfexport_dagster/{name}.py" for name in ("definitions", "s3", "tags")}
    assert {name for name in names - unimportant if not re.search(rf"`{re.escape(name)}[/`]", text)} == set()


# Settings


def variables(model: type[BaseModel] = Settings, prefix: str = PREFIX) -> Iterator[tuple[str, FieldInfo]]:
    """Return every variable; what all buckets, and all webhooks, share is written with ``*``."""
    for name, field in model.model_fields.items():
        if field.annotation is BucketsSettings:
            for bucket in BUCKET_NAMES:
                yield f"{prefix}BUCKETS__{bucket}__NAME", field
            for option, described in BucketSettings.model_fields.items():
                if option != "name":
                    yield f"{prefix}BUCKETS__*__{option.upper()}", described
        elif name == "webhooks":
            for option, described in WebhookSettings.model_fields.items():
                yield f"{prefix}WEBHOOKS__*__{option.upper()}", described
        else:
            yield prefix + name.upper(), field


def documented_default(name: str, field: FieldInfo) -> str:
    if name.endswith("__NAME"):
        return "none"
    if field.is_required():
        return "required"
    default = field.default
    assert not isinstance(default, SecretStr)
    if default is None:
        return "none"
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def test_every_setting_is_documented_with_its_default() -> None:
    documented = {name.strip("`"): default for name, default, _ in table(OPERATIONS, "variable")}
    assert documented == {name: documented_default(name, field) for name, field in variables()}


def test_limits_of_settings_are_documented() -> None:
    meanings = {name.strip("`"): meaning for name, _, meaning in table(OPERATIONS, "variable")}
    for name, field in variables():
        least = [item.ge for item in field.metadata if isinstance(item, Ge)]
        most = [item.le for item in field.metadata if isinstance(item, Le)]
        if least:
            limits = f"{least[0]} to {most[0]}" if most else f"at least {least[0]}"
            assert limits in meanings[name], name


def test_no_other_variable_is_named_anywhere() -> None:
    known = {name.replace("*", bucket) for name, _ in variables() for bucket in BUCKET_NAMES}
    webhooks = ("OPS", "CRM")  # as examples call theirs
    known |= {name.replace("*", webhook) for name, _ in variables() for webhook in webhooks if "__*__" in name}
    known |= {name for name, _ in variables()} | {"VFEXPORT_DEBUG", "VFEXPORT_WEBHOOKS"}
    known |= {"VFEXPORT_COMPLETE"}  # with a line before it: click asks for completions by it
    known |= {"VFEXPORT_TEST_MONGO_URI", "VFEXPORT_TEST_S3_ENDPOINT"}  # of the tests themselves
    named = {name for path in DOCS for name in re.findall(r"VFEXPORT_[A-Z0-9_*]*[A-Z]", text_of(path))}
    assert named <= known


# API, command line and errors


def test_every_route_is_documented_and_no_other() -> None:
    settings = Settings(_env_file=None, mongo_uri=SecretStr("mongodb://127.0.0.1:1"), dev_mode=True)
    with MongoClient[dict[str, Any]](settings.mongo_uri.get_secret_value(), connect=False) as client:
        paths = create_app(settings, database=client["nothing"]).openapi()["paths"]
    routes = {f"{method.upper()} {path}" for path, operations in paths.items() for method in operations}
    assert {cells[0].strip("`") for cells in table(OPERATIONS, "request")} == routes


def every_command(group: click.Group = vfexport, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Return every command with the words that call it; a group is none itself."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from every_command(command, f"{before}{name} ")
        else:
            yield before + name, command


def known_command(line: str) -> str:
    """Return the command that a line calls (`vfexport exports list --json`)."""
    found = [name for name, _ in every_command() if f"{line} ".startswith(f"vfexport {name} ")]
    assert found, f"there is no command {line}"
    return found[0]


def options(command: str) -> set[str]:
    parameters = dict(every_command())[command].params
    return {name for option in parameters for name in option.opts if name.startswith("--")}


def test_every_command_is_documented_with_all_its_options() -> None:
    rows = {known_command(cells[0].strip("`")): " ".join(cells) for cells in table(OPERATIONS, "command")}
    assert rows.keys() == dict(every_command()).keys()
    for command, row in rows.items():
        assert {name for name in options(command) if not re.search(rf"{name}\b", row)} == set(), command


def every_error(root: type[VfexportError] = VfexportError) -> Iterator[type[VfexportError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__.startswith("vfexport_core."):
            yield from every_error(child)


def test_every_error_code_is_documented_and_no_other() -> None:
    documented = {cells[0].strip("`") for cells in table(OPERATIONS, "code")}
    assert documented == {error.code for error in every_error()} | {"WrongUsage"}


def test_the_api_table_has_the_status_of_each_error() -> None:
    statuses: dict[str, set[int]] = {INTERNAL_CODE: {VfexportError.status}}
    for error in every_error():
        if error.code != INTERNAL_CODE:  # else it only groups others
            statuses.setdefault(error.code, set()).add(error.status)
    for code, status, _ in (cells for cells in table(OPERATIONS, "code") if re.match(r"\d", cells[1])):
        assert {int(number) for number in status.split(", ")} == statuses[code.strip("`")], code


def test_the_tree_of_errors_shows_every_class() -> None:
    tree = ast.get_docstring(ast.parse(text_of(ROOT / "vfexport_core" / "errors" / "__init__.py"))) or ""
    assert vfexport_core.errors.__doc__ is not None
    assert {error.__name__ for error in every_error() if not re.search(rf"\b{error.__name__}\b", tree)} == set()
