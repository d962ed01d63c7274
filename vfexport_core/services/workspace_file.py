"""Where the code location is: the file that whoever starts it writes, for daemon, web server and doctor."""

from __future__ import annotations

import json
import os
from pathlib import Path

HOME = "DAGSTER_HOME"
WORKSPACE = "DAGSTER_WORKSPACE"
"""Names the file; else it is the one that `vfexport serve` wrote, or `workspace.yaml` in DAGSTER_HOME."""
LOCATION = "vfexport"
"""The name of the code location in Dagster."""
FILE = "workspace.yaml"
SERVED = Path("serve", FILE)
"""The file that `vfexport serve` writes, below DAGSTER_HOME."""


def write_workspace(file: Path, host: str, port: int) -> Path:
    """Write the file for a code location that listens at `host` and `port`, into a folder that may not be there yet."""
    location = {"host": host, "port": port, "location_name": LOCATION}
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"load_from": [{"grpc_server": location}]}))
    return file


def find_workspace() -> Path | None:
    """Return the file that names the code location, if there is one here."""
    home, named = Path(os.environ.get(HOME, "")), os.environ.get(WORKSPACE)
    candidates = [*([Path(named)] if named else []), home / SERVED, home / FILE]
    return next((path for path in candidates if path.is_file()), None)
