"""`vfexport doctor`: finds what is wrong, says what to do, and no check stops another."""

from __future__ import annotations

import json
import shutil
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.api_tokens import AUDIENCE, EC_KEY, ISSUER, RSA_KEY, public_pem
from tests.cli_helpers import Cli, load
from tests.dagster.conftest import Buckets
from tests.key_server import published, serving_keys
from tests.s3_faults import ACCESS_DENIED, Answer
from tests.s3_proxy import S3Proxy
from tests.unit.docs_helpers import ROOT
from vfexport_core.api.auth.dev_tokens import new_private_key
from vfexport_core.doctor.checks import Check, Finding, Outcome, failed, ok, run_checks
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.services.initialise import initialise

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo.database import Database

    from vfexport_core.embedded import S3Server
    from vfexport_core.settings import Settings

    Documents = Database[dict[str, Any]]

HEALTHY = {
    "VFEXPORT_DEV_MODE": "false",
    "VFEXPORT_JWT_PUBLIC_KEY": public_pem(RSA_KEY),
    "VFEXPORT_JWT_ISSUER": ISSUER,
    "VFEXPORT_JWT_AUDIENCE": AUDIENCE,
    "VFEXPORT_CCPA_HASH_KEY": "h" * 32,
    "VFEXPORT_SPOOL_MAX_BYTES": str(2**20),  # so little is free anywhere
}
CONFIGURATIONS = (
    *("GetBucketOwnershipControls", "GetBucketVersioning"),
    *("GetBucketLifecycleConfiguration", "GetObjectLockConfiguration"),
)
CLEANING = {
    "Rules": [
        {
            "ID": "leftovers",
            "Status": "Enabled",
            "Filter": {"Prefix": "_staging/"},
            "Expiration": {"Days": 1},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        }
    ]
}
BUCKETS = ("exportsS3", "scoringS3", "vfScoringS3", "sfmcS3")


class Doctor:
    """The command on one test's servers."""

    def __init__(self, cli: Cli) -> None:
        self.cli = cli

    def look(self, part: str = "all", **environment: str) -> dict[str, list[dict[str, str]]]:
        """Return the findings by name; the exit status must be the one that they call for."""
        result = self.cli.run("doctor", "--json", "--for", part, **environment)
        found: dict[str, list[dict[str, str]]] = {}
        for finding in json.loads(result.stdout)["findings"]:
            assert finding["hint"] or finding["outcome"] == "ok", finding
            found.setdefault(finding["name"], []).append(finding)
        has_failed = any(finding["outcome"] == "failed" for findings in found.values() for finding in findings)
        assert result.exit_code == (1 if has_failed else 0)
        return found

    def outcomes(self, part: str = "all", **environment: str) -> dict[str, str]:
        return {name: findings[0]["outcome"] for name, findings in self.look(part, **environment).items()}


