"""Whom an export leaves out: users whose data is being deleted, or was deleted since the export was requested.

An export asks after it was claimed; a deletion looks at the exports after it was recorded. So either the export sees
the deletion here, or the deletion sees the export as one that was claimed before, and takes it back, or deletes its
file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vfexport_core.ccpa.hashing import UserHasher
from vfexport_core.ccpa.person_keys import IdKind, PersonHasher
from vfexport_core.ccpa.repository import DeletionRepository
from vfexport_core.ccpa.search import Sources, members_of, users_of
from vfexport_core.rows.comparable_ids import key_texts
from vfexport_core.rows.members import MemberSet
from vfexport_core.rows.values import id_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.database import Database

    from vfexport_core.catalog.spec import ExportSpec
    from vfexport_core.ccpa.person_keys import Keys
    from vfexport_core.mongo.document import Document
    from vfexport_core.queue.models import Export
    from vfexport_core.rows.frame import Frame
    from vfexport_core.settings import Settings


@dataclass(frozen=True, slots=True)
class SuppressionList:
    """The users of one campaign whom an export leaves out.

    `members` are their member ids, as far as the campaign tells them, and `people` the keys that the deletions know
    them by (`PersonHasher`).
    """

    hashes: frozenset[str]
    hasher: UserHasher
    members: MemberSet
    person_hasher: PersonHasher
    people: Keys

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
        respected = DeletionRepository(database).respected_by(export.campaign_id, export.date.created)
        if not respected:
            return None
        hasher = UserHasher.from_settings(settings)
        for one in respected:
            hasher.require(one.key_check)
        hashes = frozenset(one.user_hash for one in respected)
        keys = {key for one in respected for key in one.people.get(hasher.key_check, ())}
        sources = Sources(database, settings.deletion_lookup_batch, alive)
        has_members = len(spec.scan.collection.personal_fields) > 1
        members = _members(sources, export.campaign_id, hashes, hasher) if has_members else []
        person_hasher = PersonHasher.from_settings(settings)
        assert person_hasher is not None, "there is a hash key"
        return cls(hashes, hasher, MemberSet([members]), person_hasher, np.array(sorted(keys), dtype=np.uint64))

    def named_by(self, frame: Frame) -> npt.NDArray[np.bool_]:
        """Return which of a frame's scanned documents are those of a user to be left out."""
        user, *member = (key_texts(frame.document_cells(field)) for field in frame.collection.personal_fields)
        keys = user.to_pylist()
        named = np.fromiter((bool(key) and self.hasher.hash(key) in self.hashes for key in keys), np.bool_, len(keys))
        for texts in member:
            named |= self.members.holds(texts)
        for kind, texts in zip(IdKind, (user, *member), strict=False):
            named |= self.person_hasher.among(kind, texts, self.people)
        return named


def _members(sources: Sources, campaign_id: str, hashes: frozenset[str], hasher: UserHasher) -> list[str]:
    """Find the member ids of these users."""
    users = {id_key(user) for user in users_of(sources, campaign_id) if hasher.hash(user) in hashes}
    return sorted(members_of(sources, campaign_id, users))
