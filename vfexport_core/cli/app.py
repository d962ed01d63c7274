"""The command's root: which sub-commands there are; each is imported only when it is called."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from vfexport_core.cli import signals
from vfexport_core.cli.errors import DEBUG, JSON_ERRORS, reporting_errors
from vfexport_core.cli.service_warnings import shown_warnings
from vfexport_core.errors import CheckoutOnly

if TYPE_CHECKING:
    from types import ModuleType
    from typing import NoReturn


# Embedded servers and synthetic data: `demo` and `seed` need it, no other command does.
_CHECKOUT_ONLY = "vfexport_core.embedded"


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where a sub-command is, and what `vfexport --help` says of it without importing it."""

    module: str
    name: str
    summary: str


COMMANDS = {
    "export": _Entry("vfexport_core.cli.export", "export", "Export a campaign: to S3 through the queue, or to a file."),
    "exports": _Entry("vfexport_core.cli.exports", "exports", "List, show, retry and cancel the queue's exports."),
    "types": _Entry("vfexport_core.cli.catalog", "types", "List the export types."),
    "waves": _Entry("vfexport_core.cli.catalog", "waves", "List a campaign's waves."),
    "plan": _Entry("vfexport_core.cli.plan", "plan", "Say what an export would do: reads, time, bucket, key."),
    "verify": _Entry("vfexport_core.cli.delivered", "verify", "Hold an export's files against its record."),
    "queue": _Entry("vfexport_core.cli.queue", "queue", "Pause the queue, resume it, wait until nothing runs."),
    "reconcile": _Entry(
        "vfexport_core.cli.reconcile", "reconcile", "Compare exports with their files; mend the record."
    ),
    "backup": _Entry("vfexport_core.cli.backup", "backup", "Write what the service keeps of itself to a file."),
    "restore": _Entry("vfexport_core.cli.backup", "restore", "Put a backup into an empty database."),
    "retention": _Entry("vfexport_core.cli.retention", "retention", "List, or take away, what is past its time."),
    "audit": _Entry("vfexport_core.cli.audit", "audit", "List who asked for, cancelled, downloaded, deleted what."),
    "notifications": _Entry(
        "vfexport_core.cli.notifications", "notifications", "List what webhooks were told; send it again."
    ),
    "ccpa": _Entry("vfexport_core.cli.ccpa", "ccpa", "Delete what was exported of a user."),
    "api": _Entry("vfexport_core.cli.api", "api", "Serve the HTTP API."),
    "serve": _Entry("vfexport_core.cli.serve", "serve", "Run API and Dagster on this machine; restart what ends."),
    "init": _Entry("vfexport_core.cli.init", "init", "Create the service's indexes and validators; idempotent."),
    "doctor": _Entry("vfexport_core.cli.doctor", "doctor", "Check MongoDB, buckets, keys and Dagster; say what to do."),
    "seed": _Entry("vfexport_core.cli.seed", "seed", "Load a synthetic campaign, from a checkout; print its id."),
    "demo": _Entry("vfexport_core.cli.demo", "demo", "Run everything here, from a checkout, on embedded servers."),
}


def _imported(module: str) -> ModuleType:
    """Import a sub-command's module; raises CheckoutOnly for one that leans on what the wheel leaves out."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != _CHECKOUT_ONLY:
            raise
        command = module.rpartition(".")[2]
        raise CheckoutOnly(
            f"`vfexport {command}` needs {_CHECKOUT_ONLY}, which is in the checkout and not in the installed package",
            payload=_CHECKOUT_ONLY,
        ) from None


class LazyGroup(click.Group):
    """Imports a sub-command when it is called, and turns whatever it raises into an exit status."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        return getattr(_imported(entry.module), entry.name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # An error must know its form even if it comes up before the sub-command has read its options.
        ctx.meta[JSON_ERRORS] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        as_json: bool = ctx.meta[JSON_ERRORS]
        with (
            reporting_errors(as_json=as_json),
            shown_warnings(quiet=as_json, everything=bool(os.environ.get(DEBUG))),
        ):
            return super().invoke(ctx)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        # By the summaries: what is only named need not be imported.
        found = [
            CompletionItem(name, help=entry.summary) for name, entry in COMMANDS.items() if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="vfexport")
def vfexport() -> None:
    """Export fan registrations from MongoDB to S3.

    Settings come from VFEXPORT_* variables and from .env. Exit status: 0 done, 1 failed, 2 wrong usage, 3 a passing
    fault (MongoDB or S3 not reachable) where trying again may help. VFEXPORT_DEBUG=1 shows tracebacks.
    """


def main() -> NoReturn:
    """Run the command line and exit with its status."""
    with signals.raised():
        vfexport(prog_name="vfexport")
    raise AssertionError  # click exits
