"""The reminders for Salesforce Marketing Cloud (SFMC): the selected fans with their code, by region and locale."""

from __future__ import annotations

from dataclasses import replace

from vfexport_core.catalog.contact import (
    EMAIL,
    FIRST_NAME,
    LAST_NAME,
    SCORING_LOCALE,
    campaign,
    entry,
    market,
    scoring,
)
from vfexport_core.catalog.expressions import ArtistName, Column, Derived, Field, FirstOf, Joined, Kind, Root
from vfexport_core.catalog.spec import Bucket, Expansion, ExportSpec, ExportType, IsTrue, Lookup, Scan, Shape

CODES_HELD = scoring("codes", Kind.ANY)
HELD_CODE_ID = Field(Root.HELD_CODE, ("id",))
HELD_CODE_MARKET = Field(Root.HELD_CODE, ("marketId",))

_TERRITORY = Derived("territory", (SCORING_LOCALE,))
COUNTRY_CODE = Derived("upper_case", (FirstOf((scoring("countryCode"), entry("origin.ip.countryCode"), _TERRITORY)),))
REGION = Derived("region", (COUNTRY_CODE,))
SFMC_LOCALE = Derived("sfmc_locale", (SCORING_LOCALE, REGION))

REMINDER_EMAIL = ExportSpec(
    type=ExportType.REMINDER_EMAIL,
    summary="selected scoring records with their code, by region and locale",
    scan=Scan(Root.SCORING, where=IsTrue(scoring("selected", Kind.BOOLEAN))),
    lookups=(Lookup(Root.ENTRY, scoring("userId")), Lookup(Root.USER, scoring("userId"))),
    market=HELD_CODE_MARKET,
    columns=(
        Column("SubscriberKey", Derived("subscriber_key", (EMAIL,))),
        Column("EmailAddress", EMAIL),
        Column("FirstName", FIRST_NAME),
        Column("LastName", LAST_NAME),
        Column("Locale", SFMC_LOCALE),
        Column("CountryCode", COUNTRY_CODE),
        Column("Region", REGION),
        Column("ArtistName", ArtistName()),
        Column("CampaignId", campaign("_id")),
        Column("CampaignName", campaign("name")),
        Column("MarketName", market("name")),
        Column("City", market("city")),
        Column("State", market("state")),
        Column("EventDate", market("event.date", Kind.DATE)),
        Column("EventIds", Joined(market("event.ids", Kind.TEXT_LIST), ",")),
        Column("AccessCode", HELD_CODE_ID),
        Column("TicketUrl", campaign("ticketUrl")),
    ),
    bucket=Bucket.EXPORTS,
    expansion=Expansion.HELD_CODES,
    shape=Shape.ZIP_BY_REGION,
    machine_feed=True,
)

REMINDER_EMAIL_SAMPLE = replace(
    REMINDER_EMAIL,
    type=ExportType.REMINDER_EMAIL_SAMPLE,
    summary="the first reminderEmail rows per locale and market, to look at before the mail goes out",
    shape=Shape.SAMPLE,
    preliminary_count=False,
)

AUTO_REMINDER_EMAIL = replace(
    REMINDER_EMAIL,
    type=ExportType.AUTO_REMINDER_EMAIL,
    summary="the reminders as SFMC picks them up: one file per region and locale",
    bucket=Bucket.SFMC,
    shape=Shape.FILES_BY_REGION,
    machine_feed=False,
    preliminary_count=False,
    ccpa_deletes=False,
)
