"""Requests made up from the OpenAPI document, good and bad ones, and all of schemathesis' checks on the answers."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.api_client import insert_campaign
from tests.api_server import make_token, running_server
from vfexport_core.services.initialise import initialise

if TYPE_CHECKING:
    from pymongo.database import Database

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
PROGRAM = Path(sysconfig.get_path("scripts")) / "schemathesis"
EXAMPLES = 15
SEED = 1
MORE = ("--seed", str(SEED)) if os.environ.get("CI") else ()


@pytest.mark.timeout(600)
def test_the_api_is_as_its_document_says(
    database: Database[dict[str, Any]], settings_environment: dict[str, str], tmp_path: Path
) -> None:
    initialise(database)
    campaign = insert_campaign(database)
    with (
        running_server(settings_environment, tmp_path / "log") as server,
        httpx.Client(base_url=server.url, timeout=30) as http,
    ):
        token = make_token(http, supreme=True)
        done = subprocess.run(
            [
                *(PROGRAM, "--config-file", CONFIGURATION, "run", f"{server.url}/openapi.json"),
                *("--max-examples", str(EXAMPLES), "--continue-on-failure", *MORE),
                *("--header", f"Authorization: Bearer {token}", "--no-color"),
            ],
            cwd=tmp_path,
            env=os.environ | {"CAMPAIGN": campaign, "SCHEMATHESIS_HOOKS": str(HOOKS)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Tested: " in done.stdout
