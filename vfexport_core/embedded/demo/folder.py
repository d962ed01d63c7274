"""The demo's folder: fresh every time, inside the checkout, and no other demo's."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

import vfexport_core
from vfexport_core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator

DAGSTER_YAML = "dagster.yaml"
_LOCK = "lock"


def find_checkout() -> Path:
    """Return the folder of the repository; raises ConfigurationError when the package was installed without it."""
    root = Path(vfexport_core.__file__).parents[1]
    if not (root / DAGSTER_YAML).is_file():
        raise ConfigurationError(f"{root} has no {DAGSTER_YAML}: the demo runs from a checkout", payload=str(root))
    return root


@contextlib.contextmanager
def demo_folder(checkout: Path) -> Generator[Path]:
    """Make a folder below ``.demo/`` for the block; it stays, with its logs, when the block fails.

    Removes what earlier demos left there; one that runs holds a lock, and keeps its own.
    """
    parent = checkout / ".demo"
    parent.mkdir(exist_ok=True)
    # One demo at a time looks around: a folder that was just made is not taken for one left behind.
    with (parent / _LOCK).open("w") as doorkeeper:
        fcntl.flock(doorkeeper, fcntl.LOCK_EX)
        for left in parent.iterdir():
            if left.is_dir() and not _is_held(left):
                shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=parent))
        lock = _hold(folder)
    with lock:
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _hold(folder: Path) -> IO[str]:
    """Lock the folder; the lock ends with the process, however that ends. Raises BlockingIOError when it is held."""
    lock = (folder / _LOCK).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise
    return lock


def _is_held(folder: Path) -> bool:
    try:
        _hold(folder).close()
    except BlockingIOError:
        return True
    except OSError:  # it was removed meanwhile, or is none of ours
        return False
    return False
