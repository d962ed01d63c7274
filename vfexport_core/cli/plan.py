"""`vfexport plan`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from vfexport_core.catalog import find_spec
from vfexport_core.cli import completion
from vfexport_core.cli.report import table
from vfexport_core.services.bootstrap import Backend
from vfexport_core.services.forecast import forecast
from vfexport_core.settings import load_settings
from vfexport_core.telemetry.progress import duration

if TYPE_CHECKING:
    from vfexport_core.services.forecast import Forecast


@click.command()
@click.argument("campaign", metavar="CAMPAIGN", shell_complete=completion.campaigns)
@click.argument("export_type", metavar="TYPE", shell_complete=completion.types)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(*, campaign: str, export_type: str, as_json: bool) -> None:
    """Print what an export of the campaign with id CAMPAIGN as TYPE would do, and export nothing.

    Which collections it reads by which indexes, how many documents, for how long by past exports, and where its file
    goes. Needs VFEXPORT_MONGO_URI.
    """
    spec = find_spec(export_type)
    with Backend(load_settings()) as backend:
        found = forecast(backend, campaign, spec)
    if as_json:
        click.echo(json.dumps(_summary(found), ensure_ascii=False))
        return
    at_most = "" if spec.scan.where is None else "at most "
    documents = "unknown before they are read" if found.documents is None else f"{at_most}{found.documents:,}"
    took = (
        "unknown: none has finished"
        if found.seconds is None
        else f"{duration(found.seconds)}, by {found.past_exports} past"
    )
    rows = [
        ("campaign", found.campaign_name),
        ("documents", documents),
        ("time", took),
        ("bucket", found.bucket or f"{spec.bucket} is not configured"),
        ("key", found.key),
    ]
    for name, value in rows:
        click.echo(f"{click.style(f'{name:<9}', bold=True)} {value}")
    click.echo()
    uses = [(use.collection, use.index, "there" if use.is_there else "missing: all is read") for use in found.reads]
    for line in table(("READS", "BY INDEX", "INDEX IS"), uses):
        click.echo(line)


def _summary(found: Forecast) -> dict[str, Any]:
    return {
        "campaignName": found.campaign_name,
        "exportType": found.spec.type,
        "documents": found.documents,
        "isUpperBound": found.spec.scan.where is not None,
        "seconds": None if found.seconds is None else round(found.seconds, 1),
        "pastExports": found.past_exports,
        "bucket": found.bucket,
        "key": found.key,
        "reads": [{"collection": use.collection, "index": use.index, "isThere": use.is_there} for use in found.reads],
    }
