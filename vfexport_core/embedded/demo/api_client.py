"""A caller of the API, such as any machine would be."""

from __future__ import annotations

import http.client
import json
from typing import Any

from vfexport_core.embedded.process import HOST
from vfexport_core.errors import EmbeddedServerFailed

_TIMEOUT_SECONDS = 60
_USER = "demo"


class ApiClient:
    """Speaks to the API on a port of 127.0.0.1, as a user with a dev token that may export every campaign.

    Raises EmbeddedServerFailed for an answer that is not the expected one.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._headers = {"Content-Type": "application/json"}
        answer = self._ask("POST", "/dev/token", {"userId": _USER, "permissions": {"*": ["REPORT"]}})
        self.token: str = answer["token"]
        """Good for an hour."""
        self._headers["Authorization"] = f"Bearer {self.token}"

    def export_types(self) -> list[dict[str, Any]]:
        """Return the catalog."""
        return self._ask("GET", "/export-types")

    def request(self, campaign_id: str, export_type: str, date_key: str | None) -> dict[str, Any]:
        """Queue an export."""
        body = {"exportType": export_type} | ({} if date_key is None else {"dateKey": date_key})
        return self._ask("POST", f"/campaigns/{campaign_id}/exports", body)

    def exports(self, campaign_id: str) -> list[dict[str, Any]]:
        """Return the campaign's exports, oldest first."""
        return self._ask("GET", f"/campaigns/{campaign_id}/exports?limit=200&sortDir=asc")

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), self._headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise EmbeddedServerFailed(f"the API does not answer {method} {path}: {error}") from error
        finally:
            connection.close()
        if answer.status >= http.HTTPStatus.BAD_REQUEST:
            raise EmbeddedServerFailed(f"the API answered {method} {path} with {answer.status}: {content[:500]!r}")
        return json.loads(content)
