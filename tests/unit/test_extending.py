"""What a new word of the catalog's vocabulary demands: of the type checker, of an import, and of a file's format."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from tests.unit.docs_helpers import ROOT, blocks
from vfexport_core.catalog import all_specs
from vfexport_core.catalog.collections import Collection, CollectionSpec, ScanAccess
from vfexport_core.catalog.contact import USER_ID
from vfexport_core.catalog.spec import Container, Expansion, Format, GroupBy, Lookup, Sample, Scan, Shape
from vfexport_core.files.formats import open_format
from vfexport_core.storage.object_keys import CONTENT_TYPES

if TYPE_CHECKING:
    from pathlib import Path

EXTENDING = ROOT / "docs" / "extending.md"
# They match values of any type (of BSON, of the settings), and the numbers of BSON's types: what is not named is alike.
OPEN = {"rows/values.py", "sources/columns.py", "api/server.py"}


def last_case_is_never(match: ast.Match) -> bool:
    case = match.cases[-1]
    is_rest = isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None and case.guard is None
    (last,) = case.body if len(case.body) == 1 else (None,)
    return is_rest and last is not None and ast.unparse(last).startswith("assert_never(")


def test_every_match_ends_where_the_type_checker_looks() -> None:
    found: list[str] = []
    core = ROOT / "vfexport_core"
    for path in core.rglob("*.py"):
        matches = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Match)]
        name = str(path.relative_to(core))
        assert name not in OPEN or matches, "an exception that is none"
        found += [f"{name}:{item.lineno}" for item in matches if name not in OPEN and not last_case_is_never(item)]
    assert found == []


# A copy of the code with one word more


@dataclass(frozen=True)
class Word:
    """A new word: where its `line` is put, before or behind `anchor`, and which modules have to know it."""

    module: str
    anchor: str
    line: str
    modules: set[str]


WORDS = {
    "expansion": Word(
        "catalog/spec.py",
        "    HELD_CODES = ",
        '    PREFERENCES = "one per preference"\n',
        {"rows/select.py", "pipeline/export_plan.py"},
    ),
    "group": Word(
        "catalog/spec.py",
        '    REGION_AND_LOCALE = "',
        '    MARKET = "market"\n',
        {"files/grouping.py", "pipeline/export_plan.py", "catalog/formatter.py"},
    ),
    "sample": Word(
        "catalog/spec.py",
        "    FIRST_PER_LOCALE_AND_MARKET = ",
        '    FIRST = "the first rows"\n',
        {"pipeline/stages.py"},
    ),
    "container": Word(
        "catalog/spec.py",
        '    ZIP = "',
        '    TAR = "one tape archive"\n',
        {"files/containers.py", "catalog/formatter.py"},
    ),
    "format": Word("catalog/spec.py", '    CSV = "csv"', '    JSON_LINES = "jsonl"\n', {"files/formats.py"}),
    "condition": Word(
        "catalog/spec.py",
        "Condition: TypeAlias = ",
        "class IsMissing:\n    field: Field\n\n\n",
        {"sources/conditions.py", "catalog/dictionary.py"},
    ),
    "field type": Word(
        "catalog/collections.py",
        '    DATE = "date"',
        '    DECIMAL = "decimal"\n',
        {"sources/decode.py", "catalog/formatter.py"},
    ),
    "derived cell": Word(
        "catalog/expressions.py",
        "Derived: TypeAlias = ",
        "class LowerCase:\n    text: Expression\n    inputs: tuple[Expression, ...] = ()\n\n\n",
        {"rows/reminder_rules.py", "rows/evaluate.py", "catalog/formatter.py"},
    ),
}


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The code, to be changed."""
    shutil.copytree(ROOT / "vfexport_core", tmp_path / "vfexport_core", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "vfexport_core"


def put(path: Path, anchor: str, line: str) -> None:
    text = path.read_text()
    assert text.count(anchor) == 1, anchor
    path.write_text(text.replace(anchor, line + anchor))


def put_word(core: Path, word: Word) -> None:
    put(core / word.module, word.anchor, word.line)
    new_class = re.match(r"class (\w+)", word.line)
    if new_class:  # also into the alias
        path = core / word.module
        path.write_text(path.read_text().replace(word.anchor, f"{word.anchor}{new_class[1]} | "))


def test_the_type_checker_names_every_place_that_has_to_know_a_new_word(copied: Path) -> None:
    for word in WORDS.values():
        put_word(copied, word)
    checked = sorted({name for word in WORDS.values() for name in word.modules})
    config = {"include": [f"vfexport_core/{name}" for name in checked], "typeCheckingMode": "strict"}
    # An environment without libraries: which cases are left is a matter of our own types, and to read the others' takes
    # as long again.
    (copied.parent / "empty/lib/python3.11/site-packages").mkdir(parents=True)
    config |= {"venvPath": str(copied.parent), "venv": "empty", "pythonVersion": "3.11"}
    config |= {"useLibraryCodeForTypes": False}
    (copied.parent / "pyrightconfig.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--project", str(copied.parent)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=240, cwd=copied.parent)
    unhandled: dict[str, set[str]] = {}
    for item in json.loads(done.stdout)["generalDiagnostics"]:
        if '"Never"' in item["message"] or 'parameter "arg"' in item["message"]:
            name = item["file"].partition("vfexport_core/")[2]
            unhandled.setdefault(name, set()).update(re.findall(r"\b[A-Z]\w+", item["message"]))
    for kind, word in WORDS.items():
        (new,) = re.findall(r"^(?:class | +)(\w+)", word.line)[:1]
        assert {name for name, words in unhandled.items() if new in words} == word.modules, kind


# A collection: what is refused at import

REFUNDS = """\
    REFUNDS = CollectionSpec(
        name="refunds",
        letter="R",
        document="the refund, of `refunds`",
        scan=ScanAccess(index=("campaignId", "_id"){user}),
    )
"""
ANCHOR = "    HELD_CODES = CollectionSpec("
SHOW = """
from vfexport_core.catalog import all_specs
from vfexport_core.catalog.collections import Collection
from vfexport_core.catalog.dictionary import render
from vfexport_core.catalog.expressions import Column
from vfexport_core.catalog.spec import Bucket, ExportSpec, Scan
from vfexport_core.sources.needed_indexes import needed_indexes
amount = Column("amount", Collection.REFUNDS.personal_fields[0])
spec = ExportSpec(type="refunds", summary="refunds", scan=Scan(Collection.REFUNDS), columns=(amount,),
                  bucket=Bucket.EXPORTS)
print("| `R` | the refund" in render([spec]), "`R.userId`" in render([spec]))
print([index.specification for index in needed_indexes([spec]) if index.collection == "refunds"])
"""


def run(core: Path, program: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(core.parent)}
    command = [sys.executable, "-c", program]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, cwd=core.parent, env=environment
    )


