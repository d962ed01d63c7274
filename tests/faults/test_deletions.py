"""MongoDB or S3 fails at some call of a deletion: it is right at once, or completed by going on with it.

A deletion without faults says which calls there are; then one after the other fails, for once or from there on. Both
the request of a user and the service that takes an open record up again are treated so.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.ccpa import Service, running_service
from tests.faults.failing import MONGO_FAULTS, S3_FAULTS
from tests.s3_faults import ACCESS_DENIED, LoseAnswer, Rule, Spare
from tests.s3_proxy import through
from vfexport_core.errors import DeleteFailed, SourceUnavailable
from vfexport_core.queue.models import ExportStatus
from vfexport_core.storage.buckets import BucketClients
from vfexport_core.storage.object_keys import staging_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    from tests.faults.failing import Saboteur
    from tests.s3_proxy import S3Proxy
    from vfexport_core.settings import Settings

    Documents = Database[dict[str, Any]]

pytestmark = pytest.mark.usefixtures("_little_patience")

REFUSED = {"errorCode": 13}
FAULTS = MONGO_FAULTS | {"refused": REFUSED}
IN_S3 = S3_FAULTS | {"lost answer": LoseAnswer(), "refused": ACCESS_DENIED}
LOST_KEY = "lost/attempt.csv"
BUCKET = "exportsS3"


@dataclass
class Scenario:
    """Ended exports with files and without, a lost attempt that left something, one that waits, one that runs.

    It is built once and set up for every deletion; `calm` has no faults, `troubled` does.
    """

    calm: Service
    troubled: Service
    files: dict[tuple[str, str], bytes] = field(default_factory=dict)
    documents: list[dict[str, Any]] = field(default_factory=list)
    staged: str = ""
    versioned: bool = False

    def build(self) -> None:
        calm = self.calm
        campaign = calm.add_campaign(50)
        calm.run(calm.store.retry(calm.exported(campaign).id, redeliver=True))
        calm.exported(campaign, "codeWaves")
        calm.store.request_cancel(calm.request(campaign, "fanlist").id)
        calm.request(campaign, "waitlist")
        claim, _ = calm.store.claim(calm.request(campaign, "codes").id, "failed-run")
        calm.store.claimed(claim).note_keys(calm.buckets.bucket(BUCKET).name, [LOST_KEY])
        calm.store.close_run(claim.export_id, claim.run_id, ExportStatus.FAILED, None)
        calm.store.claimed(claim).note_drained()
        calm.store.claim(calm.request(campaign, "artistOptIn").id, "running")
        self.staged = staging_key(claim.export_id, 1, 1)
        self.files = calm.files() | {(BUCKET, LOST_KEY): b"late"}
        self.documents = list(calm.database["exports"].find())
        for bucket, key in calm.everything():
            calm.buckets.bucket(bucket).client.delete_object(Bucket=bucket_name(calm, bucket), Key=key)
        assert calm.everything() == []

    def keep_versions(self) -> None:
        """From now on every file is there in two versions with a delete marker in between."""
        self.versioned = True
        target = self.calm.buckets.bucket(BUCKET)
        target.client.put_bucket_versioning(Bucket=target.name, VersioningConfiguration={"Status": "Enabled"})

    def set_up(self) -> None:
        for name, documents in {"ccpaDeletions": [], "exports": self.documents}.items():
            self.calm.database[name].delete_many({})
            if documents:
                self.calm.database[name].insert_many(documents)
        for (bucket, key), data in [*self.files.items(), ((BUCKET, self.staged), b"staged")]:
            client, name = self.calm.buckets.bucket(bucket).client, bucket_name(self.calm, bucket)
            client.put_object(Bucket=name, Key=key, Body=data)
            if self.versioned and key != self.staged:
                client.delete_object(Bucket=name, Key=key)
                client.put_object(Bucket=name, Key=key, Body=data)
        client, name = self.calm.buckets.bucket(BUCKET).client, bucket_name(self.calm, BUCKET)
        for key in (LOST_KEY, self.staged):
            client.create_multipart_upload(Bucket=name, Key=key)

    def by_request(self) -> bool:
        """Ask for the deletion; tell whether it was completed at once. If nobody knows of it, ask again."""
        try:
            return self.troubled.delete().is_complete
        except DeleteFailed:
            return False
        except SourceUnavailable:
            self.calm.delete()
            return False

    def by_healing(self) -> bool:
        """Take up a record of which nothing is done yet; tell whether it was completed at once."""
        self.calm.open_record()
        self.calm.let_time_go_by()
        try:
            return self.troubled.resume().left == ()
        except SourceUnavailable:
            return False

    def run(self, way: str) -> bool:
        return self.by_request() if way == "request" else self.by_healing()

    def assert_completed(self, *, at_once: bool) -> None:
        """Nothing is left, once it was gone on with; what was deleted is counted right, over all tries."""
        calm = self.calm
        if not at_once:
            assert calm.heal_now().left == ()
        assert calm.deletions.open_ones() == []
        # In the other buckets nothing may be left in the end.
        assert [calm.there(bucket) for bucket in {bucket for bucket, _ in self.files}] == [[], []]
        assert [export.status for export in calm.store.list()] == [ExportStatus.PENDING] * 2
        counts = [record["deletedCount"] for record in calm.database["ccpaDeletions"].find()]
        assert sum(count["exports"] for count in counts) == len(self.documents) - 2
        assert sum(count["files"] for count in counts) == len(self.files)


def bucket_name(service: Service, bucket: str) -> str:
    return service.buckets.bucket(bucket).name


@pytest.fixture
def scenario(settings: Settings, database: Documents, shaky: Documents, s3: S3Proxy) -> Iterator[Scenario]:
    with running_service(settings, database) as calm, BucketClients(through(settings, s3.url)) as buckets:
        troubled = Service(through(settings, s3.url), shaky, buckets, patience_seconds=20.0)
        scenario = Scenario(calm, troubled)
        scenario.build()
        yield scenario
        assert calm.everything() == []


def commands_of(scenario: Scenario, saboteur: Saboteur, way: str) -> list[str]:
    scenario.set_up()
    saboteur.listen()
    assert scenario.run(way)
    scenario.assert_completed(at_once=True)
    return saboteur.seen.copy()


@pytest.mark.parametrize(
    ("way", "fault"),
    [
        ("request", "error"),
        ("request", "closed"),
        ("request", "refused"),
        ("healing", "closed"),
        ("healing", "refused"),
    ],
)
def test_mongodb_may_fail_once_at_any_command(scenario: Scenario, saboteur: Saboteur, way: str, fault: str) -> None:
    """A passing fault is survived at once."""
    commands = commands_of(scenario, saboteur, way)
    assert {"update", "find", "findAndModify", "distinct", "aggregate", "delete", "listIndexes"} <= set(commands)
    for number, command in enumerate(commands, start=1):
        scenario.set_up()
        saboteur.fail_at(number, FAULTS[fault])
        at_once = scenario.run(way)
        assert saboteur.failures == [command], number
        assert at_once or fault == "refused", (number, command)
        scenario.assert_completed(at_once=at_once)


@pytest.mark.parametrize("way", ["request", "healing"])
def test_mongodb_may_fail_for_good_from_any_command_on(scenario: Scenario, saboteur: Saboteur, way: str) -> None:
    commands = commands_of(scenario, saboteur, way)
    for number, command in enumerate(commands, start=1):
        scenario.set_up()
        saboteur.fail_at(number, REFUSED, for_good=True)
        at_once = scenario.run(way)
        saboteur.heal()
        assert saboteur.failures[0] == command
        assert not at_once, (number, command)
        scenario.assert_completed(at_once=at_once)


@pytest.mark.parametrize(("way", "fault"), [("request", "error"), ("healing", "closed")])
def test_mongodb_may_be_away_from_any_kind_of_command_on(
    scenario: Scenario, saboteur: Saboteur, way: str, fault: str
) -> None:
    """What passes by itself is waited for, but not for ever."""
    commands = commands_of(scenario, saboteur, way)
    scenario.troubled = replace(scenario.troubled, patience_seconds=0.3)
    for command in dict.fromkeys(commands):
        scenario.set_up()
        saboteur.fail_at(commands.index(command) + 1, FAULTS[fault], for_good=True)
        at_once = scenario.run(way)
        saboteur.heal()
        assert saboteur.failures[0] == command
        assert not at_once, command
        scenario.assert_completed(at_once=False)


@pytest.mark.parametrize(("way", "fault"), [*(("request", fault) for fault in IN_S3), ("healing", "500")])
def test_s3_may_fail_at_any_call(scenario: Scenario, s3: S3Proxy, way: str, fault: str) -> None:
    """A passing fault is survived at once, one that stays is waited for."""
    scenario.set_up()
    assert scenario.run(way)
    scenario.assert_completed(at_once=True)
    operations = [seen.operation for seen in s3.seen()]
    assert {"ListObjectVersions", "DeleteObjects", "ListMultipartUploads", "AbortMultipartUpload"} <= set(operations)
    for number, operation in enumerate(operations):
        for times in (1, None):
            s3.reset()
            rule = s3.add(Rule(None, IN_S3[fault], times=times, skip=number))
            scenario.set_up()
            at_once = scenario.run(way)
            assert rule.applied == 1 if times else rule.applied >= 1, (number, operation)
            assert at_once is (times == 1 and fault != "refused"), (number, operation)
            s3.heal()
            scenario.assert_completed(at_once=at_once)


@pytest.mark.parametrize("times", [1, None], ids=["once", "for good"])
@pytest.mark.parametrize("code", ["SlowDown", "AccessDenied"])
def test_s3_may_leave_any_version_of_any_file(scenario: Scenario, s3: S3Proxy, code: str, times: int | None) -> None:
    scenario.keep_versions()
    scenario.set_up()
    assert scenario.by_request()
    calls = len(s3.seen("DeleteObjects"))
    assert calls >= 3
    versions = 0
    for call in range(calls):
        for number in itertools.count():
            s3.reset()
            spare = Spare(number, code)
            s3.add(Rule("DeleteObjects", spare, times=times, skip=call))
            scenario.set_up()
            at_once = scenario.by_request()
            if not spare.spared:
                break
            versions += 1
            assert at_once is (times == 1 and code != "AccessDenied"), (call, number)
            s3.heal()
            scenario.assert_completed(at_once=at_once)
    in_versioned_bucket = sum(bucket == BUCKET for bucket, _ in scenario.files)
    assert versions == 3 * in_versioned_bucket + (len(scenario.files) - in_versioned_bucket) + len([scenario.staged])
