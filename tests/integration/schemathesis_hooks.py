"""What schemathesis cannot know of the API; see test_api_schemathesis.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import schemathesis
from schemathesis.openapi.checks import RejectedPositiveData

if TYPE_CHECKING:
    from schemathesis.core.failures import Failure


@schemathesis.hook
def filter_failure(_context: Any, failure: Failure, case: Any, response: Any) -> bool:
    """Keep all failures, but for what has the right form and is made up: cursors have a checksum, waves have codes."""
    if not isinstance(failure, RejectedPositiveData):
        return True
    error = response.json()["error"]
    return error["code"] != "UnknownDateKey" and not ("cursor" in (case.query or {}) and error["payload"] == "cursor")
