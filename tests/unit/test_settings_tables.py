"""Settings that are JSON: named when they are wrong, and tables that apply whatever the case of their keys."""

from __future__ import annotations

import pytest

from vfexport_core.errors import ConfigurationError
from vfexport_core.rows.reminder_rules import ReminderRules
from vfexport_core.settings import load_settings


@pytest.fixture(autouse=True)
def _mongo(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setenv("VFEXPORT_MONGO_URI", "mongodb://127.0.0.1")


@pytest.mark.parametrize(
    "variable",
    ["VFEXPORT_REGIONS", "VFEXPORT_SFMC_LOCALES", "VFEXPORT_SFMC_PREFIXES", "VFEXPORT_CCPA_PREVIOUS_HASH_KEYS"],
)
@pytest.mark.parametrize("value", ["{", "", "s3cret"])
def test_what_is_no_json_is_named_and_not_repeated(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=f"^{variable} ") as raised:
        load_settings(None)
    assert raised.value.payload == variable
    assert "s3cret" not in raised.value.message


def test_the_keys_of_tables_apply_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VFEXPORT_REGIONS", '{"de": "DACH"}')
    monkeypatch.setenv("VFEXPORT_SFMC_LOCALES", '{"de-AT": "de-de"}')
    settings = load_settings(None)
    rules = ReminderRules(settings.regions, settings.sfmc_locales)
    assert (rules.region("DE"), rules.sfmc_locale("de-AT", "DACH")) == ("DACH", "de-de")


@pytest.mark.parametrize("table", ['{"US": ""}', '{"": "NA"}'])
def test_a_region_has_a_name(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VFEXPORT_REGIONS", table)
    with pytest.raises(ConfigurationError, match=r"^VFEXPORT_REGIONS__"):
        load_settings(None)
