"""What several integration tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.ccpa import running_service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    from tests.ccpa import Service
    from vfexport_core.settings import Settings


@pytest.fixture
def service(settings: Settings, database: Database[dict[str, Any]]) -> Iterator[Service]:
    """Return a service with empty collections of its own, to delete users' data from."""
    with running_service(settings, database) as service:
        yield service
