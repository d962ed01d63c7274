"""`vfexport reconcile`: the exports' documents against what is in the buckets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from vfexport_core.cli.errors import FAILED
from vfexport_core.cli.export import actor
from vfexport_core.cli.report import tell
from vfexport_core.services.bootstrap import Backend
from vfexport_core.services.reconcile_store import UNKNOWN_HOURS, StoreReconciler
from vfexport_core.settings import load_settings

if TYPE_CHECKING:
    from vfexport_core.services.reconcile_store import StoreFinding


def _number(_ctx: click.Context, _param: click.Parameter, value: float) -> float:
    if math.isnan(value):  # which is in every range, for it compares with nothing
        raise click.BadParameter("nan is no number of hours")
    return value


@click.command()
@click.option("--fix", is_flag=True, help="Do what is said of each difference; unknown objects stay.")
@click.option("--delete-unknown", is_flag=True, help="With --fix: delete unknown objects as well, for good.")
@click.option(
    "--unknown-hours",
    type=click.FloatRange(0, 1_000_000),
    callback=_number,
    default=UNKNOWN_HOURS,
    show_default=True,
    help="An object that no export records is unknown when it is older.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the differences as JSON.")
def reconcile(*, fix: bool, delete_unknown: bool, unknown_hours: float, as_json: bool) -> None:
    """Compare the exports' documents with the files in the buckets, and say what differs and what --fix would do.

    Looks at each file that a FINISHED export records (is it there, with its size and SHA-256), and for objects under
    keys like ours that no export records. Needs MongoDB and the buckets. A file that an export records is never
    deleted. Exit status 1 when something differs that was not mended.

    Where several databases share a bucket, what one does not know may be another's: never use --delete-unknown there.
    """
    if delete_unknown and not fix:
        raise click.UsageError("--delete-unknown goes with --fix")
    told: list[dict[str, Any]] = []
    with Backend(load_settings()) as backend:
        backend.check_initialised()
        reconciler = StoreReconciler(backend)
        for finding in reconciler.look(unknown_hours=unknown_hours):
            is_fixed = fix and reconciler.fix(finding, actor(), deletes=delete_unknown)
            told.append(_wire(finding, is_fixed=is_fixed))
            if not as_json:
                click.echo(_line(finding, is_fixed=is_fixed))
    left = [one for one in told if not one["fixed"] and one["difference"] != "foreign"]
    if as_json:
        tell({"differences": told, "left": len(left)}, as_json=True)
    else:
        click.echo(
            f"{len(told)} differences, {len(told) - len(left)} of them mended or not ours"
            if told
            else "all as recorded"
        )
    if left:
        raise click.exceptions.Exit(FAILED)


def _line(finding: StoreFinding, *, is_fixed: bool) -> str:
    of = "" if finding.export_id is None else f" (export {finding.export_id})"
    done = "done" if is_fixed else "with --fix"
    return f"{finding.difference}: {finding.bucket}/{finding.key}{of}: {finding.why}. {done}: {finding.remedy}"


def _wire(finding: StoreFinding, *, is_fixed: bool) -> dict[str, Any]:
    return {
        "difference": finding.difference.value,
        "bucket": finding.bucket,
        "key": finding.key,
        "exportId": finding.export_id,
        "why": finding.why,
        "remedy": finding.remedy,
        "fixed": is_fixed,
    }
