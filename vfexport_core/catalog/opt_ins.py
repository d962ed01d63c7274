"""The opt-ins: fans who want to hear from the artist, from Live Nation or from the campaign's promoters."""

from __future__ import annotations

from vfexport_core.catalog.collections import Collection, FieldType
from vfexport_core.catalog.contact import (
    COUNTRY,
    EMAIL,
    ENTRY_DATE,
    MARKET_NAME,
    NAMES,
    OWN_MARKET,
    PHONE,
    POSTAL_CODE,
    USER_OF_ENTRY,
    entry,
    market,
)
from vfexport_core.catalog.expressions import Column
from vfexport_core.catalog.spec import (
    Bucket,
    Container,
    Expansion,
    ExportSpec,
    ExportType,
    GroupBy,
    IsTrue,
    Scan,
    Shape,
)

_FAN = (
    *NAMES,
    Column("zip", POSTAL_CODE),
    Column("country", COUNTRY),
    MARKET_NAME,
    Column("city", market("city")),
    Column("state", market("state")),
    Column("locale", entry("locale")),
    Column("opt_in_date", ENTRY_DATE),
)
_BY_EMAIL = (Column("email", EMAIL), *_FAN)


def _opted_in(field: str) -> Scan:
    return Scan(Collection.ENTRIES, where=IsTrue(entry(f"fields.{field}", FieldType.BOOLEAN)))


ARTIST_OPT_IN = ExportSpec(
    type=ExportType.ARTIST_OPT_IN,
    summary="entries that allow the artist's marketing",
    scan=_opted_in("allowMarketing"),
    lookups=(USER_OF_ENTRY,),
    market=OWN_MARKET,
    columns=_BY_EMAIL,
    bucket=Bucket.EXPORTS,
)

ARTIST_SMS_OPT_IN = ExportSpec(
    type=ExportType.ARTIST_SMS_OPT_IN,
    summary="entries that allow the artist's text messages and have a phone",
    scan=_opted_in("allowSms"),
    lookups=(USER_OF_ENTRY,),
    market=OWN_MARKET,
    required=PHONE,
    columns=(Column("phone", PHONE), *_FAN),
    bucket=Bucket.EXPORTS,
)

LIVENATION_OPT_IN = ExportSpec(
    type=ExportType.LIVENATION_OPT_IN,
    summary="entries that allow Live Nation's marketing",
    scan=_opted_in("allowLiveNation"),
    lookups=(USER_OF_ENTRY,),
    market=OWN_MARKET,
    columns=_BY_EMAIL,
    bucket=Bucket.EXPORTS,
)

PROMOTER_EMAIL_OPT_IN = ExportSpec(
    type=ExportType.PROMOTER_EMAIL_OPT_IN,
    summary="entries by the promoters they opted in to",
    scan=Scan(Collection.ENTRIES),
    lookups=(USER_OF_ENTRY,),
    market=OWN_MARKET,
    columns=_BY_EMAIL,
    bucket=Bucket.EXPORTS,
    expansion=Expansion.PROMOTERS,
    shape=Shape(group_by=GroupBy.PROMOTER, container=Container.ZIP),
    preliminary_count=False,
)
