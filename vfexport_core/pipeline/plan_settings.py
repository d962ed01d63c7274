"""What of the settings an export's stages need, plain: a format process has no time for the library that reads them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vfexport_core.settings import ReadPreferenceName, Settings


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that no representation shows."""

    _value: str = field(repr=False)

    def get_secret_value(self) -> str:
        return self._value


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSettings:
    """Some of the `Settings`, by their names; `MongoSettings`, too."""

    mongo_uri: Secret
    mongo_database: str
    mongo_tls_ca_file: str | None
    mongo_tls_certificate_file: str | None
    mongo_auth_mechanism: str | None
    scan_read_preference: ReadPreferenceName
    scan_tags: Mapping[str, str]
    scan_max_staleness_seconds: int | None
    formula_guard: bool
    max_rows_per_file: int
    sample_rows: int
    lookup_batch: int | None
    spool_max_bytes: int
    format_processes: int | None
    format_processes_from: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return what these settings say."""
        known: dict[str, Any] = {one.name: getattr(settings, one.name) for one in fields(cls)}
        known["mongo_uri"] = Secret(settings.mongo_uri.get_secret_value())
        return cls(**known)
