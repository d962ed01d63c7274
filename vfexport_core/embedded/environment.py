"""The settings that make the service use the embedded servers."""

from __future__ import annotations

from contextlib import closing, nullcontext
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from vfexport_core.settings import PREFIX

if TYPE_CHECKING:
    from vfexport_core.embedded.mongo import MongoServer
    from vfexport_core.embedded.s3 import S3Server

DEVELOPMENT_HASH_KEY = "embedded-development-only"
# SecantusDB's $in is quadratic in the number of ids: 100 take 15 ms, 4,000 take 11 s.
LOOKUP_BATCH = 100
BUCKETS = {
    "EXPORTS": "vfexport-exports",
    "SCORING": "vfexport-scoring",
    "VF_SCORING": "vfexport-vf-scoring",
    "SFMC": "vfexport-sfmc",
}


def embedded_environment(
    mongo: MongoServer, s3: S3Server, *, bucket_suffix: str = "", client: Any = None
) -> dict[str, str]:
    """Create the four buckets (kept where they exist) and return the `VFEXPORT_*` variables of the embedded stack.

    `bucket_suffix` and `client` are those of `embedded_buckets`.
    """
    environment = {
        "MONGO_URI": mongo.uri,
        "LOOKUP_BATCH": str(LOOKUP_BATCH),
        "DEV_MODE": "true",
        "CCPA_HASH_KEY": DEVELOPMENT_HASH_KEY,
    }
    buckets = embedded_buckets(s3, bucket_suffix=bucket_suffix, client=client)
    return {PREFIX + key: value for key, value in environment.items()} | buckets


def embedded_buckets(s3: S3Server, *, bucket_suffix: str = "", client: Any = None) -> dict[str, str]:
    """Create the four buckets (kept where they exist) and return the `VFEXPORT_*` variables that name them.

    `bucket_suffix` is added to every bucket's name, so that several users of one server do not meet. `client` is one of
    `s3_client`, for who has it already: to make one takes longer than to create the buckets.
    """
    names = {key: name + bucket_suffix for key, name in BUCKETS.items()}
    with closing(s3_client(s3)) if client is None else nullcontext(client) as creating:
        for name in names.values():
            _create_bucket(creating, name)
    environment: dict[str, str] = {}
    for key, name in names.items():
        environment |= {
            f"BUCKETS__{key}__NAME": name,
            f"BUCKETS__{key}__ENDPOINT_URL": s3.endpoint_url,
            f"BUCKETS__{key}__REGION": s3.region,
            f"BUCKETS__{key}__ACCESS_KEY_ID": s3.access_key_id,
            f"BUCKETS__{key}__SECRET_ACCESS_KEY": s3.secret_access_key,
        }
    return {PREFIX + key: value for key, value in environment.items()}


def s3_client(s3: S3Server) -> Any:
    """Return a client of the server, as boto3 makes it; the caller closes it."""
    return boto3.client(
        "s3",
        endpoint_url=s3.endpoint_url,
        region_name=s3.region,
        aws_access_key_id=s3.access_key_id,
        aws_secret_access_key=s3.secret_access_key,
        config=Config(s3={"addressing_style": "path"}),
    )


def _create_bucket(client: Any, name: str) -> None:
    try:
        client.create_bucket(Bucket=name)
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
            raise
