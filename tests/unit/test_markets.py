"""The show as fans choose it: what is missing drops out, what is odd is shown."""

from __future__ import annotations

import pytest
from bson import DatetimeMS

from vfexport_core.rows.markets import show_label

JULY_4 = DatetimeMS(1_720_051_200_000)


@pytest.mark.parametrize(
    ("market", "label"),
    [
        ({"event": {"date": JULY_4}, "city": "Austin", "state": "TX"}, "7/04 - Austin, TX"),
        ({"event": {"date": JULY_4}, "city": "", "state": "TX"}, "7/04 - TX"),
        ({"event": {"date": JULY_4}, "city": "Austin", "state": None}, "7/04 - Austin"),
        ({"event": {"date": JULY_4}}, "7/04"),
        ({"event": {"date": ""}, "city": "Austin"}, "Austin"),
        ({"city": [], "state": "TX"}, ", TX"),
        ({"city": "\0", "state": "TX"}, ", TX"),
        ({"event": {"date": []}, "city": "Austin"}, " - Austin"),
        ({"event": {"date": "soon"}, "city": []}, "soon - "),
        ({}, None),
    ],
)
def test_what_is_missing_drops_out_and_what_is_odd_is_shown(market, label):
    assert show_label(market)[0] == label