@pytest.fixture
def doctor(
    settings_environment: dict[str, str], tmp_path: Path, database: Documents, monkeypatch: pytest.MonkeyPatch
) -> Doctor:
    """A doctor who has nothing to complain of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    initialise(database)
    load(database, entries=5)
    return Doctor(Cli(settings_environment | HEALTHY, tmp_path))


@pytest.fixture
def buckets(settings: Settings) -> Iterator[Buckets]:
    buckets = Buckets(settings)
    yield buckets
    buckets.client.close()


@pytest.fixture
def proxy(s3_server: S3Server, doctor: Doctor) -> Iterator[S3Proxy]:
    with S3Proxy(s3_server.endpoint_url) as proxy:
        for name in doctor.cli.environment:
            if name.endswith("__ENDPOINT_URL"):
                doctor.cli.environment[name] = proxy.url
        yield proxy


def test_a_healthy_service_needs_nothing(doctor: Doctor, buckets: Buckets) -> None:
    for bucket in (
        buckets.settings.exports,
        buckets.settings.scoring,
        buckets.settings.vf_scoring,
        buckets.settings.sfmc,
    ):
        assert bucket is not None
        buckets.client.put_bucket_lifecycle_configuration(Bucket=bucket.name, LifecycleConfiguration=CLEANING)
    outcomes = doctor.outcomes()
    expected = dict.fromkeys(["mongodb", "queue", "source indexes", "jwt keys", "jwt claims", "dev mode"], "ok")
    expected |= {"ccpa deletions": "ok", "ccpa hash key": "ok", "dagster": "not checked", "mongodb clock": "ok"}
    expected |= {"ccpa file index": "ok", "hanging buckets": "ok", "schema": "ok", "temporary folder": "ok"}
    expected |= {"pause": "ok", "webhooks": "ok", "notifications": "ok"}
    for bucket in BUCKETS:
        aspects = ("writable", "ownership", "versioning", "lifecycle", "object lock", "region", "signed urls")
        expected |= dict.fromkeys([bucket, *(f"{bucket} {aspect}" for aspect in aspects)], "ok")
    # In the oldest mode a file from another account belongs to that account.
    assert outcomes == expected | {"scoringS3 ownership": "warning"}
    assert buckets.everything() == []


def test_a_bucket_that_hangs_is_named(doctor: Doctor, database: Documents) -> None:
    breakers = ExportRepository(database).breakers
    breakers.trip("sfmcS3")
    (finding,) = doctor.look()["hanging buckets"]
    assert finding["outcome"] == "failed"
    assert "bucket sfmcS3 has hung since" in finding["detail"]
    breakers.half_open("sfmcS3")
    assert doctor.outcomes()["hanging buckets"] == "ok"


def test_a_queue_that_is_paused_is_told(doctor: Doctor, database: Documents) -> None:
    pause = ExportRepository(database).pause
    pause.begin("upgrade", "cli:ann")
    (finding,) = doctor.look()["pause"]
    assert finding["outcome"] == "warning"
    assert finding["detail"].endswith("by cli:ann: upgrade")
    pause.end()


def test_people_get_a_table(doctor: Doctor) -> None:
    result = doctor.cli.run("doctor", VFEXPORT_CCPA_HASH_KEY="")
    lines = result.stdout.splitlines()
    assert result.exit_code == 1
    (row,) = [number for number, line in enumerate(lines) if line.startswith("ccpa hash key")]
    assert "failed" in lines[row]
    assert "-> Set VFEXPORT_CCPA_HASH_KEY" in lines[row + 1]


def test_what_the_queue_lacks_is_named(doctor: Doctor, database: Documents) -> None:
    database.exports.drop_index("one_triggered")
    database.exports.create_index("status", name="one_triggered")
    database.exports.drop_index("queue_order")
    database.command("collMod", "exports", validator={})
    (finding,) = doctor.look()["queue"]
    assert finding["outcome"] == "failed"
    for text in ("one_triggered differs", "queue_order is missing", "validator"):
        assert text in finding["detail"]
    assert "vfexport init" in finding["hint"]


@pytest.mark.parametrize("condition", [{}, {"partialFilterExpression": {"status": "PENDING"}}], ids=["none", "other"])
def test_a_server_that_made_something_else_of_an_index_is_refused(
    doctor: Doctor, database: Documents, condition: dict[str, Any]
) -> None:
    """What there is counts, not that `init` was run: such a server would not keep two exports from being active."""
    name = "one_active_per_campaign_type_date"
    keys = database.exports.index_information()[name]["key"]
    database.exports.drop_index(name)
    database.exports.create_index(keys, name=name, unique=True, **condition)
    (finding,) = doctor.look()["queue"]
    assert finding["outcome"] == "failed"
    assert f"{name} differs" in finding["detail"]
    assert "DocumentDB" in finding["hint"]


def test_what_the_record_of_deletions_lacks_is_named_and_init_helps(doctor: Doctor, database: Documents) -> None:
    records = database["ccpaDeletions"]
    records.drop_index("open_order")
    records.drop_index("one_open_per_user")
    database.command("collMod", records.name, validator={})
    (finding,) = doctor.look()["ccpa deletions"]
    assert finding["outcome"] == "failed"
    for text in ("collection ccpaDeletions", "open_order is missing", "one_open_per_user is missing", "validator"):
        assert text in finding["detail"]
    assert doctor.outcomes()["queue"] == "ok"
    assert doctor.cli.run("init").exit_code == 0
    assert doctor.outcomes()["ccpa deletions"] == "ok"


def test_a_service_that_was_never_initialised_is_told_to_be(doctor: Doctor, database: Documents) -> None:
    for name in ("exports", "ccpaDeletions"):
        database.drop_collection(name)
    found = doctor.look()
    for name in ("queue", "ccpa deletions"):
        assert found[name][0]["outcome"] == "failed"
        assert "vfexport init" in found[name][0]["hint"]


def test_missing_source_indexes_are_warnings(doctor: Doctor, database: Documents) -> None:
    database.codes.drop_indexes()
    database.drop_collection("scoring")
    findings = doctor.look()["source indexes"]
    assert {finding["outcome"] for finding in findings} == {"warning"}
    assert "codes has no index {campaignId: 1, _id: 1}" in findings[0]["detail"]
    assert "createIndex" in findings[0]["hint"]
    assert [finding["detail"] for finding in findings[1:]] == ["collection scoring does not exist"]


def test_mongodb_that_is_away_stops_no_other_check(doctor: Doctor) -> None:
    uri = "mongodb://user:passw0rd@127.0.0.1:1/?serverSelectionTimeoutMS=100"
    found = doctor.look(VFEXPORT_MONGO_URI=uri)
    for name in ("mongodb", "queue", "ccpa deletions", "source indexes"):
        assert found[name][0]["outcome"] == "failed"
        assert "SourceUnavailable" in found[name][0]["detail"]
    assert found["exportsS3 writable"][0]["outcome"] == "ok"
    assert "passw0rd" not in str(found)


def test_a_bucket_that_must_not_be_written_is_found(doctor: Doctor, proxy: S3Proxy, buckets: Buckets) -> None:
    proxy.fail("PutObject", ACCESS_DENIED, times=1)
    outcomes = doctor.outcomes()
    failing = [name for name, outcome in outcomes.items() if outcome == "failed"]
    assert len(failing) == 1
    assert failing[0] in {f"{bucket} writable" for bucket in BUCKETS}
    assert buckets.everything() == []
    assert [seen.key.startswith("_staging/doctor/") for seen in proxy.seen("PutObject")] == [True] * 4


def test_a_bucket_that_is_not_there_is_found(doctor: Doctor) -> None:
    found = doctor.look(VFEXPORT_BUCKETS__SFMC__NAME="no-such-bucket")
    assert found["sfmcS3"][0]["outcome"] == "failed"
    assert "no-such-bucket" in found["sfmcS3"][0]["detail"]
    assert "sfmcS3 writable" not in found
    assert found["exportsS3 writable"][0]["outcome"] == "ok"


def test_an_unset_bucket_is_a_warning_that_names_its_types(doctor: Doctor) -> None:
    for name in [name for name in doctor.cli.environment if "__SFMC__" in name]:
        del doctor.cli.environment[name]
    (finding,) = doctor.look()["sfmcS3"]
    assert finding["outcome"] == "warning"
    assert "autoReminderEmail" in finding["hint"]


def test_how_a_bucket_is_set_up_is_told(doctor: Doctor, buckets: Buckets) -> None:
    scoring = buckets.settings.scoring
    assert scoring is not None
    buckets.client.put_bucket_versioning(Bucket=scoring.name, VersioningConfiguration={"Status": "Enabled"})
    rules = [{"ObjectOwnership": "BucketOwnerEnforced"}]
    buckets.client.put_bucket_ownership_controls(Bucket=scoring.name, OwnershipControls={"Rules": rules})
    found = doctor.look()
    assert "BucketOwnerEnforced" in found["scoringS3 ownership"][0]["detail"]
    assert found["scoringS3 ownership"][0]["outcome"] == "ok"
    assert "Enabled" in found["scoringS3 versioning"][0]["detail"]
    left = buckets.client.list_object_versions(Bucket=scoring.name)
    assert (left.get("Versions", []), left.get("DeleteMarkers", [])) == ([], [])


def test_what_may_not_be_asked_is_not_checked(doctor: Doctor, proxy: S3Proxy) -> None:
    for configuration in CONFIGURATIONS:
        proxy.fail(configuration, ACCESS_DENIED)
    outcomes = doctor.outcomes()
    aspects = ("ownership", "versioning", "object lock")
    assert {outcomes[f"{bucket} {what}"] for bucket in BUCKETS for what in aspects} == {"not checked"}
    assert {outcomes[f"{bucket} writable"] for bucket in BUCKETS} == {"ok"}


@pytest.mark.parametrize(
    "refusal", [Answer(501, "NotImplemented"), Answer(405, "MethodNotAllowed"), Answer(400, "InvalidArgument")]
)
def test_what_a_store_does_not_know_is_not_checked(doctor: Doctor, proxy: S3Proxy, refusal: Answer) -> None:
    for configuration in CONFIGURATIONS:
        proxy.fail(configuration, refusal)
    assert doctor.outcomes()["exportsS3 object lock"] == "not checked"


ALL_RULES = {
    "Status": "Enabled",
    "Filter": {"Prefix": "_staging/"},
    "Expiration": {"Days": 1},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
    "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
}


@pytest.mark.parametrize(
    ("rule", "outcome"),
    [
        (None, "warning"),
        (ALL_RULES, "ok"),
        (ALL_RULES | {"Filter": {"Prefix": ""}}, "ok"),
        (ALL_RULES | {"Filter": {"Prefix": "other/"}}, "warning"),
        (ALL_RULES | {"Filter": {"Tag": {"Key": "a", "Value": "b"}}}, "warning"),
        (ALL_RULES | {"Status": "Disabled"}, "warning"),
        ({name: part for name, part in ALL_RULES.items() if name != "NoncurrentVersionExpiration"}, "warning"),
        ({name: part for name, part in ALL_RULES.items() if name != "AbortIncompleteMultipartUpload"}, "warning"),
    ],
)
def test_a_bucket_must_forget_what_a_killed_process_leaves(
    doctor: Doctor, buckets: Buckets, rule: dict[str, Any] | None, outcome: str
) -> None:
    exports = buckets.settings.exports
    assert exports is not None
    buckets.client.put_bucket_versioning(Bucket=exports.name, VersioningConfiguration={"Status": "Enabled"})
    if rule is not None:
        rules = {"Rules": [rule | {"ID": "one"}]}
        buckets.client.put_bucket_lifecycle_configuration(Bucket=exports.name, LifecycleConfiguration=rules)
    found = doctor.look()
    assert found["exportsS3 lifecycle"][0]["outcome"] == outcome
    (unversioned,) = found["scoringS3 lifecycle"]
    assert "AbortIncompleteMultipartUpload, Expiration:" in unversioned["detail"]


def test_each_part_is_asked_for_what_it_needs(doctor: Doctor, proxy: S3Proxy) -> None:
    """The API's role may not write, Dagster's daemon has no settings of this service at all."""
    of_api, of_code = doctor.outcomes(part="api"), doctor.outcomes(part="code")
    assert {"mongodb", "exportsS3", "exportsS3 signed urls", "jwt keys", "ccpa hash key"} <= of_api.keys()
    assert not {"exportsS3 writable", "dagster"} & of_api.keys()
    assert {"mongodb", "exportsS3 writable", "ccpa hash key", "dagster", "temporary folder"} <= of_code.keys()
    assert "jwt keys" not in of_code
    for name in [name for name in doctor.cli.environment if name.startswith("VFEXPORT_")]:
        del doctor.cli.environment[name]
    assert doctor.outcomes(part="daemon") == {"dagster": "not checked", "temporary folder": "ok"}


def test_a_disk_that_is_too_small_or_closed_is_found(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = doctor.outcomes(part="code", VFEXPORT_SPOOL_MAX_BYTES=str(2**62))
    assert outcomes["temporary folder"] == "warning"
    monkeypatch.setattr("tempfile.tempdir", "/proc")
    assert doctor.outcomes(part="daemon")["temporary folder"] == "failed"


def test_a_default_retention_is_found_and_nothing_is_locked(doctor: Doctor, buckets: Buckets) -> None:
    name = f"{doctor.cli.environment['VFEXPORT_BUCKETS__SFMC__NAME']}-locked"
    buckets.client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    assert doctor.outcomes(VFEXPORT_BUCKETS__SFMC__NAME=name)["sfmcS3 object lock"] == "ok"
    retention = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}
    lock = {"ObjectLockEnabled": "Enabled", "Rule": retention}
    buckets.client.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration=lock)
    outcomes = doctor.outcomes(VFEXPORT_BUCKETS__SFMC__NAME=name)
    assert (outcomes["sfmcS3 object lock"], outcomes["sfmcS3 writable"]) == ("failed", "not checked")
    assert "Versions" not in buckets.client.list_object_versions(Bucket=name)


def test_another_region_than_the_bucket_s_is_found(doctor: Doctor, buckets: Buckets) -> None:
    """As on AWS: no endpoint in the settings, the host is resolved elsewhere."""
    endpoint = doctor.cli.environment.pop("VFEXPORT_BUCKETS__SFMC__ENDPOINT_URL")
    name = f"{doctor.cli.environment['VFEXPORT_BUCKETS__SFMC__NAME']}-ireland"
    where = {"LocationConstraint": "eu-west-1"}
    buckets.client.create_bucket(Bucket=name, CreateBucketConfiguration=where)
    aws = {"AWS_ENDPOINT_URL_S3": endpoint, "VFEXPORT_BUCKETS__SFMC__NAME": name}
    (finding,) = doctor.look(**aws, VFEXPORT_BUCKETS__SFMC__REGION="us-east-1")["sfmcS3 region"]
    assert finding["outcome"] == "warning"
    assert "eu-west-1" in finding["detail"]
    assert finding["hint"] == "Set VFEXPORT_BUCKETS__SFMC__REGION to eu-west-1."
    assert doctor.outcomes(**aws, VFEXPORT_BUCKETS__SFMC__REGION="eu-west-1")["sfmcS3 region"] == "ok"


@pytest.mark.parametrize("by", ["role", "chain"])
def test_addresses_that_outlive_their_signer_are_found(doctor: Doctor, s3_server: S3Server, by: str) -> None:
    signer = {"AWS_ENDPOINT_URL_STS": s3_server.endpoint_url}
    if by == "role":
        signer["VFEXPORT_BUCKETS__SFMC__ROLE_ARN"] = "arn:aws:iam::123456789012:role/exporter"
    else:
        for half in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
            del doctor.cli.environment[f"VFEXPORT_BUCKETS__SFMC__{half}"]
            signer[f"AWS_{half}"] = "temporary"
        signer["AWS_SESSION_TOKEN"] = "token"
    outcomes = doctor.outcomes(**signer, VFEXPORT_SIGNED_URL_SECONDS="901")
    assert (outcomes["sfmcS3 signed urls"], outcomes["exportsS3 signed urls"]) == ("warning", "ok")
    assert doctor.outcomes(**signer, VFEXPORT_SIGNED_URL_SECONDS="900")["sfmcS3 signed urls"] == "ok"


def test_keys_are_looked_at(doctor: Doctor) -> None:
    with serving_keys() as server:
        address = {"VFEXPORT_JWT_JWKS_URL": server.url, "VFEXPORT_JWT_PUBLIC_KEY": ""}
        server.publish(published(RSA_KEY, "one"), published(EC_KEY, "two"))
        assert "2 usable" in doctor.look(**address)["jwt keys"][0]["detail"]
        server.publish(published(EC_KEY, None))
        assert "no usable key" in doctor.look(**address)["jwt keys"][0]["detail"]
        server.status = 500
        assert doctor.outcomes(**address)["jwt keys"] == "failed"
    assert doctor.outcomes(VFEXPORT_JWT_PUBLIC_KEY="no key")["jwt keys"] == "failed"
    assert doctor.outcomes(VFEXPORT_JWT_PUBLIC_KEY="")["jwt keys"] == "failed"


def test_claims_and_modes_are_looked_at(doctor: Doctor) -> None:
    found = doctor.look(VFEXPORT_JWT_AUDIENCE="", VFEXPORT_CCPA_HASH_KEY="short")
    assert "VFEXPORT_JWT_AUDIENCE" in found["jwt claims"][0]["detail"]
    assert found["ccpa hash key"][0]["outcome"] == "warning"
    assert "short: " in found["ccpa hash key"][0]["detail"]
    assert doctor.outcomes(VFEXPORT_DEV_MODE="true", VFEXPORT_CCPA_HASH_KEY="")["dev mode"] == "warning"


def test_a_dev_key_that_is_none_fails(doctor: Doctor) -> None:
    for mode in ("true", "false"):
        found = doctor.look(VFEXPORT_DEV_MODE=mode, VFEXPORT_DEV_PRIVATE_KEY="s3cret, no key")["dev mode"][0]
        assert found["outcome"] == "failed"
        assert "VFEXPORT_DEV_PRIVATE_KEY" in found["detail"]
        assert "s3cret" not in str(found)
    good = {"VFEXPORT_DEV_MODE": "true", "VFEXPORT_DEV_PRIVATE_KEY": new_private_key()}
    assert doctor.outcomes(**good)["dev mode"] == "warning"


def test_wrong_settings_are_the_only_finding(doctor: Doctor) -> None:
    found = doctor.look(VFEXPORT_TIMEOUT_MILLIS="soon")
    assert found.keys() == {"settings"}
    assert "VFEXPORT_TIMEOUT_MILLIS" in found["settings"][0]["detail"]


def test_the_dagster_instance_is_asked(doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    shutil.copy(ROOT / "dagster.yaml", home)
    outcomes = doctor.outcomes()
    assert {name: outcome for name, outcome in outcomes.items() if name.startswith("dagster")} == {
        "dagster daemon": "failed",  # there is none
        "dagster queue": "ok",
        "dagster monitoring": "ok",
        "dagster storage": "ok",
        "dagster code location": "not checked",
        "dagster sensors": "ok",
        "dagster ticks": "failed",  # there was none
        "dagster clock": "ok",
        "dagster home": "ok",
    }
    (home / "dagster.yaml").write_text("storage: {postgres: {postgres_url: 'postgresql://u:passw0rd@127.0.0.1:1/x'}}")
    found = doctor.look()["dagster"]
    assert found[0]["outcome"] == "failed"
    assert "passw0rd" not in str(found)


def test_a_check_that_hangs_is_given_up() -> None:
    gate = threading.Event()

    def hang() -> Iterator[Finding]:
        yield ok("first", "done")
        gate.wait()

    def break_down() -> Iterator[Finding]:
        raise LookupError("fan@example.com")
        yield

    began = time.monotonic()
    checks = [Check("hanging", 0.2, hang), Check("broken", 60, break_down), Check("fine", 60, lambda: [ok("fine", "")])]
    found = run_checks(checks)
    assert time.monotonic() - began < 60  # left to itself it would hang for ever
    gate.set()
    assert found == [
        ok("first", "done"),
        failed("hanging", "no answer within 0.2 s", "See whether it can be reached."),
        failed("broken", "unexpected LookupError", "This is a bug in the check: report it."),
        ok("fine", ""),
    ]
    assert {finding.outcome for finding in found} == {Outcome.OK, Outcome.FAILED}
