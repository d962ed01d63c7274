"""The strategies make what they promise, and the oracle copes with all of it."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from dataclasses import fields
from typing import TYPE_CHECKING

import bson
from bson import Code, DBRef
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.reference import EXPORT_TYPES, Campaign, NoMarketsFound, PromotersNotFound, decode, export, order_key
from tests.strategies import CAMPAIGN_ID, DATE_KEY, EMBEDDED, Dirt, campaigns, tile

if TYPE_CHECKING:
    import random

LISTS = [field.name for field in fields(Campaign) if field.name != "campaign"]
WHOLE = Dirt(array_paths=True)
slow = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))


def outcome(campaign: Campaign, export_type: str, **options):
    try:
        return export(campaign, export_type, date_key=DATE_KEY, **options)
    except (NoMarketsFound, PromotersNotFound) as error:
        return type(error)


@slow
@given(campaigns(WHOLE), st.booleans())
def test_every_type_of_any_campaign_is_readable_csv(campaign, all_markets):
    for export_type in EXPORT_TYPES:
        written = outcome(campaign, export_type, include_all_markets=all_markets, max_rows_per_file=3)
        if isinstance(written, type):
            continue
        rows = 0
        for content in written.files.values():
            table = list(csv.reader(io.StringIO(content.decode("utf-8"), newline=""), strict=True))
            assert len({len(line) for line in table}) == 1
            assert b"\0" not in content
            rows += len(table) - 1
        assert rows == written.rows


@slow
@given(campaigns(WHOLE), st.randoms(use_true_random=False))
def test_neither_the_order_nor_the_form_of_the_documents_matters(campaign: Campaign, shuffle: random.Random):
    other = Campaign(decode(campaign.campaign))
    for name in LISTS:
        documents = [decode(document) for document in getattr(campaign, name)]
        shuffle.shuffle(documents)
        setattr(other, name, documents)
    for export_type in EXPORT_TYPES:
        assert outcome(other, export_type) == outcome(campaign, export_type), export_type


@slow
@given(campaigns(EMBEDDED))
def test_documents_for_the_embedded_server_are_strict_bson(campaign):
    for name in LISTS:
        for document in getattr(campaign, name):
            bson.decode(document, bson.CodecOptions(datetime_conversion=bson.DatetimeConversion.DATETIME_MS))


@slow
@given(campaigns())
def test_ids_are_unique_as_mongodb_has_it(campaign):
    for name in LISTS:
        keys = [order_key(decode(document)["_id"]) for document in getattr(campaign, name)]
        assert len(set(keys)) == len(keys), name


@slow
@given(campaigns(others=False), st.integers(1, 4))
def test_a_tiled_campaign_has_the_same_rows_again(campaign, times):
    once, many = outcome(campaign, "entries"), outcome(tile(campaign, times), "entries")
    if isinstance(once, type):
        assert many is once
        return
    moved = [entry for entry in campaign.entries if moves(decode(entry)["_id"])]
    assert many.rows == once.rows + (times - 1) * len(moved)
    alone = Campaign(campaign.campaign, campaign.markets, campaign.users, moved)
    assert many.warnings.get("unknownUser", 0) == once.warnings.get("unknownUser", 0) + (times - 1) * outcome(
        alone, "entries"
    ).warnings.get("unknownUser", 0)


def moves(entry_id) -> bool:
    """Say whether tiling repeats the entry, and the entry is the campaign's."""
    return entry_id["campaign_id"] == CAMPAIGN_ID and len(str(entry_id["user_id"])) == 24


def parts(value):
    """Return a value and everything in it."""
    yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for element in inner:
        yield from parts(element)


def is_entry(value, field) -> bool:
    return isinstance(value, dict) and "origin" in value and isinstance(value.get("fields"), dict) and field(value)


TEXTS = {"market", "email", "phone", "first_name", "last_name"}
KINDS = {
    "invalid UTF-8": lambda value: isinstance(value, str) and "\udcff" in value,
    "U+0000": lambda value: isinstance(value, str) and "\0" in value,
    "long text": lambda value: isinstance(value, str) and len(value) > 4000,
    "NaN": lambda value: isinstance(value, float) and math.isnan(value),
    "huge int": lambda value: isinstance(value, int) and abs(value) > 2**53,
    "Decimal128": lambda value: isinstance(value, bson.Decimal128),
    "date out of range": lambda value: isinstance(value, bson.DatetimeMS) and int(value) < -62_135_596_800_000,
    "DBRef": lambda value: isinstance(value, DBRef),
    "Code": lambda value: isinstance(value, Code),
    "array in array": lambda value: isinstance(value, list) and any(isinstance(inner, list) for inner in value),
    "no document": lambda value: is_entry(value, lambda entry: not isinstance(entry["origin"], dict)),
    "missing document": lambda value: isinstance(value, dict) and "fields" in value and "origin" not in value,
    "missing field": lambda value: is_entry(value, lambda entry: TEXTS - set(entry["fields"] or TEXTS)),
    "number for text": lambda value: is_entry(
        value, lambda entry: any(type(entry["fields"][name]) in (int, float) for name in TEXTS & set(entry["fields"]))
    ),
    "odd user id": lambda value: is_entry(value, lambda entry: not isinstance(entry["_id"]["user_id"], str)),
}


def test_every_kind_of_dirt_occurs_and_most_is_clean():
    rows, warnings, found = 0, Counter(), Counter()

    @settings(slow, max_examples=600, database=None, derandomize=True)
    @given(campaigns(WHOLE))
    def collect(campaign):
        nonlocal rows
        documents = [decode(document) for name in LISTS for document in getattr(campaign, name)]
        for part in parts(documents):
            found.update(kind for kind, wanted in KINDS.items() if wanted(part))
        written = outcome(campaign, "entries")
        if not isinstance(written, type):
            rows += written.rows
            warnings.update(written.warnings)

    collect()
    assert set(KINDS) - set(found) == set()
    assert rows > 500
    assert 0.1 < warnings["unknownUser"] / rows < 0.75
    assert 0.01 < warnings["unknownMarket"] / rows < 0.5
