"""Deleting files for good: versions by the thousand, what S3 does not delete, what lost attempts may still deliver."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from tests.api_client import wait_for
from tests.ccpa import USER_ID, Service
from tests.s3_faults import ACCESS_DENIED, SLOW_DOWN, Answer, Run
from tests.s3_proxy import S3Proxy, through
from vfexport_core.errors import DeleteFailed, LeaseLost
from vfexport_core.queue.models import ExportStatus
from vfexport_core.storage.buckets import BucketClients

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    from vfexport_core.embedded import S3Server
    from vfexport_core.settings import Settings


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[S3Proxy]:
    with S3Proxy(s3_server.endpoint_url) as proxy:
        yield proxy


@pytest.fixture
def proxied(settings: Settings, database: Database[dict[str, Any]], proxy: S3Proxy) -> Iterator[Service]:
    """Return a service that reaches S3 through the proxy."""
    settings = through(settings, proxy.url)
    with BucketClients(settings) as buckets:
        service = Service(settings, database, buckets)
        service.initialise()
        yield service


def test_every_version_and_delete_marker_goes_a_thousand_a_call(
    proxied: Service, proxy: S3Proxy, settings: Settings
) -> None:
    with BucketClients(settings) as direct:
        target = direct.bucket("exportsS3")
        status = {"Status": "Enabled"}
        target.client.put_bucket_versioning(Bucket=target.name, VersioningConfiguration=status)
        campaign = proxied.add_campaign(1)
        exports = [proxied.exported(campaign) for _ in range(2)]
        key = exports[0].keys[0]
        # Each deletion after a version of its own: a store may take a second one in a row for done.
        for _ in range(500):
            target.client.put_object(Bucket=target.name, Key=key, Body=b"x")
            target.client.delete_object(Bucket=target.name, Key=key)
        beside = f"{key}.other"
        for _ in range(2):
            target.client.put_object(Bucket=target.name, Key=key, Body=USER_ID.encode())
            target.client.put_object(Bucket=target.name, Key=beside, Body=b"x")
    proxy.reset()
    record = proxied.delete(seconds=240)
    assert (record.deleted_exports, record.deleted_files) == (2, 2)
    sizes = {call.size for call in proxy.seen("DeleteObjects")}
    assert len(sizes) == 2, "one call for a thousand, one for the rest; a store that is busy may be asked once more"
    assert len(proxy.seen("ListObjectVersions")) >= 3, "a thousand a page, of two files"
    assert {name for _, name in proxied.everything()} == {beside}, "only exact keys are touched"


def test_many_files_of_a_folder_are_found_by_few_calls(proxied: Service, proxy: S3Proxy) -> None:
    campaign = proxied.add_campaign(1)
    for _ in range(5):
        proxied.exported(campaign)
    proxy.reset()
    assert proxied.delete().deleted_files == 5
    assert (len(proxy.seen("ListObjectVersions")), len(proxy.seen("DeleteObjects"))) == (1, 1)


def test_files_of_one_campaign_are_listed_together_and_those_of_others_by_themselves(
    proxied: Service, proxy: S3Proxy
) -> None:
    """More campaigns than are looked at together, and more exports than are read together."""
    campaigns = [proxied.add_campaign(number) for number in range(100, 160)]
    for campaign in campaigns:
        for export_type in ("entries", "codes"):
            proxied.store.request_cancel(proxied.request(campaign, export_type).id)
    kinds = ("fanlist", "waitlist", "artistOptIn")
    delivered = [proxied.exported(campaigns[0], kind) for kind in kinds] + [proxied.exported(campaigns[-1])]
    proxy.reset()
    record = proxied.delete()
    assert (record.deleted_exports, record.deleted_files) == (2 * len(campaigns) + 4, len(delivered))
    assert len(proxy.seen("ListObjectVersions")) == 2
    assert proxied.store.list() == []
    assert proxied.everything() == []


def partly(key: str, code: str) -> Answer:
    """What S3 answers when it has deleted everything but one key (which it has, but nobody knows)."""
    error = f"<Error><Key>{key}</Key><Code>{code}</Code><Message>no</Message></Error>"
    return Answer(200, after=True, body=f"<DeleteResult>{error}</DeleteResult>")


def test_what_s3_refuses_to_delete_stays_recorded_and_the_rest_goes(proxied: Service, proxy: S3Proxy) -> None:
    campaign = proxied.add_campaign(1)
    held, free = proxied.exported(campaign), proxied.exported(campaign, "codes")
    proxy.fail("DeleteObjects", partly(held.keys[0], "AccessDenied"), times=1)
    with pytest.raises(DeleteFailed):
        proxied.delete()
    record = proxied.record()
    (error,) = record["errors"]
    assert (error["code"], error["key"], error["bucket"]) == ("DeliveryFailed", held.keys[0], held.bucket)
    assert [export.id for export in proxied.store.list()] == [held.id]
    assert record["status"] == "OPEN"
    assert proxied.heal_now().completed == (str(record["_id"]),)
    assert proxied.everything() == []
    assert proxied.record()["deletedCount"] == {"exports": 2, "files": 2}
    assert free.id not in {export.id for export in proxied.store.list()}


def test_what_s3_only_fails_to_delete_just_now_is_tried_again_key_by_key(proxied: Service, proxy: S3Proxy) -> None:
    campaign = proxied.add_campaign(1)
    export = proxied.exported(campaign)
    proxy.fail("DeleteObjects", partly(export.keys[0], "InternalError"), times=2)
    assert proxied.delete().deleted_files == 1
    assert proxied.everything() == []


@pytest.mark.parametrize("operation", ["ListObjectVersions", "DeleteObjects"])
@pytest.mark.parametrize("fault", [ACCESS_DENIED, SLOW_DOWN], ids=["refused", "busy"])
def test_a_bucket_that_fails_keeps_its_exports_and_no_others(
    proxied: Service, proxy: S3Proxy, operation: str, fault: Answer
) -> None:
    """Where versions cannot be listed nothing is taken for deleted."""
    campaign = proxied.add_campaign(1)
    proxied.exported(campaign, "codeWaves")
    kept = proxied.exported(campaign)
    target = proxied.buckets.bucket("exportsS3")
    proxy.fail(operation, fault, bucket=target.name)
    with pytest.raises(DeleteFailed, match="DeliveryFailed"):
        proxied.delete()
    assert [export.id for export in proxied.store.list()] == [kept.id]
    proxy.heal()
    assert {key for _, key in proxied.files()} == set(kept.keys)
    assert len(proxied.heal_now().completed) == 1
    assert proxied.everything() == []


def test_a_running_export_is_taken_back_and_its_late_file_is_waited_for(proxied: Service, proxy: S3Proxy) -> None:
    campaign = proxied.add_campaign(1)
    export = proxied.request(campaign)
    gate = proxy.hold("PutObject", times=1)
    ended: list[BaseException] = []
    worker = threading.Thread(target=lambda: ended.append(_error_of(lambda: proxied.run(export))))
    worker.start()
    proxy.wait_for("PutObject")  # past its last look at the fence
    deletion = threading.Thread(target=proxied.delete)
    deletion.start()
    wait_for(lambda: proxied.store.get(export.id).status is ExportStatus.PENDING)
    assert proxied.record()["status"] == "OPEN"
    gate.set()
    worker.join()
    deletion.join()
    assert isinstance(ended[0], LeaseLost)
    assert proxied.everything() == []
    taken = proxied.store.get(export.id)
    assert (taken.status, taken.attempt) == (ExportStatus.PENDING, 2)
    (attempt,) = taken.attempts
    assert (attempt.status, attempt.drained) == (ExportStatus.CANCELED, True)
    assert attempt.error is not None
    assert attempt.error["code"] == "ExportCanceled"
    record = proxied.record()
    assert (record["status"], record["deletedCount"]["exports"]) == ("COMPLETE", 0)


def test_one_that_has_noted_no_key_is_taken_back_at_once(service: Service) -> None:
    export = service.request(service.add_campaign(1))
    claim, _ = service.store.claim(export.id, "run-1")
    assert service.delete().is_complete
    assert service.store.get(export.id).status is ExportStatus.PENDING
    with pytest.raises(LeaseLost):
        service.store.claimed(claim).note_keys("b", ["k"])


def test_one_that_somebody_wants_cancelled_is_not_queued_again(service: Service) -> None:
    export = service.request(service.add_campaign(1))
    service.store.claim(export.id, "run-1")
    service.store.request_cancel(export.id)
    assert service.delete().deleted_exports == 1
    assert service.store.list() == []


def test_a_worker_that_says_nothing_keeps_the_record_open_until_nothing_can_come(service: Service) -> None:
    """Its file appears after the first try has deleted what there was."""
    campaign = service.add_campaign(1)
    export = service.request(campaign)
    claim, _ = service.store.claim(export.id, "run-1")
    target = service.buckets.bucket("exportsS3")
    service.store.claimed(claim).note_keys(target.name, ["late.csv"])
    with pytest.raises(DeleteFailed):
        service.delete(seconds=0.5)
    assert service.heal_now().completed == ()
    target.client.put_object(Bucket=target.name, Key="late.csv", Body=USER_ID.encode())
    service.grace_seconds = 0
    assert len(service.heal_now().completed) == 1
    assert service.everything() == []
    record = service.record()
    assert record["keys"] == [{"bucket": target.name, "key": "late.csv"}]
    assert {error["code"] for error in record["errors"]} == {"DeleteFailed"}


def test_a_worker_that_said_nothing_is_waited_for_as_long_as_s3_may_work_on_its_request(service: Service) -> None:
    export = service.request(service.add_campaign(1))
    claim, _ = service.store.claim(export.id, "run-1")
    service.store.claimed(claim).note_keys(service.buckets.bucket("exportsS3").name, ["late.csv"])
    service.store.claimed(claim).fail({"code": "c", "message": "m"}, drained=False)
    for minutes, completed in ((10, 0), (16, 1)):
        ended = {"$subtract": ["$$NOW", minutes * 60_000]}
        attempts = {"$map": {"input": "$attempts", "in": {"$mergeObjects": ["$$this", {"ended": ended}]}}}
        service.database["exports"].update_one({}, [{"$set": {"attempts": attempts}}])
        with pytest.raises(DeleteFailed) if not completed else nullcontext():
            service.delete(seconds=0.5)
    assert service.store.list() == []


def test_an_export_that_was_lost_just_now_keeps_its_document_until_nothing_can_come(service: Service) -> None:
    export = service.request(service.add_campaign(1))
    claim, _ = service.store.claim(export.id, "run-1")
    service.store.claimed(claim).note_keys(service.buckets.bucket("exportsS3").name, ["late.csv"])
    service.store.close_run(export.id, "run-1", ExportStatus.FAILED, None)
    with pytest.raises(DeleteFailed):
        service.delete(seconds=0.5)
    assert service.store.get(export.id).status is ExportStatus.FAILED
    service.grace_seconds = 0
    assert len(service.heal_now().completed) == 1
    assert service.store.list() == []


def test_a_retry_that_comes_between_file_and_document_is_not_lost(proxied: Service, proxy: S3Proxy) -> None:
    export = proxied.exported(proxied.add_campaign(1))
    proxy.fail("DeleteObjects", Run(lambda: proxied.store.retry(export.id, redeliver=True)), times=1)
    record = proxied.delete()
    assert (record.deleted_exports, record.deleted_files) == (0, 1)
    waiting = proxied.store.get(export.id)
    assert (waiting.status, waiting.attempt) == (ExportStatus.PENDING, 2)
    assert proxied.record()["exports"] == []


def _error_of(call: Any) -> BaseException:
    with pytest.raises(LeaseLost) as caught:
        call()
    return caught.value
