"""The data dictionary: docs/data-dictionary.md, written from the catalog.

::

    python -m vfexport_core.catalog.dictionary > docs/data-dictionary.md
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from vfexport_core.catalog import all_specs
from vfexport_core.catalog.expressions import Column
from vfexport_core.catalog.formatter import RULES, format_expression, format_files, format_form, letters
from vfexport_core.catalog.spec import IsDateKey, IsNotTrue, IsOneOf, IsTrue

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vfexport_core.catalog.expressions import Expression, PreferenceColumns
    from vfexport_core.catalog.spec import Condition, ExportSpec

_INTRODUCTION = """\
# Data dictionary

Written from the catalog by `python -m vfexport_core.catalog.dictionary > docs/data-dictionary.md`; a test keeps it
current. Do not edit it by hand.

Every export type: where its rows come from, its columns with the source of each, its files and where they go.

## How to read it

{letters}

`a | b` is `a` when it is neither missing, null nor an empty string, else `b`. A document that does not exist makes its
cells empty; the row stays and is counted in `meta.warnings`.

The form of a column is what its values usually are. A value of another type is never dropped but written by the same
rules: dates as `YYYY-MM-DD HH:MM:SS` in UTC, booleans as `true` and `false`, numbers in decimal, lists joined with `;`.
Missing and null are empty. Files are UTF-8 without a BOM, lines end in LF, the header row is always there, and quoting
is that of RFC 4180.

Where the formula guard applies, an apostrophe stands before what a spreadsheet would take for a formula: a text cell
that begins with `=`, `+`, `-`, `@` (also full-width), a tab or a line end, and what begins with one of the four signs
behind `;`, a tab or a line end inside a text cell. Phone numbers and plain numbers stay as they are (setting
`VFEXPORT_FORMULA_GUARD`).

Names before brackets:

{rules}
"""


def render(specs: Iterable[ExportSpec]) -> str:
    """Write the dictionary of these types as Markdown."""
    known = tuple(specs)
    documents = (_row((_code(letter), text)) for letter, text in letters().items())
    explained = "\n".join(["| letter | document |", "|---|---|", *documents])
    rules = "\n".join(f"- {_code(name)}: {meaning}" for name, meaning in RULES.items())
    body = [*_overview(known), *(line for spec in known for line in _type(spec))]
    return _INTRODUCTION.format(letters=explained, rules=rules) + "\n" + "\n".join(body)


def _overview(specs: tuple[ExportSpec, ...]) -> Iterator[str]:
    yield "## Overview"
    yield ""
    yield "| type | rows | file | bucket | ACL | preliminary count | CCPA deletes it |"
    yield "|---|---|---|---|---|---|---|"
    for spec in specs:
        link, bucket, acl = f"[{spec.type}](#{spec.type.lower()})", _code(spec.bucket), _code(spec.acl)
        flags = _word(spec.preliminary_count), _word(spec.ccpa_deletes)
        yield _row((link, spec.summary, format_files(spec), bucket, acl, *flags))
    yield ""


def _type(spec: ExportSpec) -> Iterator[str]:
    yield f"## {spec.type}"
    yield ""
    yield _sentence(spec.summary)
    yield ""
    for name, value in _facts(spec):
        yield f"- {name}: {value}"
    yield ""
    yield "| column | source | form |"
    yield "|---|---|---|"
    for column in spec.columns:
        yield _row(_column(column))
    yield ""


def _facts(spec: ExportSpec) -> Iterator[tuple[str, str]]:
    yield "Rows from", _rows_from(spec)
    if spec.required is not None:
        yield "Left out", f"documents without {_source(spec.required)}"
    if spec.not_in_scheduled_wave is not None:
        yield "Left out", f"members ({_source(spec.not_in_scheduled_wave)}) of the campaign's SCHEDULED `smsWaves`"
    if spec.expansion is not None:
        yield "Rows per document", spec.expansion.value
    for lookup in spec.lookups:
        known = lookup.collection.spec
        yield f"Looked up (`{known.letter}`)", f"in `{known.name}` by {_source(lookup.key)}"
    if spec.market is not None:
        yield "Market (`M`)", f"the one of the campaign that {_source(spec.market)} names"
    yield "File", f"{format_files(spec)} (`.{spec.extension}`)"
    yield "Bucket", f"`{spec.bucket}`, ACL `{spec.acl}`"
    yield "Formula guard", _word(spec.for_people)
    yield "Preliminary count", _word(spec.preliminary_count)
    yield "Deleted by a CCPA request", _word(spec.ccpa_deletes)
    yield "Needs `dateKey`", _word(spec.needs_date_key)
    yield "Needs a market (else `NoMarketsFound`)", _word(spec.needs_markets)
    yield "Dagster job", _code(spec.job_name)


def _rows_from(spec: ExportSpec) -> str:
    scanned = spec.scan.collection.spec
    parts = [f"the campaign's documents of `{scanned.name}` (`{scanned.letter}`)"]
    if spec.scan.where is not None:
        parts.append(f"where {_condition(spec.scan.where)}")
    for lookup in spec.lookups:
        if lookup.required:
            condition = "" if lookup.where is None else f" where {_condition(lookup.where)}"
            found = lookup.collection.spec
            parts.append(f"that have one of `{found.name}` (`{found.letter}`){condition}")
    return " ".join(parts) + ", by `_id` ascending"


def _condition(condition: Condition) -> str:
    field = _source(condition.field)
    match condition:
        case IsTrue():
            return f"{field} is exactly `true`"
        case IsNotTrue():
            return f"{field} is anything but `true`"
        case IsOneOf():
            return f"{field} is " + " or ".join(map(_code, condition.values))
        case IsDateKey():
            return f"{field} is the request's `dateKey`"
        case _:
            assert_never(condition)


@dataclass(frozen=True, slots=True)
class ColumnText:
    """A column by its name in the header, what its values usually are, and where they come from."""

    header: str
    form: str
    source: str


def describe_columns(columns: Iterable[Column | PreferenceColumns]) -> list[ColumnText]:
    """Return columns as text; those of a campaign's preferences are one as long as no campaign is known."""
    each = "or_false(E.fields[id]) for each of C.preferences, in their order"
    return [
        ColumnText(column.header, format_form(column.expression), format_expression(column.expression))
        if isinstance(column, Column)
        else ColumnText(f"{column.header}, one per preference", "text", each)
        for column in columns
    ]


def describe_type(spec: ExportSpec) -> str:
    """Return what an export of this type is, and what the letters stand for in the sources of its columns."""
    sources = " ".join(column.source for column in describe_columns(spec.columns))
    used = [f"- `{letter}`: {text}" for letter, text in letters().items() if re.search(rf"\b{letter}\b", sources)]
    return "\n".join([_sentence(spec.summary), "", "In the sources of the columns:", "", *used])


def _column(column: Column | PreferenceColumns) -> tuple[str, str, str]:
    if isinstance(column, Column):
        return _code(column.header), _source(column.expression), format_form(column.expression)
    source = "`or_false(E.fields[id])` for each of `C.preferences`, in their order"
    return f"`{column.header}`, one per preference", source, "text"


def _source(expression: Expression) -> str:
    return _code(format_expression(expression))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _code(text: str) -> str:
    return f"`{text}`"


def _row(cells: Iterable[str]) -> str:
    # Also within backticks a bar would end the cell.
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _word(flag: object) -> str:
    return "yes" if flag else "no"


if __name__ == "__main__":
    sys.stdout.write(render(all_specs()))
