"""The variables of webhooks: how lists are written, and what is said of wrong ones."""

from __future__ import annotations

import pytest

from tests.webhook_receiver import SECRET
from vfexport_core.doctor.checks import run_checks
from vfexport_core.doctor.notification_checks import notification_checks
from vfexport_core.errors import ConfigurationError
from vfexport_core.settings import WebhookSettings, load_settings

URL = "https://hooks.example.org/x"
OTHER_SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldY"


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VFEXPORT_MONGO_URI", "mongodb://127.0.0.1:1")
    monkeypatch.setenv("VFEXPORT_WEBHOOKS__OPS__URL", URL)
    monkeypatch.setenv("VFEXPORT_WEBHOOKS__OPS__SECRETS", SECRET)


def loaded() -> WebhookSettings:
    return load_settings(None).webhooks["ops"]


def test_a_list_is_json_or_its_only_member(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VFEXPORT_WEBHOOKS__OPS__EVENTS", "export.failed")
    assert [secret.get_secret_value() for secret in loaded().secrets] == [SECRET]
    assert loaded().events == ("export.failed",)
    monkeypatch.setenv("VFEXPORT_WEBHOOKS__OPS__SECRETS", f' ["{SECRET}", "{OTHER_SECRET}"]')
    monkeypatch.setenv("VFEXPORT_WEBHOOKS__OPS__EVENTS", '["export.failed", "worker.lost"]')
    assert [secret.get_secret_value() for secret in loaded().secrets] == [SECRET, OTHER_SECRET]
    assert loaded().events == ("export.failed", "worker.lost")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("SECRETS", '["s3cret', "OPS__SECRETS: .*must be a JSON list"),
        ("SECRETS", f"{SECRET},s3cret", "OPS: .*each of SECRETS must be whsec_"),
        ("EVENTS", "s3cret", "OPS__EVENTS__0: .*'export.finished'"),
        ("EVENTS", "[s3cret]", "OPS__EVENTS: .*must be a JSON list"),
        ("URL", "https://ann:s3cret/word@host/x", "OPS: .*URL must be an address"),
        ("URL", "https://hooks.example.org:s3cret/x", "OPS: .*URL must be an address"),
    ],
)
def test_a_wrong_one_is_named_and_not_repeated(
    variable: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"VFEXPORT_WEBHOOKS__OPS__{variable}", value)
    with pytest.raises(ConfigurationError, match=f"VFEXPORT_WEBHOOKS__{said}") as raised:
        load_settings(None)
    assert "s3cret" not in raised.value.message


def test_what_must_be_json_and_is_none_is_said_to_be_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VFEXPORT_WEBHOOKS", "ops=s3cret")
    with pytest.raises(ConfigurationError, match=r"^VFEXPORT_WEBHOOKS is not JSON") as raised:
        load_settings(None)
    assert "s3cret" not in raised.value.message


def test_the_doctor_says_which_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VFEXPORT_WEBHOOKS__OPS__URL", "https://127.0.0.1/x")
    (finding,) = run_checks(notification_checks(load_settings(None))[:1])
    assert finding.detail.startswith("ops: 127.0.0.1: ")
    assert "ALLOW_PRIVATE" in finding.hint
