"""What the demo does not see of the machine it runs on."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from vfexport_core.settings import PREFIX

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

_HIDDEN = (PREFIX, "AWS_", "DAGSTER_", "MOTO_")


@contextlib.contextmanager
def isolated(folder: Path) -> Generator[None]:
    """Hide, for the block, the environment's settings of this service, of AWS and of Dagster, from children too.

    A shell that is set up for production must not lead the demo there. Temporary files go to `folder`.
    """
    before = dict(os.environ)
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    for name in before:
        if name.startswith(_HIDDEN):
            del os.environ[name]
    os.environ.update(
        TMPDIR=str(temporary),
        AWS_EC2_METADATA_DISABLED="true",
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        # Everything is on this machine; gRPC and botocore would go through a proxy all the same.
        NO_PROXY="127.0.0.1,localhost",
        no_proxy="127.0.0.1,localhost",
    )
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
