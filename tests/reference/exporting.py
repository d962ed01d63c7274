"""`export`: the 15 types of 03, from a `Campaign` to the bytes of its files.

Where 03 is silent: a header cell is quoted but never guarded, and does not count in invalidUtf8; every other written
cell that holds a replaced value counts once. NoMarketsFound is checked before PromotersNotFound.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.reference import columns, reminders, rows
from tests.reference.campaign import Campaign, Data, Row
from tests.reference.promoters import by_promoter
from tests.reference.values import REPLACED, clean, guarded, quoted, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.reference.columns import Column

FileName = str | tuple[str, str, int]

# Types of one plain CSV: their columns and where their rows come from.
SINGLE: dict[str, tuple[list[Column], Callable[[Data], rows.Groups]]] = {
    "entries": (columns.ENTRIES, rows.entries),
    "scoring": (columns.SCORING, rows.entries),
    "verifiedEntries": (columns.VERIFIED_ENTRIES, rows.verified),
    "codes": (columns.CODES, rows.codes),
    "codeAssignments": (columns.CODE_ASSIGNMENTS, rows.code_assignments),
    "codeWaves": (columns.CODE_WAVES, rows.wave),
    "artistOptIn": (columns.OPT_IN, rows.opted_in("allowMarketing")),
    "artistSmsOptIn": (columns.SMS_OPT_IN, rows.opted_in_to_sms),
    "livenationOptIn": (columns.OPT_IN, rows.opted_in("allowLiveNation")),
    "fanlist": (columns.FANLIST, rows.entries),
    "waitlist": (columns.WAITLIST, rows.waiting),
}
REMINDERS = ("reminderEmail", "reminderEmailSample", "autoReminderEmail")
EXPORT_TYPES = (*SINGLE, "promoterEmailOptIn", *REMINDERS)
NOT_ENTRY_BASED = ("codes", "codeAssignments", "codeWaves", "waitlist")
# Machine feeds are never altered: the buckets other than exportsS3, and reminderEmail*.
NOT_GUARDED = ("scoring", "verifiedEntries", "codeWaves", *REMINDERS)


class NoMarketsFound(Exception):
    pass


@dataclass
class ReferenceExport:
    """The files by name: "" for a type of one CSV, the member for a ZIP, (region, locale, part) for autoReminderEmail.

    `rows` counts all files' rows without headers; `warnings` and `skipped` hold only what was counted at least once.
    """

    files: dict[FileName, bytes]
    rows: int
    warnings: dict[str, int]
    skipped: dict[str, int]


def export(
    bundle: Campaign,
    export_type: str,
    *,
    date_key: str | None = None,
    include_all_markets: bool = False,
    formula_guard: bool = True,
    max_rows_per_file: int = 500_000,
    sample_rows: int = 5,
    regions: dict[str, str] = reminders.REGIONS,
    sfmc_locales: dict[str, str] = reminders.SFMC_LOCALES,
) -> ReferenceExport:
    """Export as 03 says. Raises `NoMarketsFound`, `PromotersNotFound`; ValueError for a wrong type or date key."""
    if export_type not in EXPORT_TYPES:
        raise ValueError(export_type)
    data = Data(bundle, date_key=date_key, regions=regions, sfmc_locales=sfmc_locales)
    if export_type not in NOT_ENTRY_BASED and not data.markets:
        raise NoMarketsFound
    warnings: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    files: dict[FileName, list[Row]]
    if export_type in REMINDERS:
        groups = reminders.fans(data, skipped)
        if export_type == "reminderEmailSample":
            groups = reminders.sample(groups, sample_rows)
        table, files = reminders.REMINDERS, reminder_files(export_type, groups, max_rows_per_file)
        warnings["unknownRegion"] = sum(any(not reminders.country(row) for row in group) for group in groups)
    elif export_type == "promoterEmailOptIn":
        table, (files, groups) = columns.OPT_IN, by_promoter(data)
    else:
        table, groups = single_file(export_type, data, include_all_markets)
        files = {"": flat(groups)}
    warnings["unknownUser"] = sum(any(row.unknown_user for row in group) for group in groups)
    warnings["unknownMarket"] = sum(any(row.unknown_market for row in group) for group in groups)
    guard = formula_guard and export_type not in NOT_GUARDED
    written = {name: csv(table, members, guard, warnings) for name, members in files.items()}
    return ReferenceExport(written, sum(map(len, files.values())), dict(+warnings), dict(+skipped))


def single_file(export_type: str, data: Data, include_all_markets: bool) -> tuple[list[Column], rows.Groups]:
    table, source = SINGLE[export_type]
    if export_type != "entries":
        return table, source(data)
    all_columns = table + columns.preference_columns(data)
    return all_columns, rows.entries_by_market(data) if include_all_markets else rows.entries(data)


def reminder_files(export_type: str, groups: rows.Groups, max_rows: int) -> dict[FileName, list[Row]]:
    if export_type == "reminderEmailSample":
        return {"": flat(groups)}
    parts = reminders.parts(flat(groups), max_rows)
    if export_type == "autoReminderEmail":
        return dict(parts)
    return {f"{region}/{locale}-{part:03}.csv": members for (region, locale, part), members in parts.items()}


def flat(groups: rows.Groups) -> list[Row]:
    return [row for group in groups for row in group]


def csv(table: list[Column], members: list[Row], guard: bool, warnings: Counter[str]) -> bytes:
    lines = [[quoted(header) for header, _ in table]]
    for row in members:
        line = []
        for _, column in table:
            value = column(row)
            cell = text(value)
            if REPLACED in cell:
                warnings["invalidUtf8"] += 1
            cell = clean(cell)
            line.append(quoted(guarded(value, cell) if guard else cell))
        lines.append(line)
    return "".join(",".join(line) + "\n" for line in lines).encode("utf-8")
