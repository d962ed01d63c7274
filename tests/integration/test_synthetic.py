"""Loading synthetic campaigns: what the plan says is what the database has, also after an interruption."""

from __future__ import annotations

import json

import bson
import pytest
from click.testing import CliRunner

from tests.proxy import Proxy
from tests.servers import through
from vfexport_core.cli.app import vfexport
from vfexport_core.embedded.synthetic import SOURCE_INDEXES, SyntheticCampaign, create_source_indexes, seed_campaign
from vfexport_core.errors import CampaignExists, SourceUnavailable
from vfexport_core.mongo.client import opened
from vfexport_core.settings import load_settings

COLLECTIONS = {"users": "users", "entries": "entries", "scoring": "scoring", "codes": "codes", "sms_waves": "smsWaves"}


def encoded(documents):
    return sorted(bson.encode(document) for document in documents)


def stored(database, collection):
    # Raw, so that nothing is lost on the way (a Decimal128 of 0.10 and of 0.1 are equal in Python).
    raw = b"".join(database[collection].find_raw_batches({}))
    return sorted(bytes(bson.encode(document)) for document in bson.decode_all(raw))


def assert_holds(database, *campaigns, but_for=None):
    """Check that the database holds these campaigns' documents and no others."""
    batches = [one.batch(number) for one in campaigns for number in range(one.batches)]
    for name, collection in COLLECTIONS.items():
        if name == but_for:
            continue
        planned = encoded(document for batch in batches for document in getattr(batch, name))
        # Campaigns of one seed share their fans.
        planned = sorted(set(planned)) if name == "users" else planned
        assert stored(database, collection) == planned, collection
    assert stored(database, "markets") == encoded(market for one in campaigns for market in one.markets)
    assert stored(database, "promoters") == encoded(promoter for one in campaigns for promoter in one.promoters)
    assert stored(database, "campaigns") == encoded(one.document for one in campaigns)


def test_the_database_holds_what_the_plan_says(database):
    seen = []
    campaign_id = seed_campaign(database, entries=1_200, on_progress=seen.append)
    assert campaign_id == SyntheticCampaign(1_200).id
    assert seen == [1_000, 1_200]
    assert_holds(database, SyntheticCampaign(1_200))


def test_a_campaign_that_is_loaded_is_refused_and_left_alone(database):
    campaign_id = seed_campaign(database, entries=10)
    with pytest.raises(CampaignExists) as raised:
        seed_campaign(database, entries=20)
    assert raised.value.payload == campaign_id
    assert_holds(database, SyntheticCampaign(10))


def test_campaigns_of_one_seed_share_their_fans(database):
    seed_campaign(database, entries=30, dirty_share=0)
    seed_campaign(database, entries=50, campaign_name="Second", dirty_share=0)
    assert_holds(database, SyntheticCampaign(30, dirty_share=0), SyntheticCampaign(50, name="Second", dirty_share=0))


class Stop(Exception):
    pass


def test_what_an_interrupted_load_left_is_replaced_and_other_campaigns_are_kept(database):
    def stop(done):
        raise Stop

    seed_campaign(database, entries=40, campaign_name="Bystander")
    with pytest.raises(Stop):
        seed_campaign(database, entries=3_000, on_progress=stop)
    assert database.entries.count_documents({"_id.campaign_id": SyntheticCampaign(1).id}) == 1_000
    assert database.campaigns.count_documents({}) == 1
    seed_campaign(database, entries=40)
    # Its fans stay: they may be another campaign's as well.
    assert database.users.count_documents({}) > 900
    assert_holds(database, SyntheticCampaign(40, name="Bystander"), SyntheticCampaign(40), but_for="users")


def test_a_mongodb_that_goes_away_is_an_error_that_names_the_collection(database, mongo_server):
    def watch(from_client, block):
        if b"insert" in block and b"scoring" in block:
            proxy.refuse()

    with Proxy((mongo_server.host, mongo_server.port), on_block=watch) as proxy:
        settings = load_settings(env_file=None, mongo_uri=through(mongo_server, proxy), mongo_database=database.name)
        with opened(settings) as shaky, pytest.raises(SourceUnavailable) as raised:
            seed_campaign(shaky, entries=100)
    assert raised.value.payload == "scoring"
    assert database.campaigns.count_documents({}) == 0


def test_source_indexes_are_those_of_the_specification_and_creating_them_again_is_harmless(database):
    create_source_indexes(database)
    create_source_indexes(database)
    found = {
        collection: {
            tuple(path for path, _ in index["key"]) for index in database[collection].index_information().values()
        }
        for collection in SOURCE_INDEXES
    }
    assert found == {
        "entries": {("_id",), ("_id.campaign_id", "_id.user_id")},
        "scoring": {("_id",), ("campaignId", "_id"), ("campaignId", "userId")},
        "codes": {("_id",), ("campaignId", "_id")},
        "markets": {("_id",), ("campaignId",)},
        "smsWaves": {("_id",), ("campaignId", "status")},
    }


@pytest.fixture
def run(settings_environment, tmp_path, monkeypatch):
    """Return a function that runs `vfexport seed` on this test's database."""
    monkeypatch.chdir(tmp_path)  # no .env here

    def invoke(*arguments):
        return CliRunner().invoke(vfexport, ["seed", *arguments], env=settings_environment)

    return invoke


def test_the_command_prints_the_id_on_stdout_and_progress_on_stderr(run, database):
    result = run("--entries", "1200", "--campaign-name", 'Späti, "Tour"', "--seed", "7")
    assert result.exit_code == 0
    campaign = SyntheticCampaign(1_200, name='Späti, "Tour"', seed=7)
    assert result.stdout == f"{campaign.id}\n"
    assert "1,200 of 1,200 entries" in result.stderr
    assert_holds(database, campaign)


def test_the_command_prints_json(run):
    result = run("--entries", "1", "--json")
    assert result.exit_code == 0
    assert result.stderr == ""
    answer = json.loads(result.stdout)
    assert answer["campaignId"] == SyntheticCampaign(1).id
    assert answer["entries"] == 1
    assert len(answer["dateKeys"]) == 3


def test_the_command_refuses_a_second_time_and_says_what_to_do(run):
    assert run("--entries", "1").exit_code == 0
    result = run("--entries", "1")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert SyntheticCampaign(1).id in result.stderr
    assert "--seed" in result.stderr


@pytest.mark.parametrize("entries", ["0", "1000001", "many"])
def test_the_command_refuses_impossible_numbers(run, entries):
    assert run("--entries", entries).exit_code == 2
