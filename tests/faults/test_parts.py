"""Delivery is all or nothing, for the type of several objects and for one of a single large object.

A run without faults says which requests there are; then one request after the other fails, and afterwards nothing may
be in any bucket: no object, no upload, nothing staged.
"""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.builders import hex_id, make_campaign, make_entry, make_market, make_scoring, make_user
from tests.delivered import InBuckets, Run, load, make_export
from tests.reference import Campaign
from tests.s3_faults import ACCESS_DENIED, Answer, LoseAnswer
from tests.s3_proxy import S3Proxy
from tests.small_parts import SMALLEST, use_small_parts
from vfexport_core.errors import ConfigurationError, DeliveryFailed, DeliveryRefused, LeaseLost, VfexportError
from vfexport_core.settings import BucketsSettings
from vfexport_core.storage.buckets import BucketClients
from vfexport_core.storage.s3.bucket import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    from tests.s3_faults import Fault
    from vfexport_core.embedded import S3Server
    from vfexport_core.settings import Settings

ROW_BYTES = SMALLEST // 8
LARGE_ROWS, SMALL_ROWS = 9, 2
TYPES = ("autoReminderEmail", "reminderEmailSample")
# What must have been sent at least once for the exhaustive tests to mean something.
CHANGES = {
    "autoReminderEmail": {
        "CreateMultipartUpload": 1,
        "UploadPart": 2,
        "CompleteMultipartUpload": 1,
        "PutObject": 2,  # the small parts
        "CopyObject": 3,
        "DeleteObject": 3,  # of what was staged
    },
    "reminderEmailSample": {
        "CreateMultipartUpload": 1,
        "UploadPart": 2,
        "CompleteMultipartUpload": 1,
        "CopyObject": 1,
        "DeleteObject": 1,
    },
}
REMAINS = {
    "GetObject",
    "HeadObject",
    "ListMultipartUploads",
    "ListObjectVersions",
    "DeleteObjects",
    "AbortMultipartUpload",
}


@dataclass
class Scene:
    run: Run
    proxy: S3Proxy
    buckets: InBuckets
    campaign_id: str

    def export(self, export_type: str, **fields: Any) -> Any:
        return self.run(make_export(self.run.database, self.campaign_id, export_type, **fields))

    def assert_nothing_is_left(self, what: object) -> None:
        assert self.buckets.everything() == [], what


@pytest.fixture
def scene(
    database: Database[Any], settings: Settings, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scene]:
    """A campaign of three files, one of two parts: every row repeats the campaign's long ticket URL."""
    large = make_campaign(ticketUrl="https://tickets.example/" + "x" * ROW_BYTES)
    numbers = range(1, LARGE_ROWS + SMALL_ROWS + 1)
    countries = {number: "US" if number <= LARGE_ROWS else ("GB", "DE")[number % 2] for number in numbers}
    bundle = Campaign(
        large,
        [make_market()],
        [make_user(number) for number in numbers],
        [make_entry(number) for number in numbers],
        [make_scoring(number, countryCode=countries[number]) for number in numbers],
    )
    campaign_id = load(database, bundle)
    quick = functools.partial(RetryPolicy, attempts=3, base_seconds=0.001)
    monkeypatch.setattr("vfexport_core.storage.buckets.RetryPolicy", quick)
    use_small_parts(monkeypatch)
    with S3Proxy(s3_server.endpoint_url) as proxy, BucketClients(settings) as direct:
        through = {
            name: getattr(settings.buckets, name).model_copy(update={"endpoint_url": proxy.url})
            for name in BucketsSettings.model_fields
        }
        proxied = settings.model_copy(
            update={"buckets": settings.buckets.model_copy(update=through), "sample_rows": 1_000}
        )
        yield Scene(Run(database, proxied), proxy, InBuckets(direct), campaign_id)


def changes(scene: Scene) -> dict[str, int]:
    """Count the requests that change something, by operation."""
    counts: dict[str, int] = {}
    for request in scene.proxy.seen():
        if request.operation not in REMAINS:
            counts[request.operation] = counts.get(request.operation, 0) + 1
    return counts


