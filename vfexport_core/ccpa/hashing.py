"""The keyed hash that stands for a user's id: the id itself is stored nowhere."""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING, Any

from vfexport_core.errors import ConfigurationError, HashKeyMissing, InvalidRequest
from vfexport_core.rows.values import id_key

if TYPE_CHECKING:
    from vfexport_core.settings import Settings

VARIABLE = "VFEXPORT_CCPA_HASH_KEY"
USER_ID_PATTERN = r"[^/\x00-\x1f\x7f]{1,256}"

_DIGEST = "sha256"
_KEY_CHECK = "vfexport: this is the key"
_KEY_CHECK_DIGITS = 16


def check_user_id(user_id: str) -> str:
    """Return the user's id in the form in which ids are compared; raises InvalidRequest for what cannot be one.

    24 hex digits are the same id in either case.
    """
    if not re.fullmatch(USER_ID_PATTERN, user_id):
        raise InvalidRequest("userId: must be 1 to 256 characters without control characters", payload="userId")
    return id_key(user_id)


class UserHasher:
    """Hashes ids with CCPA_HASH_KEY."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self.key_check = self._digest(_KEY_CHECK)[:_KEY_CHECK_DIGITS]
        """Tells records of this key from those of another one, whose hashes mean nothing here."""

    @classmethod
    def from_settings(cls, settings: Settings) -> UserHasher:
        """Raise HashKeyMissing when there is no key."""
        key = settings.ccpa_hash_key.get_secret_value() if settings.ccpa_hash_key else ""
        if not key:
            raise HashKeyMissing(f"{VARIABLE} is not set, and CCPA deletions need it", payload=VARIABLE)
        return cls(key)

    def hash(self, user_id: Any) -> str:
        """Return the hash (64 hex digits) of an id as it is in a document, whatever its BSON type."""
        return self._digest(id_key(user_id))

    def require(self, key_check: str) -> None:
        """Raise ConfigurationError when a record was made with another key."""
        if key_check != self.key_check:
            raise ConfigurationError(
                f"{VARIABLE} is not the one that an open or recent CCPA deletion was recorded with", payload=VARIABLE
            )

    def _digest(self, text: str) -> str:
        return hmac.digest(self._key, text.encode("utf-8", "replace"), _DIGEST).hex()
