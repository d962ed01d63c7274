"""`vfexport doctor`."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import click

from vfexport_core.cli.errors import FAILED
from vfexport_core.doctor import Part, checks_for, daemon_checks
from vfexport_core.doctor.canary_check import canary_check
from vfexport_core.doctor.checks import Finding, Outcome, failure, run_checks
from vfexport_core.errors import ConfigurationError
from vfexport_core.settings import load_settings
from vfexport_core.storage.buckets import BucketClients

if TYPE_CHECKING:
    from collections.abc import Sequence

_COLORS = {Outcome.OK: "green", Outcome.WARNING: "yellow", Outcome.FAILED: "red", Outcome.NOT_CHECKED: "blue"}


@click.command()
@click.option(
    "--for",
    "part",
    type=click.Choice([each.value for each in Part]),
    default=Part.ALL.value,
    show_default=True,
    help="The process whose needs are checked: the API, the code location, Dagster's daemon or web server, or all.",
)
@click.option(
    "--canary",
    is_flag=True,
    help="Also export a tiny synthetic campaign: it is put into the source collections, and taken away again.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(*, part: str, canary: bool, as_json: bool) -> None:
    """Check all that the service needs, and say what to do about what is wrong.

    MongoDB, its indexes, every bucket (a small object is put and deleted), keys, disk, the Dagster instance that
    DAGSTER_HOME names, its code location and sensors. Exit status 1 if anything failed; warnings do not count.
    """
    if canary and part == Part.DAEMON:
        raise click.UsageError("--canary needs the settings, which the daemon does not have")
    found = _look(Part(part), canary=canary)
    if as_json:
        click.echo(json.dumps({"findings": [dataclasses.asdict(finding) for finding in found]}, ensure_ascii=False))
    else:
        _tell(found)
    if any(finding.outcome is Outcome.FAILED for finding in found):
        raise click.exceptions.Exit(FAILED)


def _look(part: Part, *, canary: bool) -> list[Finding]:
    if part is Part.DAEMON:
        return run_checks(daemon_checks())
    try:
        settings = load_settings()
    except ConfigurationError as error:
        return [failure("settings", error)]
    # The process ends next: a check that was given up may still use its client.
    checks = checks_for(part, settings, BucketClients(settings))
    return run_checks([*checks, canary_check(settings)] if canary else checks)


def _tell(found: Sequence[Finding]) -> None:
    name_width = max(len(finding.name) for finding in found)
    outcome_width = max(map(len, Outcome))
    for finding in found:
        outcome = click.style(f"{finding.outcome.value:<{outcome_width}}", fg=_COLORS[finding.outcome])
        click.echo(f"{finding.name:<{name_width}}  {outcome}  {finding.detail}")
        if finding.hint:
            click.echo(f"{'':<{name_width}}  {'':<{outcome_width}}  -> {finding.hint}")
