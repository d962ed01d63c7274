"""What a process writes to a file, printed while it is written.

By GNU's `tail`, which ends with that process by itself; other systems' watches no process.
"""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

_LONGEST_PRINTING_SECONDS = 5.0
_LONGEST_END_SECONDS = 30.0
_PAUSE_SECONDS = 0.001


def can_mirror() -> bool:
    """Return whether this machine's `tail` watches processes."""
    try:
        done = subprocess.run(["tail", "--version"], capture_output=True, check=False)  # noqa: S607 whichever is found
    except OSError:
        return False
    return b"GNU coreutils" in done.stdout


@contextmanager
def mirrored(path: str, stream: Any, pause_seconds: float = 0.0) -> Generator[int]:
    """Print what is written to the file at `path`, all of it when the block ends, until then or this process' end.

    Yields the number of the process that prints, to `stream` where that is one of the operating system's, else to
    stdout. At the end of the block nothing is done for `pause_seconds` first.
    """
    command = ["tail", "-F", "-c", "+0", f"--pid={os.getpid()}", path]
    process = subprocess.Popen(command, stdout=stream if _has_number(stream) else None)  # noqa: S603 a path of our own
    try:
        yield process.pid
    finally:
        time.sleep(pause_seconds)
        with suppress(OSError):
            _wait_until_printed(process, Path(path))
        with suppress(OSError):
            process.terminate()
            process.wait(_LONGEST_END_SECONDS)


def _wait_until_printed(process: subprocess.Popen[bytes], path: Path) -> None:
    """Wait until a process, which may have ended, has written as much as there is in a file.

    Not for long: nobody may read what it writes. Raises OSError where the kernel does not count that.
    """
    size, deadline = path.stat().st_size, time.monotonic() + _LONGEST_PRINTING_SECONDS
    while process.poll() is None and _written(process.pid) < size and time.monotonic() < deadline:
        time.sleep(_PAUSE_SECONDS)


def _written(pid: int) -> int:
    """Return how many bytes a process has written since it began. Raises OSError."""
    counters = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines())
    return int(counters["wchar"])


def _has_number(stream: Any) -> bool:
    """Return whether a stream is one of the operating system's; one that is not cannot be given to a process."""
    try:
        return bool(stream.fileno())
    except (AttributeError, OSError):  # io.UnsupportedOperation is an OSError
        return False
