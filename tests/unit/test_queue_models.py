from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId

from vfexport_core.mongo.document import storable
from vfexport_core.queue.models import ACTIVE, FINAL, RETRYABLE, Claim, Delivered, Export, ExportStatus, NewExport

CREATED = datetime(2025, 7, 4, 12, 30, 15, 123_000, tzinfo=UTC)
SHA = "ab" * 32


def stored(**fields: Any) -> dict[str, Any]:
    document: dict[str, Any] = {
        "_id": ObjectId("0123456789abcdef01234567"),
        "campaignId": "a" * 24,
        "campaignName": "Summer",
        "exportType": "entries",
        "status": "PENDING",
        "requesterUserId": "b" * 24,
        "correlationId": "c-1",
        "source": "api",
        "date": {"created": CREATED},
        "attempt": 1,
        "attempts": [],
    }
    return document | fields


def test_statuses_are_active_or_final_and_only_failures_are_retried() -> None:
    assert {*ACTIVE, *FINAL} == set(ExportStatus)
    assert not ACTIVE & FINAL
    assert {"FAILED", "EXPIRED", "CANCELED"} == RETRYABLE


def test_the_smallest_document() -> None:
    export = Export.from_document(stored())
    assert export.id == "0123456789abcdef01234567"
    assert export.status is ExportStatus.PENDING
    assert export.position == (CREATED, export.id)
    assert (export.date_key, export.include_all_markets, export.run_id, export.count) == (None, False, None, None)
    assert (export.keys, export.sha256, export.attempts) == ((), {}, ())
    assert export.progress is export.meta is export.error is export.bucket is export.bytes is None


def test_a_finished_document_with_one_file() -> None:
    attempt = {
        "attempt": 1,
        "runId": "r",
        "status": "FINISHED",
        "triggered": CREATED,
        "ended": CREATED,
        "bucket": "exportsS3",
        "keys": ["k"],
    }
    export = Export.from_document(
        stored(
            status="FINISHED",
            date={"created": CREATED, "triggered": CREATED, "finished": CREATED},
            attempts=[attempt],
            runId="r",
            dateKey="12",
            includeAllMarkets=True,
            bucket="exportsS3",
            key="k",
            sha256=SHA,
            count=3,
            bytes=99,
            meta={"warnings": {"unknownUsers": 1}},
            progress={"read": 3, "rows": 3, "bytes": 99, "updated": CREATED},
        )
    )
    assert (export.keys, export.sha256) == (("k",), {"k": SHA})
    assert export.attempts[0].keys == ("k",)
    assert export.attempts[0].status is ExportStatus.FINISHED
    assert export.progress is not None
    assert (export.progress.read, export.progress.bytes, export.progress.updated) == (3, 99, CREATED)
    assert export.date.finished == CREATED
    assert (export.date_key, export.include_all_markets, export.count, export.bytes) == ("12", True, 3, 99)


@pytest.mark.parametrize("keys", [[], ["a", "b"]])
def test_any_other_number_of_files(keys: list[str]) -> None:
    export = Export.from_document(stored(status="FINISHED", keys=keys, sha256=[SHA] * len(keys)))
    assert export.keys == tuple(keys)
    assert export.sha256 == dict.fromkeys(keys, SHA)


def test_dates_without_a_time_zone_are_utc() -> None:
    naive = CREATED.replace(tzinfo=None)
    export = Export.from_document(
        stored(
            date={"created": naive, "failed": None},
            attempts=[{"attempt": 1, "status": "FAILED", "ended": naive}],
            progress={"read": 0, "rows": 0, "bytes": 0, "updated": naive},
        )
    )
    assert export.date.created == export.attempts[0].ended == CREATED
    assert export.date.failed is None
    assert export.progress is not None
    assert export.progress.updated == CREATED


@pytest.mark.parametrize(
    "wrong",
    [{"status": "DONE"}, {"date": {}}, {"date": {"created": CREATED, "deleted": CREATED}}, {"key": "k", "sha256": []}],
)
def test_a_document_that_no_validator_would_let_in_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Export.from_document(stored(**wrong))


def new_export(**fields: Any) -> NewExport:
    return NewExport(
        **{
            "campaign_id": "ABCDEFABCDEFABCDEFABCDEF",
            "campaign_name": "Summer",
            "export_type": "entries",
            "requester_user_id": "u",
            "correlation_id": "c",
            "source": "api",
        }
        | fields
    )


def test_a_new_export_is_the_first_attempt_and_campaigns_have_one_spelling() -> None:
    document = new_export().to_document()
    assert document["campaignId"] == "abcdefabcdefabcdefabcdef"
    assert (document["status"], document["attempt"], document["attempts"]) == ("PENDING", 1, [])
    assert "dateKey" not in document
    assert new_export(date_key="17").to_document()["dateKey"] == "17"


def test_names_that_are_not_unicode_can_be_stored() -> None:
    assert storable("a\udc80b\U0001f600") == "a\ufffdb\U0001f600"
    assert new_export(campaign_name="x\udcff").to_document()["campaignName"] == "x\ufffd"


def test_one_file_is_a_key_several_are_keys() -> None:
    one = Delivered(bucket="exportsS3", keys=("k",), rows=2, bytes=10, sha256=(SHA,), meta={"skipped": 1}).to_fields()
    assert one == {"bucket": "exportsS3", "key": "k", "sha256": SHA, "count": 2, "bytes": 10, "meta": {"skipped": 1}}
    two = Delivered(bucket="sfmcS3", keys=("k", "l"), rows=2, bytes=10, sha256=(SHA, SHA)).to_fields()
    assert (two["keys"], two["sha256"]) == (["k", "l"], [SHA, SHA])
    assert "key" not in two


def test_every_key_has_a_digest() -> None:
    with pytest.raises(ValueError, match="2 keys but 1 digests"):
        Delivered(bucket="sfmcS3", keys=("k", "l"), rows=2, bytes=10, sha256=(SHA,)).to_fields()


def test_values_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Claim("0" * 24, 1, "r").attempt = 2  # pyright: ignore[reportAttributeAccessIssue] the point of the test
