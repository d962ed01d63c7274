"""The root of the tree, its two branches, and how an export keeps an error."""

from __future__ import annotations

import traceback
from typing import ClassVar

INTERNAL_CODE = "InternalError"
_FRAMES = 8


class VfexportError(Exception):
    """Root of the tree; anything else that reaches an entrypoint is a bug and is reported as ``InternalError``."""

    code: ClassVar[str] = INTERNAL_CODE
    status: ClassVar[int] = 500
    hint: str = "Look for the correlation id in the logs."

    def __init__(self, message: str, *, payload: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.payload = payload
        if hint is not None:
            self.hint = hint

    @property
    def description(self) -> str:
        """Code, message and what to do, for whoever reads it."""
        return f"{self.code}: {self.message}. {self.hint}"

    def as_dict(self) -> dict[str, str | None]:
        """Return ``{code, message, payload}``, the form in which an export document keeps an error."""
        return {"code": self.code, "message": self.message, "payload": self.payload}


class PermanentError(VfexportError):
    """Trying the same again gives the same error."""


class TransientError(VfexportError):
    """A passing fault: the same request may work later."""


def error_class(code: str) -> type[VfexportError]:
    """Return the class that an export's stored error came from; the root where no class has this code.

    Of two classes with one code it is the transient one: it may be worth to try again.
    """
    # The branches of the tree have the root's code, and are no errors of their own.
    found = [cls for cls in _with_subclasses(VfexportError) if vars(cls).get("code") == code]
    return next((cls for cls in found if issubclass(cls, TransientError)), found[0] if found else VfexportError)


def _with_subclasses(root: type[VfexportError]) -> list[type[VfexportError]]:
    return [root, *(cls for child in root.__subclasses__() for cls in _with_subclasses(child))]


def error_document(error: BaseException) -> dict[str, str | None]:
    """Return ``{code, message, payload}`` of any exception, as an export keeps it.

    The message of an exception that is not ours may quote what it stumbled over, so only its class and place are told.
    """
    if isinstance(error, VfexportError):
        return error.as_dict()
    frame = traceback.extract_tb(error.__traceback__)[-1:]
    place = f" at {frame[0].name}, line {frame[0].lineno}" if frame else ""
    return {"code": INTERNAL_CODE, "message": f"{type(error).__name__}{place}", "payload": None}


def error_report(error: BaseException) -> dict[str, str]:
    """Return what operators are told of any exception: code, message, payload if it has one, hint, ``raised at``.

    And ``transient`` where it is such a fault: then its attempt is followed by another one, if any is left.

    Nothing of what else it says: its chain would hold messages of the driver and of Python, and those may quote data.
    """
    fields = {name: value for name, value in error_document(error).items() if value is not None}
    hint = error.hint if isinstance(error, VfexportError) else VfexportError.hint
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    place = "\n".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames)
    transient = {"transient": "yes"} if isinstance(error, TransientError) else {}
    return fields | transient | {"hint": hint, "raised at": place}