def test_a_collection_is_one_declaration(copied: Path) -> None:
    put(copied / "catalog" / "collections.py", ANCHOR, REFUNDS.format(user=', user=("userId",)'))
    done = run(copied, SHOW)
    assert (done.stdout, done.returncode) == ("True True\n['{campaignId: 1, _id: 1}']\n", 0), done.stderr


@pytest.mark.parametrize(("user", "error"), [("", "TypeError"), (", user=()", "ValueError")])
def test_a_collection_that_does_not_say_whose_its_documents_are_is_refused_at_import(
    copied: Path, user: str, error: str
) -> None:
    put(copied / "catalog" / "collections.py", ANCHOR, REFUNDS.format(user=user))
    done = run(copied, "import vfexport_core.catalog")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(error)


def test_rows_come_only_from_collections_that_can_be_scanned_and_looked_up() -> None:
    for collection in Collection:
        if collection.spec.scan is None:
            with pytest.raises(ValueError, match="rows cannot come from"):
                Scan(collection)
        else:
            user, *member = Scan(collection).collection.personal_fields
            assert user.path[-1] in ("user_id", "userId")
            assert all(field.path[-1] == "memberId" for field in member)
        if collection.spec.lookup is None:
            with pytest.raises(ValueError, match="cannot be looked up"):
                Lookup(collection, USER_ID)
        else:
            assert Lookup(collection, USER_ID).collection.key.collection is collection


def test_letters_and_names_of_collections_are_taken_once() -> None:
    for taken in ([item.spec.letter for item in Collection], [item.spec.name for item in Collection]):
        assert len(taken) == len(set(taken))


def test_the_documented_collection_can_be_declared_as_it_is_written() -> None:
    names: dict[str, Any] = {}
    exec(blocks(EXTENDING, "python")[0], names)
    assert isinstance(names["REFUNDS"], CollectionSpec)
    assert isinstance(names["REFUNDS"].scan, ScanAccess)


# Shapes and formats


@pytest.mark.parametrize(
    "parts",
    [
        {"container": Container.ZIP},
        {"group_by": GroupBy.PROMOTER},
        {"container": Container.OBJECTS, "group_by": GroupBy.PROMOTER},
    ],
)
def test_parts_of_a_shape_that_do_not_go_together_are_refused(parts: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"container|keys of their own"):
        Shape(**parts)


@pytest.mark.parametrize(
    "shape",
    [Shape(group_by=GroupBy.PROMOTER, container=Container.ZIP), Shape(sample=Sample.FIRST_PER_LOCALE_AND_MARKET)],
)
def test_a_shape_is_refused_without_the_rows_that_it_needs(shape: Shape) -> None:
    spec = next(spec for spec in all_specs() if spec.expansion is Expansion.MARKETS_IF_ASKED)
    fields = {name: getattr(spec, name) for name in spec.__dataclass_fields__}
    with pytest.raises(ValueError, match="need"):
        type(spec)(**{**fields, "shape": shape})


def documented(number: int, name: str) -> Any:
    """Return what code block `number` of the page defines."""
    names: dict[str, Any] = {"__name__": __name__}
    exec(blocks(EXTENDING, "python")[number], names)
    return names[name]


TestDocumentedStore = documented(2, "TestNewStore")
"""The contract of stores, as the page says that a new one is put through it."""


@pytest.mark.parametrize(
    "opened", [documented(1, "JsonLines"), *(lambda h, n=name: open_format(n, h) for name in Format)]
)
def test_formats_write_rows_that_stand_for_themselves(opened: Any) -> None:
    file_format = opened(["a", "b", "c"])
    markets = pa.DictionaryArray.from_arrays(pa.array([1, None, 0], pa.int64()), pa.array(["M, 0", "M1"], pa.string()))
    columns = [pa.array(["x", None, '"é'], pa.string()), markets, pa.scalar("all", pa.string())]
    rows = file_format.rows(columns, 3)
    assert (rows.type, len(rows), rows.null_count) == (pa.string(), 3, 0)
    assert all(row.endswith("\n") for row in rows.to_pylist())
    alone = [file_format.rows([*(column.slice(row, 1) for column in columns[:2]), columns[2]], 1) for row in range(3)]
    assert [row for one in alone for row in one.to_pylist()] == rows.to_pylist()
    assert file_format.rows([*(column.slice(0, 0) for column in columns[:2]), columns[2]], 0).to_pylist() == []
    assert isinstance(file_format.header, bytes)


def test_every_extension_has_a_content_type() -> None:
    assert {spec.extension for spec in all_specs()} | set(Format) <= CONTENT_TYPES.keys()