@pytest.mark.parametrize("export_type", TYPES)
def test_success_leaves_exactly_the_keys_that_are_told(scene: Scene, export_type: str):
    delivered = scene.export(export_type)
    assert changes(scene) == CHANGES[export_type]
    assert sorted(key for _, key in scene.buckets.everything()) == sorted(delivered.keys)
    ((bucket, keys),) = scene.run.noted
    assert (bucket, keys) == (delivered.bucket, delivered.keys)
    if export_type == "autoReminderEmail":
        order = [request.operation for request in scene.proxy.seen()]
        staged = max(place for place, name in enumerate(order) if name in {"PutObject", "CompleteMultipartUpload"})
        assert staged < order.index("CopyObject"), "no part is completed before every part has been uploaded"
        assert {request.headers.get("x-amz-acl") for request in scene.proxy.seen("CopyObject")} == {None}


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(ACCESS_DENIED, id="refused"),
        pytest.param(Answer(500, "InternalError", after=True), id="done but not said"),
        pytest.param(LoseAnswer(), id="answer lost"),
    ],
)
@pytest.mark.parametrize("export_type", TYPES)
def test_a_failure_at_any_request_leaves_nothing(scene: Scene, export_type: str, fault: Fault):
    """From the chosen request of an operation on, it fails for good; cleaning up uses other operations."""
    for operation, count in CHANGES[export_type].items():
        for skip in range(count):
            scene.proxy.reset()
            rule = scene.proxy.fail(operation, fault, skip=skip)
            delivered = None
            with contextlib.suppress(DeliveryFailed, DeliveryRefused):
                delivered = scene.export(export_type)
            assert rule.applied
            scene.proxy.heal()
            if delivered is None:
                scene.assert_nothing_is_left((operation, skip))
            else:
                # What was done although its answer was lost may be found to be done, and then all is well.
                assert fault is not ACCESS_DENIED, (operation, skip)
                assert sorted(key for _, key in scene.buckets.everything()) == sorted(delivered.keys)
                clear(scene)


@pytest.mark.parametrize("export_type", TYPES)
def test_a_passing_fault_of_every_operation_changes_nothing(scene: Scene, export_type: str):
    rules = [scene.proxy.fail(operation, Answer(503, "SlowDown"), times=1) for operation in CHANGES[export_type]]
    delivered = scene.export(export_type)
    assert all(rule.applied for rule in rules)
    assert sorted(key for _, key in scene.buckets.everything()) == sorted(delivered.keys)


@pytest.mark.parametrize("export_type", TYPES)
def test_a_fence_that_is_lost_at_any_publication_leaves_nothing(scene: Scene, export_type: str):
    publications = CHANGES[export_type]["CopyObject"]
    for allowed in range(publications):
        asked = 0

        def check_fence(limit: int = allowed) -> None:
            nonlocal asked
            asked += 1
            if asked > limit:
                raise LeaseLost("taken by another run")

        scene.run.check_fence = check_fence
        with pytest.raises(LeaseLost):
            scene.export(export_type)
        assert asked == allowed + 1
        scene.assert_nothing_is_left(allowed)


@pytest.mark.parametrize("export_type", TYPES)
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_at_a_publication_leaves_nothing(scene: Scene, export_type: str, error: type[BaseException]):
    def check_fence() -> None:
        if scene.buckets.objects() and len(scene.proxy.seen("CopyObject")) == CHANGES[export_type]["CopyObject"] - 1:
            raise error

    scene.run.check_fence = check_fence
    with pytest.raises(error):
        scene.export(export_type)
    scene.assert_nothing_is_left(error)


def test_what_cannot_be_taken_away_is_told_by_the_error_that_came_first(scene: Scene, caplog: pytest.LogCaptureFixture):
    scene.proxy.fail("CopyObject", ACCESS_DENIED, skip=1)
    scene.proxy.fail("DeleteObjects", ACCESS_DENIED)
    with pytest.raises(DeliveryRefused, match="CopyObject"):
        scene.export("autoReminderEmail")
    assert any("may be left" in record.getMessage() for record in caplog.records)
    left = {key for _, key in scene.buckets.everything()}
    ((_, noted),) = scene.run.noted
    assert {key for key in left if not key.startswith("_staging/")} <= set(noted), "whoever cleans up knows where"


def test_regions_that_share_a_prefix_are_refused_before_anything_is_written(scene: Scene):
    update = {"sfmc_prefixes": {"UK": "Europe/Presale", "DE": "Europe/Presale"}, "sfmc_locales": {"en-us": "en-gb"}}
    scene.run.settings = scene.run.settings.model_copy(update=update)
    with pytest.raises(ConfigurationError, match="VFEXPORT_SFMC_PREFIXES"):
        scene.export("autoReminderEmail")
    assert changes(scene) == {}


def test_an_attempt_has_keys_of_its_own(scene: Scene):
    first, second = scene.export("autoReminderEmail"), scene.export("autoReminderEmail", attempt=2)
    assert not set(first.keys) & set(second.keys)
    assert first.sha256 == second.sha256


def test_no_row_at_all_is_no_file(scene: Scene):
    scene.run.database["scoring"].update_many({}, {"$set": {"selected": False}})
    delivered = scene.export("autoReminderEmail")
    assert (delivered.keys, delivered.rows, delivered.sha256) == ((), 0, ())
    scene.assert_nothing_is_left("no row")
    assert delivered.to_fields()["keys"] == []


def clear(scene: Scene) -> None:
    for bucket, key in scene.buckets.objects():
        target = scene.buckets.clients.bucket(bucket)
        target.client.delete_object(Bucket=target.name, Key=key)


def test_every_error_is_one_of_ours(scene: Scene):
    scene.proxy.fail("CreateMultipartUpload", Answer(403, "AccountProblem"))
    with pytest.raises(VfexportError) as caught:
        scene.export("autoReminderEmail")
    assert caught.value.payload == scene.run.settings.buckets.sfmc.name
    assert hex_id(1) not in caught.value.message
