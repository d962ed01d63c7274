"""promoterEmailOptIn: one file per promoter.

Where 03 is silent: files in the order of promoterIds, each promoter once. A promoter that does not exist (or has no
name) goes by its id; if none exists, PromotersNotFound. Fans opt in by id; a row per file and fan. Names are equal when
they are after the replacement of characters; the number stands before ``.csv``.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.reference.reminders import file_name
from tests.reference.rows import Groups, entries
from tests.reference.values import elements, id_key, plain

if TYPE_CHECKING:
    from tests.reference.campaign import Data, Row


class PromotersNotFound(Exception):
    pass


def by_promoter(data: Data) -> tuple[dict[str, list[Row]], Groups]:
    """Return the rows of each file, and the rows of every entry that is in any."""
    promoter_ids: dict[str, None] = {}
    for promoter_id in elements(data.campaign.get("promoterIds")):
        if key := id_key(promoter_id):
            promoter_ids.setdefault(key)
    if not any(key in data.promoters for key in promoter_ids):
        raise PromotersNotFound
    groups = [rows for rows in entries(data) if promoter_ids.keys() & opted_in_to(rows[0])]
    files: dict[str, list[Row]] = {}
    same_name: Counter[str] = Counter()
    for key in promoter_ids:
        name = file_name(plain(data.promoters.get(key, {}).get("name")) or key)
        same_name[name] += 1
        number = f" ({same_name[name]})" if same_name[name] > 1 else ""  # no name has brackets left, so it is free
        files[f"{name}{number}.csv"] = [row for rows in groups for row in rows if key in opted_in_to(row)]
    return files, groups


def opted_in_to(fan: Row) -> set[str]:
    return {key for promoter in elements(fan.e("fields", "promoterOptIns")) if (key := id_key(promoter))}
