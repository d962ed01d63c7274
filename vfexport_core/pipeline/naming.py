"""What the files of an export are called in S3, and when they are downloaded."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

from vfexport_core.errors import ConfigurationError
from vfexport_core.settings import DEFAULT_SFMC_PREFIX
from vfexport_core.storage.object_keys import content_disposition, download_name, key_text, object_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vfexport_core.catalog.spec import ExportSpec
    from vfexport_core.files.containers import FileName
    from vfexport_core.files.grouping import PartName
    from vfexport_core.queue.models import Export


@dataclass(frozen=True, slots=True, kw_only=True)
class FileNaming:
    """Names the files of one attempt of an export. `prefixes` are the folders of SFMC's regions."""

    spec: ExportSpec
    export: Export
    artist: str
    prefixes: Mapping[str, str]

    def keys(self, files: Sequence[FileName], *, shared_minute: bool = False) -> dict[FileName, str]:
        """Return the key of each file, in their order.

        With `shared_minute` the keys of parts hold the export's id: another export of the campaign was asked for in the
        same minute. Raises ConfigurationError when the prefixes of two regions make the keys of two parts the same.
        """
        keys = {file: self._key(file, shared_minute=shared_minute) for file in files}
        key, count = Counter(keys.values()).most_common(1)[0] if keys else ("", 1)
        if count > 1:
            regions = ", ".join(file.region for file, own in keys.items() if file is not None and own == key)
            raise ConfigurationError(
                f"VFEXPORT_SFMC_PREFIXES: regions {regions} would write over each other's files",
                payload="VFEXPORT_SFMC_PREFIXES",
            )
        return keys

    def disposition(self, file: FileName, key: str) -> str:
        """Return the header that says under which name a file downloads."""
        if file is not None:
            return content_disposition(key.rpartition("/")[2])
        export = self.export
        name = download_name(
            export.campaign_name,
            self.spec.type,
            self.spec.extension,
            export.date.created,
            date_key=export.date_key,
            all_markets=export.include_all_markets,
        )
        return content_disposition(name)

    def _key(self, file: FileName, *, shared_minute: bool) -> str:
        if file is not None:
            return self._part_key(file, shared_minute=shared_minute)
        export = self.export
        return object_key(
            export.campaign_id,
            export.campaign_name,
            self.spec.type,
            export.date.created,
            export.id,
            export.attempt,
            self.spec.extension,
        )

    def _part_key(self, part: PartName, *, shared_minute: bool) -> str:
        """Return the key under which SFMC looks for a part.

        Attempts after the first add theirs, and exports of the same minute their id, so that no key is shared:
        cleaning up after one would take the other's file away.
        """
        export = self.export
        prefix = self.prefixes.get(part.region, DEFAULT_SFMC_PREFIX).replace("{Region}", part.region)
        moment = export.date.created.astimezone(UTC).strftime("%Y%m%d%H%M")
        own = f"-{export.id}" if shared_minute else ""
        own += f"-{export.attempt}" if export.attempt > 1 else ""
        name = f"{key_text(self.artist)}_{part.locale}_{export.campaign_id}_{moment}{own}_{part.number:03}"
        return f"{prefix}_{name}.{self.spec.extension}"
