"""`vfexport types` and `vfexport waves`: what can be exported."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import click

from vfexport_core.catalog import all_specs
from vfexport_core.cli import completion
from vfexport_core.cli.report import table
from vfexport_core.services.bootstrap import Backend
from vfexport_core.settings import load_settings
from vfexport_core.sources.campaigns import find_wave_keys

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def types(*, as_json: bool) -> None:
    """List the export types: what is in them, which bucket they go to, and which options they take."""
    found = [
        {
            "type": spec.type,
            "bucket": spec.bucket.value,
            "format": spec.extension,
            "needsDateKey": spec.needs_date_key,
            "additionalMarkets": spec.has_additional_markets,
            "summary": spec.summary,
        }
        for spec in all_specs()
    ]
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    rows = [
        (
            spec.type,
            spec.bucket.value,
            spec.extension,
            _options(spec.needs_date_key, spec.has_additional_markets),
            spec.summary,
        )
        for spec in all_specs()
    ]
    for line in table(("TYPE", "BUCKET", "FILE", "OPTION", "ROWS"), rows):
        click.echo(line)


@click.command()
@click.argument("campaign", metavar="CAMPAIGN", shell_complete=completion.campaigns)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def waves(*, campaign: str, as_json: bool) -> None:
    """List the waves that the codes of the campaign with id CAMPAIGN belong to, by their keys (--date-key).

    All codes of the campaign are read for this. Needs VFEXPORT_MONGO_URI.
    """
    with Backend(load_settings()) as backend:
        backend.campaign(campaign)
        keys = find_wave_keys(backend.database, campaign)
    if as_json:
        click.echo(json.dumps(keys))
        return
    for line in table(("WAVE", "TIME (UTC)"), [(key, _moment(key)) for key in keys]):
        click.echo(line)


def _options(needs_date_key: bool, has_additional_markets: bool) -> str:
    return "--date-key" if needs_date_key else "--all-markets" if has_additional_markets else ""


def _moment(date_key: str) -> str:
    """Return the moment of a wave's key, which is in epoch milliseconds; empty for one that is no moment."""
    try:
        return (_EPOCH + timedelta(milliseconds=int(date_key))).strftime("%Y-%m-%d %H:%M:%S")
    except OverflowError:
        return ""
