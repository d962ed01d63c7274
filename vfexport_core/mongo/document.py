"""What documents are made of, whoever writes them: their type, MongoDB's own time, and text that BSON can hold."""

from __future__ import annotations

import re
from typing import Any

Document = dict[str, Any]

NOW = "$$NOW"
"""MongoDB's time, in an update by a pipeline: the clock of no worker decides about an export."""

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def has_lone_surrogate(text: str) -> bool:
    """Return whether `text` is no Unicode text, as JSON's escapes can spell it."""
    return _LONE_SURROGATE.search(text) is not None


def storable(text: str) -> str:
    """Replace what is not Unicode text: names read from dirty documents may hold lone surrogates, BSON must not."""
    return _LONE_SURROGATE.sub("\ufffd", text)
