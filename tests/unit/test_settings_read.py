"""Settings are read each time they are asked for, and understood anew when what is read has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vfexport_core.errors import ConfigurationError
from vfexport_core.settings import SECRETS_DIR, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VFEXPORT_MONGO_URI", "mongodb://one.test/")
    monkeypatch.setenv(SECRETS_DIR, str(tmp_path / "secrets"))
    (tmp_path / "secrets").mkdir()
    monkeypatch.setenv("NAMED_IN_THE_FILE", "first")
    path = tmp_path / ".env"
    path.write_text("VFEXPORT_MONGO_DATABASE=${NAMED_IN_THE_FILE}\n")
    return path


def test_who_reads_the_same_is_given_the_same(file: Path) -> None:
    assert load_settings(file) is load_settings(file)
    assert load_settings(file, lease_seconds=7) is not load_settings(file, lease_seconds=7)
    assert load_settings(file).lease_seconds != 7


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda _, variables: variables.setenv("VFEXPORT_MONGO_DATABASE", "second"), "second"),
        (lambda _, variables: variables.setenv("vfexport_mongo_database", "second"), "second"),
        (lambda _, variables: variables.setenv("NAMED_IN_THE_FILE", "second"), "second"),
        (lambda file, _: file.write_text("VFEXPORT_MONGO_DATABASE=second\n"), "second"),
        (lambda file, _: file.unlink(), "verifiedfan"),
    ],
    ids=["variable", "variable in small letters", "variable that the file names", "file", "file taken away"],
)
def test_what_has_changed_is_understood(
    change: Callable[[Path, pytest.MonkeyPatch], object], expected: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_settings(file).mongo_database == "first"
    change(file, monkeypatch)
    assert load_settings(file).mongo_database == expected


def test_a_secret_that_was_replaced_is_read(file: Path) -> None:
    secret = file.parent / "secrets" / "VFEXPORT_CCPA_HASH_KEY"
    for value in ("one", "another"):
        secret.write_text(value)
        found = load_settings(file).ccpa_hash_key
        assert found is not None
        assert found.get_secret_value() == value


def test_what_was_understood_before_does_not_hide_an_error(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_settings(file)
    monkeypatch.setenv("VFEXPORT_TIMEOUT_MILLIS", "soon")
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="VFEXPORT_TIMEOUT_MILLIS"):
            load_settings(file)
