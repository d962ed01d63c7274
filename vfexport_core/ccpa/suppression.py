"""Whom an export leaves out: users whose data is being deleted, or was deleted since the export was requested.

An export asks after it was claimed; a deletion looks at the exports after it was recorded. So either the export sees
the deletion here, or the deletion sees the export as one that was claimed before, and takes it back, or deletes its
file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vfexport_core.ccpa.hashing import UserHasher
from vfexport_core.ccpa.ledger import Ledger
from vfexport_core.ccpa.search import Sources, forms_of, users_of
from vfexport_core.rows.keys import key_texts
from vfexport_core.rows.members import MemberSet
from vfexport_core.rows.values import id_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.database import Database

    from vfexport_core.catalog.spec import ExportSpec
    from vfexport_core.queue.models import Document, Export
    from vfexport_core.rows.frame import Frame
    from vfexport_core.settings import Settings


@dataclass(frozen=True, slots=True)
class SuppressionList:
    """The users of one campaign whom an export leaves out; `members` are their member ids."""

    hashes: frozenset[str]
    hasher: UserHasher
    members: MemberSet

    @classmethod
    def load(
        cls,
        export: Export,
        spec: ExportSpec,
        settings: Settings,
        database: Database[Document],
        alive: Callable[[], object],
    ) -> SuppressionList | None:
        """Ask the record of deletions; None when nobody is to be left out, which is the rule.

        Raises SourceUnavailable, and ConfigurationError when somebody is but cannot be told without the hash key.
        """
        if not spec.ccpa_deletes:
            return None
        respected = Ledger(database).respected_by(export.campaign_id, export.date.created)
        if not respected:
            return None
        hasher = UserHasher.from_settings(settings)
        for _, key_check in respected:
            hasher.require(key_check)
        hashes = frozenset(user_hash for user_hash, _ in respected)
        sources = Sources(database, settings.deletion_lookup_batch, alive)
        has_members = len(spec.scan.collection.personal_fields) > 1
        members = _members(sources, export.campaign_id, hashes, hasher) if has_members else []
        return cls(hashes, hasher, MemberSet([members]))

    def named_by(self, frame: Frame) -> npt.NDArray[np.bool_]:
        """Tell which of a frame's scanned documents are those of a user to be left out."""
        user, *member = frame.collection.personal_fields
        keys = key_texts(frame.document_cells(user)).to_pylist()
        named = np.fromiter((bool(key) and self.hasher.hash(key) in self.hashes for key in keys), np.bool_, len(keys))
        for field in member:
            named |= self.members.holds(key_texts(frame.document_cells(field)))
        return named


def _members(sources: Sources, campaign_id: str, hashes: frozenset[str], hasher: UserHasher) -> list[Any]:
    """Find the member ids of these users, as their scoring records and their accounts have them."""
    users = {id_key(user) for user in users_of(sources, campaign_id) if hasher.hash(user) in hashes}
    forms = [form for user in users for form in forms_of(user)]
    if not forms:
        return []
    scored = {"campaignId": {"$in": forms_of(campaign_id)}, "userId": {"$in": forms}}
    found = [record.get("memberId") for record in sources.find("scoring", scored, {"_id": 0, "memberId": 1})]
    for user in sources.find("users", {"_id": {"$in": forms}}, {"integrations.ticketmaster.member_id": 1}):
        account = user.get("integrations")
        ticketmaster = account.get("ticketmaster") if isinstance(account, dict) else None
        found.append(ticketmaster.get("member_id") if isinstance(ticketmaster, dict) else None)
    return found
