"""Where a person finds an object in the console of its store."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from vfexport_core.settings import BucketSettings


def console_url(settings: BucketSettings, key: str) -> str | None:
    """Return the address of an object's page in the console of AWS; None for another store, which may have none."""
    if settings.endpoint_url is not None:
        return None
    region = {"region": settings.region} if settings.region else {}
    return f"https://console.aws.amazon.com/s3/object/{quote(settings.name)}?{urlencode(region | {'prefix': key})}"
