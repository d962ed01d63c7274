"""Cursors of the export list: the place after which the next page begins, opaque to the caller.

A cursor is good for the list it came from only (campaign, filters, direction): a checksum over all of it tells a
mistyped, foreign or made-up one. It protects nothing: any place in a list is one that the caller may read.
"""

from __future__ import annotations

import base64
import re
import struct
import zlib
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from vfexport_core.errors import InvalidRequest

Position: TypeAlias = tuple[datetime, str]
"""``date.created`` (aware) and the id of the last export of a page."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_FORM = struct.Struct(">Bq12sI")  # version, created in milliseconds, ObjectId, checksum
_VERSION = 1
LENGTH = 34  # of the text
PATTERN = rf"[A-Za-z0-9_-]{{{LENGTH}}}"


def encode(position: Position, scope: str) -> str:
    """Return the cursor for the page after `position` of the list that `scope` describes."""
    created, export_id = position
    millis, raw_id = (created - _EPOCH) // _MILLISECOND, bytes.fromhex(export_id)
    packed = _FORM.pack(_VERSION, millis, raw_id, _checksum(millis, raw_id, scope))
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def decode(text: str, scope: str) -> Position:
    """Return the position of a cursor that `encode` made for the same list; raises InvalidRequest for another text."""
    refused = InvalidRequest("cursor: is not one of this list; begin again without it", payload="cursor")
    if not re.fullmatch(PATTERN, text):  # the decoder takes the characters of plain base64, too
        raise refused
    try:
        raw = base64.b64decode(text + "==", altchars=b"-_", validate=True)
        version, millis, raw_id, checksum = _FORM.unpack(raw)
        created = _EPOCH + millis * _MILLISECOND
    except (ValueError, struct.error, OverflowError):
        raise refused from None
    if version != _VERSION or checksum != _checksum(millis, raw_id, scope):
        raise refused
    return created, raw_id.hex()


def _checksum(millis: int, raw_id: bytes, scope: str) -> int:
    return zlib.crc32(f"{_VERSION}|{millis}|{scope}|".encode("utf-8", "replace") + raw_id)
