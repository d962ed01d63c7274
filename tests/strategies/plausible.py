"""Documents as they should be, varied by a number: what a strategy spoils here and there.

One drawn number makes a whole document, so that a campaign of 30 entries costs hypothesis few choices and shrinks well.
"""

from __future__ import annotations

from typing import Any

from bson import DatetimeMS, ObjectId

CAMPAIGN_ID = "5eedfab0cafe00000000000a"
OTHER_CAMPAIGN_ID = "5eedfab0cafe00000000000b"
DATE_KEY = "1700000000000"

FIRST = ["Ann", "Zoë", "Jean-Luc", "=SUM(A1)", "O'Neil", "", "李", "Bob\nJr.", "-Dash", "\u202eBidi", 'Quo"te']
LAST = ["Smith", "García, Jr.", "+Plus", "de la Cruz", "@at", "Ångström", " Space ", "名字", "McX"]
PHONES = ["5125550100", "+1 512-555-0101", "(512) 555-0102", "+44 20 7946 0000", "", "512.555.0103", "+1x"]
LOCALES = ["en-us", "en-US", "en-gb", "en-uk", "en-ie", "en-mx", "es-mx", "fr-ca", "en-nz", "de-de", "fr", "", "en_au"]
COUNTRIES = ["US", "us", "CA", "MX", "GB", "IE", "DE", "NZ", "", "UK", "fr"]
CITIES = ["Austin", "New York", "Montréal", "", "=City", "St. John's, NL"]
EMAILS = ["fan{}@example.com", "Fan{}@Example.COM", " fan{}@example.com ", "=fan{}@x.example"]
DAY = 86_400_000


def pick(pool: list[Any], variant: int, salt: int) -> Any:
    return pool[(variant * 31 + salt * 17) % len(pool)]


def user_hex(number: int) -> str:
    return f"{0x1DFAB0CAFE00 + number:024x}"


def market_hex(number: int) -> str:
    return f"{0x3AFAB0CAFE00 + number:024x}"


def user(number: int, variant: int) -> dict[str, Any]:
    fan = {
        "id": f"tm{number}",
        "member_id": f"m{number}",
        "globalUserId": f"g-{number}",
        "email": pick(EMAILS, variant, 1).format(number),
        "phone": pick(PHONES, variant, 2),
        "postalCode": pick(["78701", "SW1A 1AA", "01234", ""], variant, 3),
        "name": {"first": pick(FIRST, variant, 4), "last": pick(LAST, variant, 5)},
    }
    return {"_id": ObjectId(user_hex(number)), "integrations": {"ticketmaster": fan}}


def market(number: int, variant: int, campaign_id: str = CAMPAIGN_ID) -> dict[str, Any]:
    return {
        "_id": ObjectId(market_hex(number)),
        "campaignId": campaign_id,
        "name": pick(["Main Hall", "=Hall", "Hall; Two", "名所", "Main Hall"], variant, 1),
        "city": pick(CITIES, variant, 2),
        "state": pick(["TX", "NY", "QC", ""], variant, 3),
        "countryCode": pick(COUNTRIES, variant, 4),
        "event": {
            "date": DatetimeMS(1_700_000_000_000 + variant * DAY),
            "ids": [f"E{number}", f"F{variant}"][: variant % 3],
        },
    }


def entry(user_id: Any, variant: int, market_ids: list[Any], campaign_id: str = CAMPAIGN_ID) -> dict[str, Any]:
    created = 1_690_000_000_000 + variant * 1_234_567
    return {
        "_id": {"campaign_id": campaign_id, "user_id": user_id},
        "date": {"created": DatetimeMS(created), "phoneConfirmed": DatetimeMS(created + 61_001)},
        "locale": pick(LOCALES, variant, 1),
        "fields": {
            "market": pick(market_ids, variant, 2),
            "additionalMarkets": [pick(market_ids, variant, 3), pick(market_ids, variant, 4)][: variant % 3],
            "email": pick([*EMAILS, ""], variant, 5).format(variant),
            "phone": pick(PHONES, variant, 6),
            "first_name": pick(FIRST, variant, 7),
            "last_name": pick(LAST, variant, 8),
            "allowMarketing": variant % 2 == 0,
            "allowLiveNation": variant % 3 == 0,
            "allowSms": variant % 5 < 3,
            "promoterOptIns": [f"p{variant % 4}", f"p{variant % 3}"][: variant % 3],
            "color": pick(["blue", "", "red, green"], variant, 9),
            "size": variant,
            "a.b": pick(["dotted", None, 1.5], variant, 10),
        },
        "origin": {
            "ip": {
                "address": f"192.0.2.{variant % 256}",
                "postalCode": pick(["78701", "", "K1A 0B1"], variant, 11),
                "latitude": pick([30.25, -33.5, 0.0, 51.0], variant, 12),
                "longitude": pick([-97.75, 151.0, 0.125], variant, 13),
                "countryCode": pick(COUNTRIES, variant, 14),
            }
        },
        "nudetect": {"score": pick([0, 12, 12.5, 100.0], variant, 15), "scoreBand": pick(["LOW", "HIGH"], variant, 16)},
        "accountFanscore": pick([0.75, 1, 0.1], variant, 17),
    }


def scoring(
    index: int, number: int, variant: int, market_ids: list[Any], campaign_id: str = CAMPAIGN_ID
) -> dict[str, Any]:
    codes = [{"id": f"C{variant}-{salt}", "marketId": pick(market_ids, variant, salt)} for salt in (3, 1, 2)]
    return {
        # Inserted in another order than that of the ids.
        "_id": ObjectId(f"{(index * 37) % 101:024x}"),
        "campaignId": campaign_id,
        "userId": user_hex(number),
        "memberId": f"m{number}",
        "selected": variant % 3 != 0,
        "score": pick([0.5, 1, 0.125], variant, 1),
        "priority": variant % 4,
        "marketId": pick(market_ids, variant, 2),
        "locale": pick(LOCALES, variant, 3),
        "countryCode": pick(COUNTRIES, variant, 4),
        "codes": codes[: variant % 4],
    }


def code(
    code_id: Any, number: int, variant: int, market_ids: list[Any], campaign_id: str = CAMPAIGN_ID
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "_id": code_id,
        "campaignId": campaign_id,
        "marketId": pick(market_ids, variant, 1),
        "eventId": f"E{variant}",
        "status": pick(["AVAILABLE", "ASSIGNED", "REDEEMED"], variant, 2),
        "dateKey": pick([DATE_KEY, DATE_KEY, "1700000000001"], variant, 3),
    }
    if document["status"] != "AVAILABLE":
        when = DatetimeMS(1_695_000_000_000 + variant)
        document["assignment"] = {"userId": user_hex(number), "memberId": f"m{number}", "date": when}
    return document
