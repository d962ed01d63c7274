"""Signing in at the token issuer (OpenID Connect): where the page sends its user, and where it fetches the token.

The page is a public client: authorization code with PKCE, no secret. What the issuer's discovery document says is
looked up by the API, so that the page's policy can name the one foreign address that it may ask.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vfexport_core.api.auth.verification_keys import is_trustworthy
from vfexport_core.errors import ConfigurationError
from vfexport_core.outbound.fetching import fetch

if TYPE_CHECKING:
    from collections.abc import Callable

    from vfexport_core.settings import Settings

_PATH = "/.well-known/openid-configuration"
_FETCH_SECONDS = 2.0
_FRESH_SECONDS = 300.0
_AGAIN_SECONDS = 10.0
# What has no character that means something in a policy.
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?(?=/|$)")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SignIn:
    """All that the page needs to know of the issuer."""

    issuer: str
    client_id: str
    scope: str
    audience: str
    authorization_endpoint: str
    token_endpoint: str

    @property
    def token_origin(self) -> str:
        """Where the token endpoint is, as a policy names it."""
        found = _ORIGIN.match(self.token_endpoint)
        assert found is not None, "looked at when it was found"
        return found.group()

    def as_json(self) -> str:
        """Return it for the page, which reads camelCase."""
        fields = {
            "issuer": self.issuer,
            "clientId": self.client_id,
            "scope": self.scope,
            "audience": self.audience,
            "authorizationEndpoint": self.authorization_endpoint,
            "tokenEndpoint": self.token_endpoint,
        }
        return json.dumps(fields)


class SignInFinder:
    """Finds out how to sign in, and remembers it for a while; blocks: call it from a worker thread."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        """Raise ConfigurationError when a client is set, and the issuer is no address that a browser may be sent to."""
        self._client_id, self._scope = settings.oidc_client_id, settings.oidc_scope
        self._issuer, self._audience = settings.jwt_issuer or "", settings.jwt_audience or ""
        if self._client_id is not None and not is_trustworthy(self._issuer):
            raise ConfigurationError(
                "VFEXPORT_JWT_ISSUER must be an https address where VFEXPORT_OIDC_CLIENT_ID is set",
                payload="VFEXPORT_JWT_ISSUER",
            )
        self._clock = clock
        self._asking = threading.Lock()
        self._found: SignIn | None = None
        self._again = float("-inf")

    def find(self) -> SignIn | None:
        """Return how to sign in; None without a client, and as long as the issuer's document was not had."""
        if self._client_id is None:
            return None
        # One asks; the others have what is known, for a slow issuer must not hold every thread of the process.
        if self._clock() >= self._again and self._asking.acquire(blocking=False):
            try:
                self._ask(self._client_id)
            finally:
                self._asking.release()
        return self._found

    def _ask(self, client_id: str) -> None:
        if self._clock() < self._again:  # somebody has just done it
            return
        try:
            self._found = self._discover(client_id)
            self._again = self._clock() + _FRESH_SECONDS
        except (OSError, ValueError, RecursionError) as error:
            _log.warning("the issuer's discovery document cannot be used: %s", type(error).__name__)
            self._again = self._clock() + _AGAIN_SECONDS

    def _discover(self, client_id: str) -> SignIn:
        document: Any = json.loads(fetch(self._issuer.rstrip("/") + _PATH, _FETCH_SECONDS))
        # Another issuer's document would send the code elsewhere.
        if not isinstance(document, dict) or document.get("issuer") != self._issuer:
            raise ValueError("not the issuer's document")
        authorization, token = (str(document.get(name)) for name in ("authorization_endpoint", "token_endpoint"))
        if not all(is_trustworthy(one) and _ORIGIN.match(one) for one in (authorization, token)):
            raise ValueError("an endpoint that nobody may be sent to")
        return SignIn(self._issuer, client_id, self._scope, self._audience, authorization, token)
