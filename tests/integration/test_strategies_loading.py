"""What the strategies call EMBEDDED is what the embedded MongoDB holds, byte for byte and in the oracle's order."""

from __future__ import annotations

import bson
from bson.raw_bson import RawBSONDocument
from hypothesis import HealthCheck, given, settings

from tests.reference import decode, order_key
from tests.strategies import EMBEDDED, campaigns, load
from tests.strategies.loading import COLLECTIONS

RAW = bson.CodecOptions(document_class=RawBSONDocument)


def test_the_embedded_server_holds_every_campaign(database):
    database.entries.create_index([("_id.campaign_id", 1), ("_id.user_id", 1)])

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(campaigns(EMBEDDED))
    def holds(campaign):
        load(database, campaign)
        for field, name in COLLECTIONS.items():
            held = [bytes(document.raw) for document in database.get_collection(name, RAW).find()]
            assert sorted(held) == sorted(getattr(campaign, field)), name
        in_order = database.get_collection("entries", RAW).find().sort([("_id.campaign_id", 1), ("_id.user_id", 1)])
        found = [order_key(decode(entry)["_id"]) for entry in in_order]
        assert found == sorted(order_key(decode(entry)["_id"]) for entry in campaign.entries)

    holds()
