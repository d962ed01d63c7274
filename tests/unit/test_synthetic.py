"""Synthetic campaigns: the same documents every time, everything that real data holds, ids that fit together."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from datetime import datetime

import bson
import pytest
from bson import Decimal128, Int64, ObjectId

from tests import reference
from vfexport_core.embedded.synthetic import DATE_KEYS, SyntheticCampaign
from vfexport_core.embedded.synthetic.campaign import BATCH_FANS
from vfexport_core.embedded.synthetic.dirt import CODE_DIRT, ENTRY_DIRT, SCORING_DIRT, USER_DIRT

COLLECTIONS = ("users", "entries", "scoring", "codes", "sms_waves")
# Changes of the generator change this; a change of Python, of the machine or of the hash seed must not.
FIRST_BATCH_SHA256 = "91ea2fbb87139abdec6432d450fe7ae6199551c97e51dc98acd41e41fb946850"

pytestmark = pytest.mark.xdist_group("synthetic campaign")


def documents_of(campaign):
    """Return all documents by collection."""
    batches = [campaign.batch(number) for number in range(campaign.batches)]
    found = {name: [one for batch in batches for one in getattr(batch, name)] for name in COLLECTIONS}
    return found | {"markets": list(campaign.markets), "promoters": list(campaign.promoters)}


def sha256_of(campaign, *numbers):
    digest = hashlib.sha256()
    for document in (campaign.document, *campaign.markets, *campaign.promoters):
        digest.update(bson.encode(document))
    for number in numbers:
        batch = campaign.batch(number)
        for name in COLLECTIONS:
            for document in getattr(batch, name):
                digest.update(bson.encode(document))
    return digest.hexdigest()


@pytest.fixture(scope="module")
def campaign():
    return SyntheticCampaign(20_000)


@pytest.fixture(scope="module")
def documents(campaign):
    return documents_of(campaign)


@pytest.fixture(scope="module")
def clean_documents():
    return documents_of(SyntheticCampaign(20_000, dirty_share=0))


def dig(document, path):
    """Return the value at a dotted path; None when it is missing, null, or something on the way is no document."""
    for name in path.split("."):
        document = document.get(name) if isinstance(document, dict) else None
    return document


def test_the_same_arguments_give_the_same_bytes():
    assert sha256_of(SyntheticCampaign(2_500), 0) == FIRST_BATCH_SHA256
    one, two = SyntheticCampaign(2_500), SyntheticCampaign(2_500)
    assert sha256_of(one, 0, 1, 2) == sha256_of(two, 0, 1, 2)
    # In another order, and again: nothing is remembered between batches.
    assert sha256_of(one, 2, 0) == sha256_of(two, 2, 0)


def test_a_smaller_campaign_is_the_beginning_of_a_larger_one():
    small, large = SyntheticCampaign(2 * BATCH_FANS), SyntheticCampaign(1_000_000)
    assert sha256_of(small, 0, 1) == sha256_of(large, 0, 1)
    assert (small.batches, large.batches) == (2, 1_000)
    assert len(large.batch(999).entries) == BATCH_FANS


@pytest.mark.parametrize("entries", [0, 1, BATCH_FANS - 1, BATCH_FANS, BATCH_FANS + 1])
def test_there_are_as_many_entries_as_asked_for(entries):
    assert len(documents_of(SyntheticCampaign(entries))["entries"]) == entries


def test_another_name_is_another_campaign_of_the_same_fans_and_another_seed_shares_nothing():
    one, name, seed = SyntheticCampaign(500), SyntheticCampaign(500, name="Other"), SyntheticCampaign(500, seed=1)
    assert len({one.id, name.id, seed.id}) == 3
    found = [documents_of(each) for each in (one, name, seed)]
    assert found[0]["users"] == found[1]["users"]
    for collection in ("scoring", "codes", "sms_waves", "markets", "promoters"):
        ids = [{each["_id"] for each in documents[collection]} for documents in found]
        for first, second in itertools.combinations(ids, 2):
            assert first
            assert not first & second, collection
    assert not {user["_id"] for user in found[0]["users"]} & {user["_id"] for user in found[2]["users"]}


@pytest.mark.parametrize(
    "arguments", [{"entries": -1}, {"entries": 1, "dirty_share": -0.1}, {"entries": 1, "dirty_share": 0.5}]
)
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match=r"entries|dirty_share"):
        SyntheticCampaign(**arguments)


def test_a_clean_campaign_holds_only_the_types_of_the_specification(clean_documents):
    documents = clean_documents
    assert len(documents["users"]) == 20_000
    text = {"email", "phone", "first_name", "last_name", "market"}
    for entry in documents["entries"]:
        assert all(isinstance(entry["fields"][name], str) for name in text & entry["fields"].keys())
        assert isinstance(entry["date"]["created"], datetime)
        assert isinstance(dig(entry, "origin.ip.postalCode") or "", str)
        assert isinstance(dig(entry, "fields.additionalMarkets") or [], list)
    for record in documents["scoring"]:
        assert isinstance(record["selected"], bool)


def test_ids_are_unique_and_fit_together(campaign, clean_documents):
    documents = clean_documents
    for name, found in documents.items():
        assert len({repr(each["_id"]) for each in found}) == len(found), name
    users = {str(user["_id"]) for user in documents["users"]}
    markets = {str(market["_id"]) for market in documents["markets"]}
    promoters = {promoter["_id"] for promoter in documents["promoters"]}
    members = {str(user["_id"]): user["integrations"]["ticketmaster"]["member_id"] for user in documents["users"]}
    assert [entry["_id"] for entry in documents["entries"]] == [
        {"campaign_id": campaign.id, "user_id": user} for user in members
    ]
    for entry in documents["entries"]:
        assert {entry["fields"]["market"], *entry["fields"].get("additionalMarkets", ())} <= markets
        assert set(entry["fields"].get("promoterOptIns", ())) <= promoters
    assert campaign.document["promoterIds"] == [promoter["_id"] for promoter in documents["promoters"]]
    codes = {code["_id"]: code for code in documents["codes"]}
    for record in documents["scoring"]:
        assert record["userId"] in users
        assert record["memberId"] == members[record["userId"]]
        for held in record.get("codes", ()):
            assert codes[held["id"]]["marketId"] == held["marketId"]
            assert codes[held["id"]]["assignment"]["userId"] == record["userId"]
    assert all(code["marketId"] in markets for code in codes.values())
    waves = {wave["dateKey"]: wave["status"] for wave in documents["sms_waves"]}
    assert sorted(waves) == sorted(DATE_KEYS)
    assert sorted(waves.values()) == ["CANCELED", "SCHEDULED", "SENT"]
    for name in ("scoring", "codes", "sms_waves", "markets"):
        assert {each["campaignId"] for each in documents[name]} == {campaign.id}


def test_insertion_order_is_not_id_order(documents):
    ids = [entry["_id"]["user_id"] for entry in documents["entries"]]
    assert ids != sorted(ids)


def is_a(path, kind):
    # A boolean is no number here, though Python says so.
    return lambda document: type(dig(document, path)) is kind


def is_null(path):
    parent, _, name = path.rpartition(".")

    def check(document):
        holder = dig(document, parent) if parent else document
        return isinstance(holder, dict) and name in holder and holder[name] is None

    return check


def lacks(path):
    parent, _, name = path.rpartition(".")

    def check(document):
        holder = dig(document, parent) if parent else document
        return isinstance(holder, dict) and name not in holder

    return check


def has(path, *parts):
    return lambda document: isinstance(dig(document, path), str) and any(part in dig(document, path) for part in parts)


def starts(path, *parts):
    return lambda document: isinstance(dig(document, path), str) and dig(document, path).startswith(parts)


FIRST, LAST = "integrations.ticketmaster.name.first", "integrations.ticketmaster.name.last"
POSTAL = "integrations.ticketmaster.postalCode"

# What issue and specification promise, looked for in the documents themselves.
PROMISED = {
    "emoji": ("users", has(FIRST, "🎸")),
    "joined emoji": ("users", has(LAST, "👩\u200d🎤")),
    "right to left": ("users", has(FIRST, "محمد", "שרה")),
    "Chinese, Japanese, Korean": ("users", has(FIRST, "李小龍", "さくら", "민준")),
    "combining marks": ("users", has(FIRST, "e\u0308")),
    "comma": ("users", has(LAST, ",")),
    "quote": ("users", has(LAST, '"')),
    "newline": ("users", has(LAST, "e\nL", "o\nL")),
    "carriage return": ("users", has(LAST, "e\rR")),
    "NUL": ("users", has(FIRST, "\0")),
    "empty name": ("users", lambda user: dig(user, FIRST) == ""),
    "formula =": ("users", starts(FIRST, "=")),
    "formula +": ("users", starts(FIRST, "+P")),
    "formula -": ("users", starts(FIRST, "-D")),
    "formula @": ("users", starts(FIRST, "@")),
    "formula TAB": ("users", starts(FIRST, "\t")),
    "formula CR": ("users", starts(FIRST, "\r")),
    "plain number as a name": ("users", lambda user: dig(user, FIRST) == "-5"),
    "no phone": ("users", lacks("integrations.ticketmaster.phone")),
    "no postal code": ("users", lacks(POSTAL)),
    "no integrations": ("users", lacks("integrations")),
    "name null": ("users", is_null("integrations.ticketmaster.name")),
    "first name null": ("users", is_null(FIRST)),
    "first name a number": ("users", is_a(FIRST, int)),
    "postal code int": ("users", is_a(POSTAL, int)),
    "postal code double": ("users", is_a(POSTAL, float)),
    "user id Decimal128": ("users", is_a("integrations.ticketmaster.id", Decimal128)),
    "member id int64": ("users", is_a("integrations.ticketmaster.member_id", Int64)),
    "ObjectId for text": ("users", is_a("integrations.ticketmaster.globalUserId", ObjectId)),
    "created missing": ("entries", lacks("date")),
    "created null": ("entries", is_null("date.created")),
    "created text": ("entries", is_a("date.created", str)),
    "created number": ("entries", is_a("date.created", Int64)),
    "created before 1970": (
        "entries",
        lambda entry: is_a("date.created", datetime)(entry) and dig(entry, "date.created").year < 1970,
    ),
    "not confirmed": ("entries", lacks("date.phoneConfirmed")),
    "locale missing": ("entries", lacks("locale")),
    "locale empty": ("entries", lambda entry: entry.get("locale") == ""),
    "locale number": ("entries", is_a("locale", int)),
    "fields missing": ("entries", lacks("fields")),
    "fields text": ("entries", is_a("fields", str)),
    "market missing": ("entries", lacks("fields.market")),
    "market ObjectId": ("entries", is_a("fields.market", ObjectId)),
    "phone int64": ("entries", is_a("fields.phone", Int64)),
    "phone double": ("entries", is_a("fields.phone", float)),
    "email null": ("entries", is_null("fields.email")),
    "email a document": ("entries", is_a("fields.email", dict)),
    "email missing": ("entries", lacks("fields.email")),
    "opt-in text": ("entries", is_a("fields.allowMarketing", str)),
    "opt-in number": ("entries", is_a("fields.allowLiveNation", int)),
    "opt-in null": ("entries", is_null("fields.allowSms")),
    "opted in": ("entries", lambda entry: dig(entry, "fields.allowSms") is True),
    "opted out": ("entries", lambda entry: dig(entry, "fields.allowSms") is False),
    "promoter opt-ins": ("entries", lambda entry: len(dig(entry, "fields.promoterOptIns") or ()) > 1),
    "additional markets text": ("entries", is_a("fields.additionalMarkets", str)),
    "own market again": (
        "entries",
        lambda entry: (
            type(dig(entry, "fields.additionalMarkets")) is list
            and dig(entry, "fields.market") in dig(entry, "fields.additionalMarkets")
        ),
    ),
    "preference document": ("entries", is_a("fields.pref_song", dict)),
    "preference array": ("entries", is_a("fields.pref_days", list)),
    "preference boolean": ("entries", is_a("fields.pref_vip", bool)),
    "preference number": ("entries", is_a("fields.pref_tickets", int)),
    "preference null": ("entries", is_null("fields.pref_age")),
    "preference missing": ("entries", lacks("fields.pref_age")),
    "origin missing": ("entries", lacks("origin")),
    "origin null": ("entries", is_null("origin")),
    "ip text": ("entries", is_a("origin.ip", str)),
    "entry postal code int": ("entries", is_a("origin.ip.postalCode", int)),
    "entry postal code double": ("entries", is_a("origin.ip.postalCode", float)),
    "latitude text": ("entries", is_a("origin.ip.latitude", str)),
    "latitude nan": ("entries", lambda entry: dig(entry, "origin.ip.latitude") != dig(entry, "origin.ip.latitude")),
    "longitude Decimal128": ("entries", is_a("origin.ip.longitude", Decimal128)),
    "nudetect missing": ("entries", lacks("nudetect")),
    "score integer": ("entries", is_a("nudetect.score", int)),
    "score double": ("entries", is_a("nudetect.score", float)),
    "score Decimal128": ("entries", is_a("nudetect.score", Decimal128)),
    "fanscore text": ("entries", is_a("accountFanscore", str)),
    "selected": ("scoring", lambda record: record.get("selected") is True),
    "not selected": ("scoring", lambda record: record.get("selected") is False),
    "selected text": ("scoring", is_a("selected", str)),
    "selected without codes": ("scoring", lambda record: record.get("selected") is True and "codes" not in record),
    "codes of several markets": (
        "scoring",
        lambda record: (
            type(record.get("codes")) is list
            and len({str(dig(code or {}, "marketId")) for code in record["codes"]}) > 2
        ),
    ),
    "two codes of one market": (
        "scoring",
        lambda record: (
            type(record.get("codes")) is list
            and max(Counter(str(dig(code or {}, "marketId")) for code in record["codes"]).values()) > 1
        ),
    ),
    "codes not in order": (
        "scoring",
        lambda record: (
            type(record.get("codes")) is list
            and (ids := [str(dig(code or {}, "id")) for code in record["codes"]]) != sorted(ids)
        ),
    ),
    "codes null": ("scoring", is_null("codes")),
    "country missing": ("scoring", lacks("countryCode")),
    "country lower case": ("scoring", lambda record: record.get("countryCode") == "gb"),
    "member id number": ("scoring", is_a("memberId", Int64)),
    "scored user ObjectId": ("scoring", is_a("userId", ObjectId)),
    "code available": ("codes", lambda code: code.get("status") == "AVAILABLE" and "assignment" not in code),
    "code assigned": ("codes", lambda code: code.get("status") == "ASSIGNED"),
    "code redeemed": ("codes", lambda code: code.get("status") == "REDEEMED"),
    "code without event": ("codes", lacks("eventId")),
    "code without wave": ("codes", lacks("dateKey")),
    "code with a numeric wave": ("codes", is_a("dateKey", Int64)),
    "assignment null": ("codes", is_null("assignment")),
    "assigned date text": ("codes", is_a("assignment.date", str)),
    "market without date": ("markets", lacks("event.date")),
    "market without city": ("markets", lacks("city")),
    "market without state": ("markets", lacks("state")),
    "market without events": ("markets", lacks("event.ids")),
    "market with several events": ("markets", lambda market: len(dig(market, "event.ids") or ()) > 1),
    "promoter out of the folder": ("promoters", has("name", "../")),
}


@pytest.mark.parametrize("kind", PROMISED)
def test_20000_entries_hold_everything_promised(documents, kind):
    collection, check = PROMISED[kind]
    assert any(check(document) for document in documents[collection])


def test_20000_entries_hold_unknown_users_and_markets_and_every_locale(documents):
    users = {str(user["_id"]) for user in documents["users"]}
    markets = {str(market["_id"]) for market in documents["markets"]}
    unknown = [entry for entry in documents["entries"] if entry["_id"]["user_id"] not in users]
    assert 10 < len(unknown) < 100
    own = [dig(entry, "fields.market") for entry in documents["entries"]]
    assert any(isinstance(market, str) and market not in markets for market in own)
    locales = {entry["locale"] for entry in documents["entries"] if isinstance(entry.get("locale"), str)}
    assert {"en-us", "en-ca", "en-mx", "es-mx", "en-uk", "en-gb", "en-ie", "en-nz", "en-au", "de-de", "en"} <= locales
    countries = {dig(entry, "origin.ip.countryCode") for entry in documents["entries"]}
    assert {"US", "CA", "MX", "GB", "IE", "DE", "AU", "JP", None} <= countries


@pytest.mark.parametrize(
    ("collection", "kinds"),
    [("users", USER_DIRT), ("entries", ENTRY_DIRT), ("scoring", SCORING_DIRT), ("codes", CODE_DIRT)],
)
def test_every_kind_of_dirt_makes_its_share(documents, clean_documents, collection, kinds):
    """Compare with the clean campaign, document by document: about as many differ as the share says."""
    clean = clean_documents[collection]
    dirty = {repr(document["_id"]): bson.encode(document) for document in documents[collection]}
    changed = [document for document in clean if dirty.get(repr(document["_id"])) != bson.encode(document)]
    expected = 0.002 * len(kinds) * len(clean)
    assert 0.8 * expected < len(changed) < 1.2 * expected


def test_two_promoters_share_a_name(documents):
    assert max(Counter(promoter["name"] for promoter in documents["promoters"]).values()) == 2


def test_every_export_type_has_rows():
    """A campaign as the demo loads it gives something to export to every type, by the independent reference."""
    campaign = SyntheticCampaign(2_000)
    found = documents_of(campaign)
    bundle = reference.Campaign(campaign=campaign.document, **found)
    for export_type in reference.EXPORT_TYPES:
        export = reference.export(bundle, export_type, date_key=DATE_KEYS[0])
        assert export.rows > 0, export_type
    regions = {region for region, _, _ in reference.export(bundle, "autoReminderEmail").files}
    assert {"NA", "UK", "DE", "AU"} <= regions
