"""Finding a user's campaigns, when it takes longer than one try."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from pymongo import MongoClient

from tests.ccpa import USER_ID, Service
from tests.proxy import Proxy
from tests.servers import through
from vfexport_core.queue.models import ExportStatus

if TYPE_CHECKING:
    import pytest

    from vfexport_core.embedded import MongoServer

SECONDS = 6.0  # enough for the campaigns before the slow one, on a busy machine too


class Looks:
    """Keeps whose entries are asked for; those of the campaign `slow` take longer than there is time."""

    def __init__(self, campaigns: list[str]) -> None:
        self.campaigns = campaigns
        self.slow: str | None = None
        self.seen: list[str] = []

    def __call__(self, from_client: bool, block: bytes) -> None:
        if not from_client or b"entries" not in block or b"find" not in block:
            return
        named = [campaign for campaign in self.campaigns if campaign.encode() in block]
        if len(named) != 1:  # the user is known, and looked for in all of them
            return
        self.seen += named
        if named == [self.slow]:
            threading.Event().wait(SECONDS + 0.5)


def test_a_search_that_is_cut_off_goes_on_from_where_it_was(
    service: Service, mongo_server: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vfexport_core.ccpa.search._NOTE_SECONDS", 0.0)
    campaigns = [service.add_campaign(number) for number in (50, 51, 52, 53)]
    exports = [service.exported(campaign) for campaign in (campaigns[0], campaigns[3])]
    record_id = service.open_record()
    looks = Looks(campaigns)
    with (
        Proxy((mongo_server.host, mongo_server.port), on_block=looks) as proxy,
        MongoClient[dict[str, Any]](through(mongo_server, proxy), tz_aware=True) as client,
    ):
        slow = Service(service.settings, client[service.database.name], service.buckets)
        service.let_time_go_by()
        looks.slow = campaigns[2]
        assert slow.resume(seconds=SECONDS).left == (record_id,)
        record = service.record()
        assert record["search"] == {"after": campaigns[1], "found": campaigns[:2]}
        assert record["errors"][-1]["code"] == "DeleteFailed"
        assert [export.status for export in service.store.list()] == [ExportStatus.FINISHED] * 2
        looks.slow = None
        looks.seen.clear()
        assert slow.heal_now().completed == (record_id,)
    assert set(looks.seen) == {*campaigns[2:]}, "the first two were looked at before"
    record = service.record()
    assert (record["campaigns"], record["deletedCount"]) == (campaigns, {"exports": 2, "files": 2})
    assert "search" not in record
    assert {export.id for export in exports}.isdisjoint(export.id for export in service.store.list())


def test_asking_again_makes_the_search_needless(service: Service) -> None:
    campaign = service.add_campaign(50)
    service.exported(campaign)
    service.open_record()
    assert service.delete(USER_ID).deleted_exports == 1
    assert [record["campaigns"] for record in service.database["ccpaDeletions"].find()] == [[campaign]]
    assert service.deletions.open_ones() == []


def test_a_search_says_nothing_for_what_was_asked_later(service: Service) -> None:
    """The user may have registered, since, where an earlier search had already been."""
    record_id = service.open_record()
    earlier = service.deletions.begin(record_id)
    assert earlier is not None
    assert service.open_record() == record_id, "it joins"
    service.deletions.set_campaigns(earlier, ["0" * 24])
    done = service.deletions.complete(earlier)
    assert (done.is_complete, done.fulfilled, done.requests) == (False, 1, 2)
    later = service.deletions.begin(record_id)
    assert later is not None
    assert (later.campaigns, later.covers) == (None, 2)
    assert earlier.effective is not None
    assert later.effective is not None
    assert later.effective > earlier.effective
    service.deletions.set_campaigns(earlier, ["1" * 24])
    assert service.deletions.get(record_id).campaigns is None, "the earlier search is of no use any more"
    assert not service.deletions.complete(earlier).is_complete
    assert service.deletions.complete(later).is_complete
    assert service.open_record() != record_id, "the next one is a new one"


def test_a_failed_try_that_nobody_joined_does_not_search_again(service: Service) -> None:
    record = service.deletions.begin(service.open_record())
    assert record is not None
    service.deletions.set_campaigns(record, ["0" * 24])
    service.deletions.leave(record, [])
    again = service.deletions.begin(record.id)
    assert again is not None
    assert (again.campaigns, again.effective) == (("0" * 24,), record.effective)
