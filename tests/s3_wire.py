"""How requests to S3 look on the wire: the bucket in the host's name or in the path, chunks with a trailer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from email.message import Message
    from io import BufferedIOBase

    from botocore.awsrequest import AWSPreparedRequest

_AWS_HOST = re.compile(r"(?:(?P<bucket>.+)\.)?s3(?:[.-][a-z0-9-]+)?\.amazonaws\.com")
_CHUNKED = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


def is_aws(host: str) -> bool:
    """Return whether a request to this host was meant for AWS."""
    return _AWS_HOST.fullmatch(host) is not None


def path_style(host: str, path: str) -> str:
    """Return the path of a request, with the bucket in it also where the host's name begins with it."""
    found = _AWS_HOST.fullmatch(host)
    bucket = found.group("bucket") if found else None
    return f"/{bucket}{path}" if bucket else path


def resolve_to(url: str, request: AWSPreparedRequest) -> None:
    """Send a request that was made and signed for AWS to `url` instead, as a name server could."""
    _, _, after = request.url.partition("://")
    host, _, path = after.partition("/")
    request.headers["Host"] = host
    request.url = f"{url}/{path}"


def read_body(stream: BufferedIOBase, headers: Message) -> bytes:
    """Read a request's body; raises ConnectionResetError when the client goes away before its end."""
    if headers.get("Transfer-Encoding", "") == "chunked":
        return _read_chunks(stream)
    return _read(stream, int(headers.get("Content-Length", 0)))


def unwrap(headers: Message, body: bytes) -> bytes:
    """Return the body without the chunks of AWS' own; the trailer behind them becomes a header."""
    del headers["Transfer-Encoding"]
    if headers.get("x-amz-content-sha256") != _CHUNKED:
        return body
    for name in ("Content-Encoding", "x-amz-content-sha256", "x-amz-decoded-content-length", "x-amz-trailer"):
        del headers[name]
    headers["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD"
    chunks, start = list[memoryview](), 0
    while True:
        end = body.index(b"\r\n", start)
        size = int(body[start:end], 16)
        start = end + 2
        if size == 0:
            break
        chunks.append(memoryview(body)[start : start + size])
        start += size + 2
    for line in body[start:].decode().split():
        name, _, value = line.partition(":")
        headers[name] = value
    return b"".join(chunks)


def _read_chunks(stream: BufferedIOBase) -> bytes:
    chunks: list[bytes] = []
    while size := int(stream.readline().strip() or b"0", 16):
        chunks.append(_read(stream, size))
        _read(stream, 2)
    _read(stream, 2)
    return b"".join(chunks)


def _read(stream: BufferedIOBase, length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        # S3 would see the connection end, too; passed on, it would wait for the rest.
        raise ConnectionResetError("the client went away in the middle of a request")
    return data
