"""Settings from files: one per variable, as secrets are mounted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vfexport_core.errors import ConfigurationError
from vfexport_core.settings import SECRETS_DIR, load_settings

if TYPE_CHECKING:
    from pathlib import Path

URI = "mongodb://from-a-file.test:27017/"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("VFEXPORT_MONGO_URI", raising=False)
    monkeypatch.setenv(SECRETS_DIR, str(tmp_path))
    (tmp_path / "VFEXPORT_MONGO_URI").write_text(f"{URI}\n")
    (tmp_path / "VFEXPORT_BUCKETS__SFMC__NAME").write_text("some-bucket")
    (tmp_path / "VFEXPORT_BUCKETS__SFMC__ACCESS_KEY_ID").write_text("key")
    (tmp_path / "..data").mkdir()  # as Kubernetes has it, beside links
    (tmp_path / "README").write_text("not a setting")
    return tmp_path


def test_each_file_is_a_variable(folder: Path) -> None:
    settings = load_settings(None)
    assert settings.mongo_uri.get_secret_value() == URI
    assert settings.buckets.sfmc is not None
    assert (settings.buckets.sfmc.name, settings.buckets.sfmc.access_key_id) == ("some-bucket", "key")


def test_the_environment_goes_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VFEXPORT_MONGO_URI", "mongodb://from-the-environment.test/")
    monkeypatch.setenv("VFEXPORT_BUCKETS__SFMC__REGION", "eu-west-1")
    settings = load_settings(None)
    assert settings.mongo_uri.get_secret_value() == "mongodb://from-the-environment.test/"
    assert settings.buckets.sfmc is not None
    assert (settings.buckets.sfmc.name, settings.buckets.sfmc.region) == ("some-bucket", "eu-west-1")


def test_a_folder_that_is_not_there_is_refused_by_its_variable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRETS_DIR, str(folder / "elsewhere"))
    with pytest.raises(ConfigurationError, match=SECRETS_DIR):
        load_settings(None)


def test_a_wrong_value_is_not_repeated(folder: Path) -> None:
    (folder / "VFEXPORT_TIMEOUT_MILLIS").write_text("s3cret")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(None)
    assert "VFEXPORT_TIMEOUT_MILLIS" in caught.value.message
    assert "s3cret" not in caught.value.message


def test_what_is_secret_of_a_webhook_can_be_a_file_and_the_rest_a_variable(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "VFEXPORT_WEBHOOKS__CRM__URL").write_text("https://crm.example.org/hooks\n")
    (folder / "VFEXPORT_WEBHOOKS__CRM__SECRETS").write_text('["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]\n')
    monkeypatch.setenv("VFEXPORT_WEBHOOKS__CRM__EVENTS", '["export.failed"]')
    (webhook,) = load_settings(None).webhooks.values()
    assert webhook.url.get_secret_value() == "https://crm.example.org/hooks"
    assert (len(webhook.secrets), webhook.events) == (1, ("export.failed",))
    (folder / "VFEXPORT_WEBHOOKS__CRM__SECRETS").write_text('["whsec_s3cret"]')
    with pytest.raises(ConfigurationError) as caught:
        load_settings(None)
    assert "VFEXPORT_WEBHOOKS__CRM" in caught.value.message
    assert "s3cret" not in caught.value.message
