"""What somebody needs who goes on from the demo by hand: ids, a token, a request to paste, settings for a shell."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vfexport_core.embedded.s3 import DUMMY_KEY, REGION
from vfexport_core.embedded.synthetic import DATE_KEYS, DEFAULT_NAME
from vfexport_core.settings import PREFIX

if TYPE_CHECKING:
    from vfexport_core.embedded.demo.stack import Stack

_FOLDER = "cli"


@dataclass(frozen=True, slots=True)
class Handover:
    """The lines that a demo ends with: a name and what is to be copied, in the order in which it is needed."""

    lines: tuple[tuple[str, str], ...]


def hand_over(stack: Stack) -> Handover:
    """Write the settings for the command line into the demo's folder, and return what to tell."""
    folder = stack.logs / _FOLDER
    folder.mkdir()
    settings = folder / ".env"
    settings.touch(mode=0o600)
    settings.write_text(_settings(), encoding="utf-8")
    token, campaign = stack.client.token, stack.campaign_id
    command = Path(sys.executable).with_name("vfexport")
    request = [
        *("curl", "-s", "-H", f"Authorization: Bearer {token}", "-H", "Content-Type: application/json"),
        *("-d", '{"exportType": "entries"}', f"{stack.addresses['API']}/campaigns/{campaign}/exports"),
    ]
    return Handover(
        (
            ("Campaign", f"{campaign}  {DEFAULT_NAME}"),
            ("Waves", "  ".join(DATE_KEYS)),
            ("Token", token),
            ("Request", shlex.join(request)),
            ("Shell", f"cd {shlex.quote(str(folder))} && {shlex.quote(str(command))} exports list"),
        )
    )


def _settings() -> str:
    """Return the demo's own settings, which its environment has, and the key pair of S3 as AWS's tools want it."""
    own = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
    aws = {"AWS_ACCESS_KEY_ID": DUMMY_KEY, "AWS_SECRET_ACCESS_KEY": DUMMY_KEY, "AWS_DEFAULT_REGION": REGION}
    aws["AWS_ENDPOINT_URL_S3"] = own[f"{PREFIX}BUCKETS__EXPORTS__ENDPOINT_URL"]
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in sorted((own | aws).items()))
