"""Combinations that no type of the catalog has yet: a declaration may put together whatever the vocabulary offers."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.builders import (
    ABSENT,
    hex_id,
    make_campaign,
    make_entry,
    make_market,
    make_promoter,
    make_scoring,
    make_sms_wave,
    make_user,
)
from tests.delivered import load, unzipped
from tests.reference import Campaign
from vfexport_core.catalog.collections import Collection, Field, FieldType
from vfexport_core.catalog.contact import EMAIL, MARKET_NAME, OWN_MARKET, PHONE, USER_ID, USER_OF_ENTRY, scoring
from vfexport_core.catalog.expressions import Column
from vfexport_core.catalog.reminders import HELD_CODE_ID, REMINDER_EMAIL
from vfexport_core.catalog.spec import Bucket, Container, Expansion, ExportSpec, GroupBy, IsTrue, Lookup, Scan, Shape
from vfexport_core.pipeline.export_pipeline import ExportPipeline
from vfexport_core.pipeline.export_plan import ExportPlan
from vfexport_core.pipeline.run import write_rows
from vfexport_core.sources.campaigns import find_campaign

if TYPE_CHECKING:
    from pymongo.database import Database

    from vfexport_core.settings import Settings

NO_PHONE = {"fields": {"phone": ABSENT, "promoterOptIns": ["p1", "p2"], "additionalMarkets": [hex_id(2)]}}
BUNDLE = Campaign(
    make_campaign(promoterIds=["p1", "p2"]),
    [make_market(1), make_market(2)],
    [make_user(1, ticketmaster={"phone": ""}), make_user(2), make_user(3), make_user(4)],
    [
        make_entry(1, **NO_PHONE),
        make_entry(2, fields={"promoterOptIns": ["p2"], "additionalMarkets": [hex_id(2)]}),
        make_entry(3, fields={"promoterOptIns": ["p1", "p2"]}),
        make_entry(4, fields={"promoterOptIns": ["p1"], "additionalMarkets": [hex_id(2), hex_id(9)]}),
    ],
    [
        make_scoring(1, codes=[{"id": "A", "marketId": hex_id(1)}, {"id": "B", "marketId": hex_id(2)}]),
        make_scoring(2),
        make_scoring(3, selected=False),
        make_scoring(4, codes=[{"id": "C", "marketId": hex_id(2)}, {"id": "D", "marketId": hex_id(1)}]),
    ],
    [],
    [make_sms_wave(1, ["m2", "m3"])],
    [make_promoter("p1", name="One"), make_promoter("p2", name="Two")],
)
BASE = ExportSpec(
    type="combined",
    summary="a combination",
    scan=Scan(Collection.ENTRIES),
    lookups=(USER_OF_ENTRY,),
    market=OWN_MARKET,
    columns=(Column("user", USER_ID), Column("phone", PHONE), MARKET_NAME),
    bucket=Bucket.EXPORTS,
)
BY_PROMOTER = Shape(group_by=GroupBy.PROMOTER, container=Container.ZIP)
SELECTED = Lookup(Collection.SCORING, USER_ID, where=IsTrue(scoring("selected", FieldType.BOOLEAN)), required=True)


@pytest.fixture
def files(database: Database[Any], settings: Settings) -> Any:
    campaign_id = load(database, BUNDLE)

    def export(spec: ExportSpec, **options: Any) -> dict[str, list[str]]:
        out = io.BytesIO()
        plan = ExportPlan.load(spec, find_campaign(database, campaign_id), database, settings, **options)
        pipeline = ExportPipeline(plan, database)
        write_rows(pipeline, out, lambda *_: None)
        found = unzipped(out.getvalue()) if spec.extension == "zip" else {"": out.getvalue()}
        assert sum(data.count(b"\n") - 1 for data in found.values()) == pipeline.counters.rows
        return {name: data.decode().replace("0" * 23, "").splitlines()[1:] for name, data in found.items()}

    return export


def test_a_required_cell_and_a_row_per_market(files: Any):
    spec = replace(BASE, required=PHONE, expansion=Expansion.MARKETS_IF_ASKED)
    rows = ["2,5125550002,Market 1", "2,5125550002,Market 2", "3,5125550003,Market 1"]
    rows += ["4,5125550004,Market 1", "4,5125550004,Market 2"]
    assert files(spec, include_all_markets=True) == {"": rows}
    assert files(spec) == {"": [row for row in rows if row.endswith("1")]}


def test_a_required_cell_and_a_row_per_promoter(files: Any):
    spec = replace(BASE, required=PHONE, expansion=Expansion.PROMOTERS, shape=BY_PROMOTER)
    assert files(spec) == {
        "One.csv": ["3,5125550003,Market 1", "4,5125550004,Market 1"],
        "Two.csv": ["2,5125550002,Market 1", "3,5125550003,Market 1"],
    }


def test_a_required_look_up_and_a_row_per_promoter(files: Any):
    spec = replace(BASE, lookups=(USER_OF_ENTRY, SELECTED), expansion=Expansion.PROMOTERS, shape=BY_PROMOTER)
    assert files(spec) == {
        "One.csv": ["1,,Market 1", "4,5125550004,Market 1"],
        "Two.csv": ["1,,Market 1", "2,5125550002,Market 1"],
    }


def test_codes_held_by_those_who_are_in_no_wave(files: Any):
    spec = replace(
        REMINDER_EMAIL,
        type="combined",
        columns=(Column("email", EMAIL), Column("code", HELD_CODE_ID), MARKET_NAME),
        not_in_scheduled_wave=scoring("memberId"),
        shape=Shape(),
    )
    expected = ["fan1@example.com,A,Market 1", "fan1@example.com,B,Market 2"]
    expected += ["fan4@example.com,D,Market 1", "fan4@example.com,C,Market 2"]
    assert files(spec) == {"": expected}
    assert len(files(replace(spec, not_in_scheduled_wave=None))[""]) == 5


def test_a_column_of_a_field_that_no_other_type_has(files: Any):
    spec = replace(
        BASE, columns=(Column("venue", Field(Collection.MARKETS, ("event", "venue"))), Column("ids", USER_ID))
    )
    assert files(spec)[""][0] == "The Hall,1"
