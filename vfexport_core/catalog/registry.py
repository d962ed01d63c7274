"""The registry: export types by their name on the wire; a name is taken once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vfexport_core.errors import InvalidExportType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vfexport_core.catalog.spec import ExportSpec

# What a caller sent is told back only when it looks like a name: anything else may be data that went astray.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Registry:
    """Export types in the order of their registration."""

    def __init__(self, specs: Iterable[ExportSpec] = ()) -> None:
        self._specs: dict[str, ExportSpec] = {}
        for spec in specs:
            self.register(spec)

    def register(self, spec: ExportSpec) -> None:
        """Add a type; raises ValueError when its name or its job's name is taken."""
        if spec.type in self._specs or any(spec.job_name == known.job_name for known in self._specs.values()):
            raise ValueError(f"export type {spec.type!r} is registered twice")
        self._specs[spec.type] = spec

    def find(self, export_type: object) -> ExportSpec:
        """Return the type of this name; raises InvalidExportType for anything else, whatever its Python type.

        Its payload is what was asked for when that looks like a name, else None.
        """
        name = export_type if isinstance(export_type, str) else ""
        spec = self._specs.get(name)
        if spec is None:
            shown = name if _NAME.fullmatch(name) else None
            raise InvalidExportType("exportType is not one of " + ", ".join(self._specs), payload=shown)
        return spec

    def all(self) -> tuple[ExportSpec, ...]:
        return tuple(self._specs.values())
