"""Which process claims an export, so that its death is known on its own machine before its lease runs out.

Linux alone tells, and only of processes that are in the same process namespace of the same boot of the same machine:
for all others the lease decides.
"""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

_PROC = Path("/proc")
_BOOT = _PROC / "sys/kernel/random/boot_id"
_NAMESPACE = _PROC / "self/ns/pid"
# Behind the name of a process in its `stat`, which may hold spaces: its state, and when it was started since the boot.
_STATE, _STARTED = 0, 19
_DEAD = frozenset({"Z", "X"})


def new_claim_id() -> str:
    """Return an id that no other has, and that tells this process where `is_gone` can look for it."""
    return process_id(uuid4().hex)


def process_id(name: str) -> str:
    """Return an id that tells this process where `is_gone` can look for it, with a name (without colons) before it."""
    return ":".join([name, *_place(), *_identity(os.getpid())])


def is_gone(claim_id: str | None) -> bool:
    """Return whether the process that made a claim is certainly gone; False when that cannot be known from here."""
    words = (claim_id or "").split(":")[1:]
    place = _place()
    if len(words) != len(place) + 2 or words[: len(place)] != place:
        return False
    pid = int(words[-2])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    found = _fields(pid)
    return bool(found) and (found[_STARTED] != words[-1] or found[_STATE] in _DEAD)


def _place() -> list[str]:
    """Return what tells this machine, boot and process namespace from all others; empty where nothing does."""
    try:
        return [_BOOT.read_text().strip(), os.uname().nodename, str(_NAMESPACE.stat().st_ino)]
    except OSError:
        return []


def _identity(pid: int) -> list[str]:
    found = _fields(pid)
    return [str(pid), found[_STARTED]] if found else []


def _fields(pid: int) -> list[str]:
    """Return what the kernel says of a process behind its name; nothing when it says nothing."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
