"""What was delivered of an export: read back, and held against what was recorded when it was."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vfexport_core.catalog import find_spec
from vfexport_core.errors import DeliveryRefused, ExportNotFinished, SourceMissing
from vfexport_core.files.read_back import row_count
from vfexport_core.queue.models import ExportStatus
from vfexport_core.storage.object_keys import download_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from vfexport_core.queue.models import Export
    from vfexport_core.services.bootstrap import Backend
    from vfexport_core.storage.object_store import ObjectStore


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCheck:
    """One delivered file as it is now; `problem` says what is wrong with it."""

    key: str
    recorded_sha256: str
    sha256: str | None = None
    bytes: int = 0
    rows: int | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """An export's files held against its record.

    `documents` is how many documents the same export would read now: what has changed in the sources since is no fault
    of the files.
    """

    export: Export
    bucket: str
    files: tuple[FileCheck, ...]
    documents: int

    @property
    def rows(self) -> int:
        return sum(file.rows or 0 for file in self.files)

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    @property
    def problems(self) -> list[str]:
        """What is not as recorded; empty when all is well."""
        problems = [f"{file.key}: {file.problem}" for file in self.files if file.problem is not None]
        if not problems and self.rows != self.export.count:
            problems.append(f"there are {self.rows} rows, {self.export.count} were recorded")
        if not problems and self.bytes != self.export.bytes:
            problems.append(f"there are {self.bytes} bytes, {self.export.bytes} were recorded")
        return problems


def finished(backend: Backend, export_id: str) -> tuple[Export, ObjectStore]:
    """Return a FINISHED export and the store that its files are in.

    Raises ExportNotFound, ExportNotFinished, ConfigurationError when its bucket is not configured.
    """
    export = backend.queue.get(export_id)
    if export.status is not ExportStatus.FINISHED:
        raise ExportNotFinished(f"export {export.id} is {export.status}", payload=export.id)
    return export, backend.buckets.store_named(export.bucket or "", likely=find_spec(export.export_type).bucket)


def download_name_of(export: Export, extension: str) -> str:
    """Return the name under which a person gets the export's file."""
    return download_name(
        export.campaign_name,
        export.export_type,
        extension,
        export.date.created,
        date_key=export.date_key,
        all_markets=export.include_all_markets,
    )


def verify(backend: Backend, export_id: str, on_progress: Callable[[int], object] = lambda _: None) -> Verification:
    """Read the files of a FINISHED export back and hold them against its record; tell `on_progress` bytes read.

    Raises as `finished` does; DeliveryFailed and SourceUnavailable when it cannot be known how the files are.
    """
    export, store = finished(backend, export_id)
    extension = find_spec(export.export_type).extension
    files: list[FileCheck] = []
    for key in export.keys:
        before = sum(file.bytes for file in files)
        files.append(
            _check(store, key, export.sha256[key], extension, lambda read, before=before: on_progress(before + read))
        )
    return Verification(export=export, bucket=store.name, files=tuple(files), documents=_documents(backend, export))


def _check(
    store: ObjectStore, key: str, recorded: str, extension: str, on_progress: Callable[[int], object]
) -> FileCheck:
    digest, size, rows, problem = hashlib.sha256(), 0, None, None
    with closing(row_count(extension)) as counter:
        try:
            for piece in store.read(key):
                digest.update(piece)
                counter.feed(piece)
                size += len(piece)
                on_progress(size)
            rows = counter.rows()
        except DeliveryRefused as error:
            return FileCheck(key=key, recorded_sha256=recorded, problem=error.message)
        except ValueError as error:
            problem = str(error)
    found = digest.hexdigest()
    if found != recorded:
        problem = f"its SHA-256 is {found}, {recorded} was recorded"
    return FileCheck(key=key, recorded_sha256=recorded, sha256=found, bytes=size, rows=rows, problem=problem)


def _documents(backend: Backend, export: Export) -> int:
    from vfexport_core.pipeline.counting import count_matching  # noqa: PLC0415 Arrow is slow to load, and the files come first

    spec, settings = find_spec(export.export_type), backend.settings
    try:
        return count_matching(spec, export.campaign_id, backend.database, settings, export.date_key)
    except SourceMissing:
        return 0
