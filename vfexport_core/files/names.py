"""Names of files inside an archive or of a key, made of what users and promoters called things."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_KEPT = " -_."


def file_name(name: str) -> str:
    """Keep letters and digits of any script, space, ``-``, ``_``, ``.``; anything else becomes ``_``."""
    return "".join(c if c.isalpha() or c.isdecimal() or c in _KEPT else "_" for c in name)


def folder_name(name: str) -> str:
    """Make a name that stays inside its folder: one of dots alone would lead out of it."""
    safe = file_name(name)
    return safe if safe.strip(".") else safe.replace(".", "_")


def unique_names(names: Iterable[str], extension: str) -> list[str]:
    """Return a file name for each; equal ones get `` (2)``, `` (3)`` before the extension."""
    taken: set[str] = set()
    result: list[str] = []
    for name in map(file_name, names):
        unique, number = f"{name}.{extension}", 1
        while unique in taken:
            number += 1
            unique = f"{name} ({number}).{extension}"
        taken.add(unique)
        result.append(unique)
    return result
