"""The wheel: what production installs, looked into and imported without the checkout and what only that needs."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import click
import pytest

from tests.unit.docs_helpers import ROOT

CHECKOUT_ONLY = {"vfexport_core.cli.demo", "vfexport_core.cli.demo_view", "vfexport_core.cli.seed"}

PROGRAM = """
import importlib, sys

class Absent:
    '''Finds none of what production does not install.'''

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"moto", "secantus", "werkzeug", "pandas", "pytest", "hypothesis", "httpx"}:
            raise ModuleNotFoundError(f"{name} is not installed in production", name=name)

wheel, libraries, *rest = sys.argv[1:]
# Without `site`, so that the checkout, which is installed in this environment too, is not found.
sys.path[:0] = [wheel]
sys.path.append(libraries)
sys.meta_path.insert(0, Absent())
sys.argv[1:] = rest
"""

pytestmark = pytest.mark.xdist_group("wheel")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the unpacked wheel."""
    built, unpacked = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("unpacked")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(built)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (file,) = built.iterdir()
    with zipfile.ZipFile(file) as archive:
        archive.extractall(unpacked)
    return unpacked


def modules(wheel: Path) -> set[str]:
    found = (path.relative_to(wheel).with_suffix("").parts for path in wheel.rglob("*.py"))
    return {".".join(parts[:-1] if parts[-1] == "__init__" else parts) for parts in found}


def run(wheel: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program with the wheel and the libraries of this environment, and nothing of the checkout."""
    libraries = Path(click.__file__).parents[1]
    command = [sys.executable, "-I", "-S", "-c", PROGRAM + program, str(wheel), str(libraries), *arguments]
    return subprocess.run(command, cwd=wheel, capture_output=True, text=True, check=False, timeout=240, env={})


def vfexport(wheel: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(wheel, "from vfexport_core.cli import main\nmain()\n", *arguments)


def failure(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.stdout == ""
    return json.loads(done.stderr)["error"]


def test_it_has_all_but_what_only_a_checkout_needs(wheel: Path):
    ours = {
        path.relative_to(ROOT)
        for package in ("vfexport_core", "vfexport_dagster")
        for path in (ROOT / package).rglob("*.py")
    }
    packed = {path.relative_to(wheel) for path in wheel.rglob("*.py")}

    assert ours - packed == {path for path in ours if path.parts[:2] == ("vfexport_core", "embedded")}
    assert packed <= ours
    (licence,) = wheel.glob("*.dist-info/licenses/LICENSE")
    assert licence.read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_everything_that_production_imports_is_there(wheel: Path):
    names = sorted(modules(wheel) - CHECKOUT_ONLY)
    done = run(
        wheel, "for name in sys.argv[1:]: assert importlib.import_module(name).__file__.startswith(wheel), name", *names
    )

    assert "vfexport_dagster.definitions" in names
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [["demo", "--once"], ["seed", "--entries", "5"]], ids=lambda command: command[0])
def test_what_needs_the_checkout_says_so(wheel: Path, command: list[str]):
    done = vfexport(wheel, *command, "--json")

    assert done.returncode == 1
    assert failure(done)["code"] == "CheckoutOnly"
    assert f"vfexport {command[0]}" in failure(done)["message"]
    assert "pip install -e '.[demo]'" in failure(done)["hint"]


def test_the_commands_are_listed_without_the_checkout(wheel: Path):
    done = vfexport(wheel, "--help")

    assert done.returncode == 0, done.stderr
    assert "doctor" in done.stdout
