"""What the tests of the oracle share: a small campaign, and a CSV export's lines and columns."""

from __future__ import annotations

from tests.builders import hex_id, make_campaign, make_entry, make_market, make_user
from tests.reference import Campaign, export

C1 = hex_id(1)
U1, U2, U3 = hex_id(1), hex_id(2), hex_id(3)
M1, M2, M3 = hex_id(1), hex_id(2), hex_id(3)
ENTRIES_HEADER = (
    "id,contest_title,entry_date,tm_id,globalUserId,ip_address,email,first_name,last_name,Zip Code,Mobile Phone,"
    "Hbase_ID,Select Show,Event_ID,locale,campaign_id,Phone confirmed"
)
VERIFIED_HEADER = (
    "campaign_id,user_id,member_id,globalUserId,email,phone,first_name,last_name,market_id,market,locale,score,"
    "priority,entry_date"
)
OPT_IN_HEADER = "email,first_name,last_name,zip,country,market,city,state,locale,opt_in_date"


def bundle(**lists) -> Campaign:
    """Return a campaign with one market, user and entry, each list replaced by the given one."""
    return Campaign(
        **(
            {
                "campaign": make_campaign(),
                "markets": [make_market()],
                "users": [make_user(1)],
                "entries": [make_entry(1)],
            }
            | lists
        )
    )


def csv_lines(campaign: Campaign, export_type: str, **options) -> list[str]:
    text = export(campaign, export_type, **options).files[""].decode()
    assert text.endswith("\n")
    return text.removesuffix("\n").split("\n")


def column(campaign: Campaign, name: str, export_type: str = "entries", **options) -> list[str]:
    """Return one column's cells; no cell before it may hold a comma."""
    header, *rows = csv_lines(campaign, export_type, **options)
    return [row.split(",")[header.split(",").index(name)] for row in rows]
