"""Reading the documentation: its files, links, tables and examples."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "deploy/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
OPERATIONS = ROOT / "docs" / "operations.md"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def text_of(path: Path) -> str:
    return path.read_text()


def prose(path: Path) -> str:
    """Return a file without its fenced blocks."""
    return _FENCE.sub("", text_of(path))


def blocks(path: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return [body for name, body in _FENCE.findall(text_of(path)) if name == language]


def links(path: Path) -> list[str]:
    return _LINK.findall(prose(path))


def anchors(path: Path) -> set[str]:
    """Return the anchors of a file's headings, as GitHub makes them."""
    headings = _HEADING.findall(prose(path))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def code_spans(path: Path) -> list[str]:
    """Return what stands in single backticks, over line ends too."""
    return [re.sub(r"\s+", " ", span) for span in re.findall(r"`([^`]+)`", prose(path))]


def commands(path: Path) -> list[str]:
    """Return what an example or a code span types into a shell."""
    typed = [
        line.partition(" #")[0].removeprefix("$ ").strip()
        for block in blocks(path, "console")
        for line in block.splitlines()
    ]
    return [line for line in typed + code_spans(path) if re.match(r"(vfexport|make|dagster\S*|\S*python) ", line)]


def table(path: Path, first_header: str) -> list[list[str]]:
    """Return the cells of every table row, of all tables whose first column has this header."""
    rows: list[list[str]] = []
    inside = False
    for line in text_of(path).splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] if line.startswith("|") else []
        if not cells:
            inside = False
        elif cells[0] == first_header:
            inside = True
        elif inside and not set(cells[0]) <= {"-"}:
            rows.append(cells)
    return rows
