"""The image without a container engine: what the Dockerfile does, done in a folder that stands for its root.

What the image's own paths (/opt/vfexport, /etc/vfexport, /var/lib/dagster) name is below that folder. What the second
stage does to the operating system (its user) is not repeated.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.processes import DEPLOY, dockerfile, image_variables
from tests.unit.docs_helpers import ROOT

OWN = re.compile(r"(?<![\w.])(/opt/vfexport|/etc/vfexport|/var/lib/dagster|/build)\b")
BUILD_SECONDS = 900


@dataclass(frozen=True)
class Image:
    """What was built, below `root`."""

    root: Path

    def path(self, inside: str) -> Path:
        return self.root / inside.lstrip("/")

    def mapped(self, text: str) -> str:
        """Return a text with the image's own paths as they are here."""
        return OWN.sub(lambda found: str(self.path(found[1])), text)

    def variables(self) -> dict[str, str]:
        """Return the variables that the image sets, and no others; the search path without the interpreter's folder."""
        return {name: self.mapped(value.replace("$PATH", "/usr/bin:/bin")) for name, value in image_variables().items()}


def build(folder: Path) -> Image:
    """Do what the Dockerfile says, with the package index that pip is configured for."""
    image = Image(folder)
    place = image.path("/")
    for step in dockerfile():
        if step.word == "WORKDIR":
            place = image.path(step.rest)
            place.mkdir(parents=True, exist_ok=True)
        elif step.word == "COPY" and not step.rest.startswith("--from="):
            _copy(image, place, step.rest)
        elif step.word == "RUN":
            _run(image, place, step.rest)
    return image


def _copy(image: Image, place: Path, rest: str) -> None:
    *sources, target = shlex.split(rest)
    into = image.path(target) if target.startswith("/") else place / target
    for source in sources:
        origin = ROOT / source
        if origin.is_dir():
            shutil.copytree(origin, into, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            end = into / origin.name if target.endswith("/") else into
            end.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(origin, end)


def _run(image: Image, place: Path, command: str) -> None:
    """Run a command of the Dockerfile; of making its user, only the folders."""
    command = re.sub(r"useradd [^&]*&& ", "", command)
    command = re.sub(r"install -d -o \S+", "install -d", command)
    interpreter = Path(sys.base_prefix) / "bin"
    environment = {**os.environ, "PATH": f"{interpreter}:/usr/bin:/bin"}
    environment.pop("PYTHONPATH", None)
    place.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["sh", "-ec", image.mapped(command)],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    assert done.returncode == 0, (
        f"{DEPLOY.name}/Dockerfile: RUN {command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    )
