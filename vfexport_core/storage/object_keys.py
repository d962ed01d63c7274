"""Names: of objects in S3 (03-export-types "Keys"), of staging objects, and of the file that a person downloads.

Where the specification leaves a choice:

- "letters, digits" in a key are ASCII: such a key needs no encoding in a URL, a console or a consumer's script. ``é``
  or ``日`` therefore becomes ``-``, and the full name is still the one under which the file downloads.
- "runs collapsed" holds for every run of ``-``, also for one that the campaign's name brings along. A ``-`` at either
  end stays; only a name with no character at all is ``campaign``.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from datetime import datetime

STAGING_FOLDER = "_staging/"
EXPORT_ID = "export-id"
"""The metadata by which an object says which export it is of."""
CONTENT_TYPES = {"csv": "text/csv; charset=utf-8", "zip": "application/zip"}

_NAME_CHARACTERS = 80
_NO_NAME = "campaign"
_NOT_IN_KEYS = re.compile(r"[^A-Za-z0-9_]+")
_CAMPAIGN_FOLDER = re.compile(r"[0-9a-f]{24}/")

# File systems take 255 bytes; what stands around the campaign's name has 110 at most.
_DOWNLOAD_NAME_BYTES = 140
_DOWNLOAD_PATTERN = "{name} - {type}"
_DOWNLOAD_PATTERNS = {"reminderEmail": "Combined - {name} ASU - Reminder Email Data"}
_SEPARATORS = re.compile(r"[/\\]")
# Line ends and control characters would end the header; the two Unicode separators end lines in some programs.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# Characters that turn the reading direction can make `fdp.exe` look like `exe.pdf`.
_DIRECTIONS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# RFC 8187 attr-char, beyond the letters, digits and `_.-~` that `quote` always leaves alone.
_ATTRIBUTE_CHARACTERS = "!#$&+^`|"
# Letters and marks that are no plain ones with something on them, which is all that decomposing finds.
_ASCII = str.maketrans(
    {
        "ß": "ss",
        "ẞ": "SS",
        "Æ": "AE",
        "æ": "ae",
        "Œ": "OE",
        "œ": "oe",
        "Þ": "Th",
        "þ": "th",
        "Ø": "O",
        "ø": "o",
        "Ł": "L",
        "ł": "l",
        "Đ": "D",
        "đ": "d",
        "Ð": "D",
        "ð": "d",
        "Ħ": "H",
        "ħ": "h",
        "\u0131": "i",
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2022\u00b7", "-"),  # hyphens, dashes, bullets
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb\u2039\u203a", "'"),
        "\u00d7": "x",
        "€": "EUR",
        "£": "GBP",
        "¥": "JPY",
    }
)
_NOT_IN_QUOTED = re.compile(r"[^ !#$&-\[\]-~]")


def key_text(text: str) -> str:
    """Turn free text into what may stand in a key: anything but ASCII letters, digits, ``-``, ``_`` becomes ``-``."""
    return _NOT_IN_KEYS.sub("-", text)[:_NAME_CHARACTERS] or _NO_NAME


def object_key(  # noqa: PLR0917 in the order in which they stand in the key
    campaign_id: str,
    campaign_name: str,
    export_type: str,
    created: datetime,
    export_id: str,
    attempt: int,
    extension: str,
) -> str:
    """Return the key of an export's file, which no other attempt has; `created` is its ``date.created``, aware."""
    moment = created.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    suffix = f"-{attempt}" if attempt > 1 else ""
    return f"{campaign_id}/{export_type}/{key_text(campaign_name)}-{moment}-{export_id}{suffix}.{extension}"


def campaign_folder(key: str) -> str:
    """Return the prefix of all keys of the same campaign; empty for a key that `object_key` has not made."""
    found = _CAMPAIGN_FOLDER.match(key)
    return found.group() if found else ""


def staging_prefix(export_id: str, attempt: int) -> str:
    """Return the prefix under which everything lies that this attempt has not published yet."""
    return f"{STAGING_FOLDER}{export_id}-{attempt}/"


def probe_key(name: str) -> str:
    """Return the key of an object that only tries a bucket out; nobody takes up what is below ``_staging/``."""
    return f"{STAGING_FOLDER}doctor/{name}"


def staging_key(export_id: str, attempt: int, number: int) -> str:
    """Return the key under which file `number` of an attempt is put together; no consumer watches it."""
    return f"{staging_prefix(export_id, attempt)}{number}"


def download_name(
    campaign_name: str,
    export_type: str,
    extension: str,
    created: datetime,
    *,
    date_key: str | None = None,
    all_markets: bool = False,
) -> str:
    """Return the file name that a person gets: unicode, without path separators and control characters.

    It tells the files of one campaign apart: by their wave, by whether additional markets have rows, and by the day (in
    UTC) on which they were asked for.
    """
    name = _plain(campaign_name).encode("utf-8")[:_DOWNLOAD_NAME_BYTES].decode("utf-8", "ignore").strip()
    pattern = _DOWNLOAD_PATTERNS.get(export_type, _DOWNLOAD_PATTERN)
    parts = [pattern.format(name=name or _NO_NAME, type=export_type)]
    parts += [f"wave {date_key}"] if date_key is not None else []
    parts += ["all markets"] if all_markets else []
    parts.append(created.astimezone(UTC).strftime("%Y-%m-%d"))
    return f"{' - '.join(parts)}.{extension}"


def content_disposition(name: str) -> str:
    """Return the RFC 6266 header value that downloads as `name`; safe whatever the name holds.

    A name beyond plain ASCII is given twice: as near as ASCII comes, and exactly (RFC 8187) for programs that know it.
    """
    exact = _plain(name)
    bare = "".join(
        character
        for character in unicodedata.normalize("NFKD", exact.translate(_ASCII))
        if not unicodedata.combining(character)
    )
    # A percent sign is among what is replaced: some browsers would decode it.
    fallback = _NOT_IN_QUOTED.sub("_", bare.replace('"', "'"))
    header = f'attachment; filename="{fallback}"'
    return header if fallback == exact else f"{header}; filename*=UTF-8''{quote(exact, safe=_ATTRIBUTE_CHARACTERS)}"


def _plain(name: str) -> str:
    """Take out what no file name and no header may hold; a lone surrogate becomes U+FFFD, as in cells."""
    name = _CONTROLS.sub(" ", _SEPARATORS.sub("-", name))
    name = re.sub("[\ud800-\udfff]", "\ufffd", _DIRECTIONS.sub("", name))
    return name.strip()
