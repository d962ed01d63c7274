"""What a run was launched for, read from its configuration."""

from __future__ import annotations

from typing import Any

import pytest

from vfexport_core.errors import InvalidRequest
from vfexport_core.services.launch import Launch

CAMPAIGN = "5f0000000000000000000001"


@pytest.mark.parametrize(
    ("config", "read"),
    [
        ({"campaign_id": CAMPAIGN, "date_key": ""}, {"campaign_id": CAMPAIGN}),
        (
            {"campaign_id": CAMPAIGN, "date_key": 1_700_000_000_000},
            {"campaign_id": CAMPAIGN, "date_key": "1700000000000"},
        ),
        ({"campaign_id": CAMPAIGN, "date_key": 0}, {"campaign_id": CAMPAIGN, "date_key": "0"}),
        ({"campaign_id": CAMPAIGN, "date_key": [1]}, {"campaign_id": CAMPAIGN, "date_key": "[1]"}),
        ({"campaign_id": "", "export_id": "a"}, {"export_id": "a"}),
        (
            {"campaign_id": CAMPAIGN, "include_all_markets": True},
            {"campaign_id": CAMPAIGN, "include_all_markets": True},
        ),
    ],
)
def test_what_is_blank_was_not_given_and_a_date_key_may_be_a_number(
    config: dict[str, Any], read: dict[str, Any]
) -> None:
    launch = Launch.from_config("codeWaves", config)
    assert launch == Launch(export_type="codeWaves", **read)
    launch.check()


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"campaign_id": "", "export_id": None},
        {"campaign_id": CAMPAIGN, "export_id": "a"},
        {"export_id": "a", "date_key": 1},
        {"export_id": "a", "include_all_markets": True},
    ],
)
def test_what_says_nothing_or_too_much_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="campaign_id"):
        Launch.from_config("codeWaves", config).check()
