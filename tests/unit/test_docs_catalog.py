"""What the documentation says of the catalog, the worked example, the decision records and the changelog."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, get_args

import pytest

from tests.unit.docs_helpers import OPERATIONS, ROOT, blocks, code_spans, prose, table, text_of
from vfexport_core.catalog import CATALOG, Registry, all_specs
from vfexport_core.catalog.dictionary import render
from vfexport_core.catalog.expressions import Column, Derived
from vfexport_core.catalog.formatter import RULES, format_expression, format_files, letters
from vfexport_core.rows.cells import cells_of_values
from vfexport_core.rows.reminder_rules import ReminderRules
from vfexport_core.sources.needed_indexes import needed_indexes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXAMPLE = ROOT / "docs" / "adding-an-export-type.md"
DECISIONS = sorted((ROOT / "docs" / "adr").glob("*.md"))


def test_the_data_dictionary_is_current() -> None:
    assert text_of(ROOT / "docs" / "data-dictionary.md") == render(all_specs()), (
        "run: python -m vfexport_core.catalog.dictionary > docs/data-dictionary.md"
    )


def test_every_export_type_and_every_column_is_in_the_dictionary() -> None:
    text = text_of(ROOT / "docs" / "data-dictionary.md")
    for spec in all_specs():
        section = text.split(f"\n## {spec.type}\n")[1].split("\n## ")[0]
        named = re.findall(r"^\| `(.+?)`", section, re.MULTILINE)
        assert named == [column.header if isinstance(column, Column) else "#{type}.{id}" for column in spec.columns]
        for fact in (spec.bucket, spec.acl, spec.job_name, format_files(spec)):
            assert fact in section, (spec.type, fact)


def derived(value: Any) -> Iterator[Derived]:
    if isinstance(value, get_args(Derived)):
        yield value
    for name in getattr(value, "__dataclass_fields__", ()):
        child = getattr(value, name)
        for item in child if isinstance(child, tuple) else (child,):
            yield from derived(item)


def test_the_dictionary_explains_what_its_notation_uses() -> None:
    text = render(all_specs())
    sources = " ".join(re.findall(r"`([^`]+)`", text.split("## Overview")[1]))
    assert set(re.findall(r"([a-z_]+)\(", sources)) <= RULES.keys()
    assert set(re.findall(r"\b([A-Z])\.\w", sources)) <= letters().keys()


def test_rules_of_derived_columns_are_those_that_are_applied() -> None:
    used = {format_expression(item).partition("(")[0]: item for spec in all_specs() for item in derived(spec)}
    assert used
    assert used.keys() <= RULES.keys()
    rules = ReminderRules({}, {})
    cells = cells_of_values(["en-us"])
    for item in used.values():
        assert len(rules.derive(item, [cells] * len(item.inputs))) == 1


def test_indexes_of_the_source_collections_are_documented() -> None:
    documented = {(cells[0], cells[1].split("}")[0] + "}") for cells in table(OPERATIONS, "collection")}
    by_collection = {(name.strip("`"), index.strip("`")) for names, index in documented for name in names.split(", ")}
    assert {(index.collection, index.specification) for index in needed_indexes(all_specs())} <= by_collection


def test_figures_of_an_export_are_documented() -> None:
    counted = {
        f"meta.{kind}.{name}"
        for package in ("rows", "pipeline")
        for path in (ROOT / "vfexport_core" / package).glob("*.py")
        for kind, name in re.findall(r"\b(warnings|skipped)\.add\(\s*\"(\w+)\"", text_of(path))
    }
    documented = {cells[0].strip("`") for cells in table(OPERATIONS, "figure")}
    assert documented == counted | {"meta.read", "meta.ccpaExcluded"}


# The worked example and the decision records


def test_the_example_type_can_be_declared_as_it_is_written() -> None:
    (source,) = blocks(EXAMPLE, "python")
    names: dict[str, Any] = {}
    exec(compile(source, str(EXAMPLE), "exec"), names)
    registry = Registry([*CATALOG.all(), names["PHONE_CONFIRMED"]])
    spec = registry.find("phoneConfirmed")
    assert f"`{spec.job_name}`" in text_of(EXAMPLE)
    assert "## phoneConfirmed" in render(registry.all())
    assert {need.collection for need in needed_indexes([spec])} == {"campaigns", "entries", "markets", "users"}


def test_the_example_explains_every_field_with_a_default() -> None:
    spans = {name for span in code_spans(EXAMPLE) for name in re.findall(r"\w+", span)}
    shown = " ".join(blocks(EXAMPLE, "python"))
    fields = type(all_specs()[0]).__dataclass_fields__
    assert {name for name in fields if name not in spans and f"{name}=" not in shown} <= {
        "expansion",
        "not_in_scheduled_wave",
    }


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_decision_records_have_their_form(path: Path) -> None:
    number = int(path.name[:4])
    assert number == DECISIONS.index(path) + 1
    text = prose(path)
    assert text.startswith(f"# {number}. ")
    assert re.search(r"^Status: (accepted|superseded by .+)$", text, re.MULTILINE)
    for heading in ("## Context", "## Decision", "## Consequences"):
        assert heading in text, heading
    assert f"adr/{path.name}" in text_of(ROOT / "docs" / "architecture.md")


def test_the_changelog_keeps_its_form() -> None:
    text = text_of(ROOT / "CHANGELOG.md")
    assert text.startswith("# Changelog\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE)[0] == "[Unreleased]"
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
