"""Errors of the command line: whatever a command raises becomes one line on stderr and an exit status.

0 done, 1 failed, 2 wrong usage, 3 a passing fault. A command that a signal ended gives 128 + its number, one whose
reader went away (`| head`) that of SIGPIPE, as other programs do.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vfexport_core.cli import signals
from vfexport_core.cli.hints import hint_of
from vfexport_core.errors import INTERNAL_CODE, RequestError, TransientError, VfexportError

if TYPE_CHECKING:
    from collections.abc import Generator

FAILED, USAGE, PASSING, CLOSED_PIPE = 1, 2, 3, 141
JSON_ERRORS = "vfexport.json-errors"
DEBUG = "VFEXPORT_DEBUG"

_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a command failed: the error's code, what happened and to what, what to do about it, the exit status."""

    code: str
    message: str
    hint: str
    payload: str | None = None
    status: int = FAILED

    def as_json(self) -> str:
        """Return ``{"error": {code, message, payload, hint}}`` on one line."""
        fields = {name: getattr(self, name) for name in ("code", "message", "payload", "hint")}
        return json.dumps({"error": fields}, ensure_ascii=False)

    def as_text(self) -> str:
        """Return the same for a person, on one line; what more the message has (a log's end) goes above it."""
        first, _, more = self.message.partition("\n")
        first = first.removesuffix(":") + (" as above" if more else "")
        # What the error is about goes in only where the message does not name it already.
        about = f" ({self.payload})" if self.payload and self.payload not in first else ""
        line = f"{click.style(self.code, fg='red', bold=True)}: {first}{about}. {self.hint}"
        return f"{more}\n{line}" if more else line


class CommandFailed(Exception):
    """Ends a command with a failure that is not one of its own errors, such as that of an export run elsewhere."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure


def failure_of(error: Exception) -> Failure:
    """Describe what an error is to a user of the command line."""
    if isinstance(error, CommandFailed):
        return error.failure
    if isinstance(error, VfexportError):
        status = PASSING if isinstance(error, TransientError) else FAILED
        return Failure(
            code=error.code,
            message=error.message.rstrip("."),
            hint=hint_of(error),
            payload=error.payload,
            status=USAGE if isinstance(error, RequestError) else status,
        )
    return Failure(
        code=INTERNAL_CODE,
        # The error's own text may hold a fan's data.
        message=f"unexpected {type(error).__name__}{_place_of(error)}",
        hint=f"This is a bug: run it again with {DEBUG}=1 and report the traceback.",
    )


@contextlib.contextmanager
def reporting_errors(*, as_json: bool) -> Generator[None]:
    """Report whatever the block raises, and exit; click's own errors keep their way unless JSON is wanted."""
    try:
        yield
        sys.stdout.flush()
    except click.UsageError as error:
        if not as_json:
            raise
        hint = f"See `{error.ctx.command_path if error.ctx else 'vfexport'} --help`."
        usage = Failure(code="WrongUsage", message=error.format_message(), hint=hint, status=USAGE)
        raise click.exceptions.Exit(_report(usage, as_json=True)) from None
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except KeyboardInterrupt as error:
        raise click.exceptions.Exit(signals.exit_status(error)) from None
    except BrokenPipeError:
        _silence_stdout()
        raise click.exceptions.Exit(CLOSED_PIPE) from None
    except Exception as error:  # noqa: BLE001 nothing is behind this but the user
        if os.environ.get(DEBUG):
            traceback.print_exc()
        raise click.exceptions.Exit(_report(failure_of(error), as_json=as_json)) from None


def _report(failure: Failure, *, as_json: bool) -> int:
    with contextlib.suppress(OSError):  # nobody may be there to read it
        click.echo(failure.as_json() if as_json else failure.as_text(), err=True)
    return failure.status


def _silence_stdout() -> None:
    """Let what is still buffered go nowhere: Python would complain about it when it ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _place_of(error: Exception) -> str:
    """Name the last line of ours that the error went through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)]
    return f" at {Path(ours[-1].filename).relative_to(_PACKAGE.parent)}:{ours[-1].lineno}" if ours else ""
