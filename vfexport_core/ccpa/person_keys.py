"""Keys that stand for people in the index of a file: 64 bits each, of no use without CCPA_HASH_KEY.

The rows of an export are hashed as fast as they are made, so a batch of ids is one call: an id of 12 bytes (24 hex
digits, as nearly all have) and what it identifies fill one block of AES-256, a permutation that nobody can compute, or
tell from chance, without the key. Any other id is hashed by itself, by keyed BLAKE2b. Both keys are derived from
CCPA_HASH_KEY. Why not HMAC throughout: ADR 12.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from vfexport_core.ccpa.hashing import UserHasher
from vfexport_core.rows.comparable_ids import key_texts
from vfexport_core.rows.values import id_key
from vfexport_core.sources.arrow_functions import pc
from vfexport_core.sources.object_ids import ID_BYTES, object_ids

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from vfexport_core.rows.frame import Frame
    from vfexport_core.settings import Settings

KEY_BYTES = 8
Keys: TypeAlias = "npt.NDArray[np.uint64]"
People: TypeAlias = "Mapping[str, frozenset[int]]"
"""Keys of people, by the key check of the CCPA_HASH_KEY that they were made with."""

_BLOCK_BYTES = 16
_AES_PURPOSE = b"vfexport: people in files, AES-256"
_BLAKE_PURPOSE = b"vfexport: people in files, BLAKE2b"
_OBJECT_ID = r"\A[0-9a-f]{24}\z"


class IdKind(Enum):
    """What an id identifies, in the order of a collection's personal fields.

    The same text is another key for another kind. Four bytes each, to fill a block.
    """

    USER = b"user"
    MEMBER = b"memb"


@dataclass(frozen=True, slots=True)
class PersonHasher:
    """Makes the keys of ids. Holds two derived secrets, and can be handed to another process."""

    key_check: str
    """Tells the indexes of this CCPA_HASH_KEY from those of another one (`UserHasher.key_check`)."""
    aes_key: bytes
    blake_key: bytes

    def __repr__(self) -> str:
        return f"PersonHasher({self.key_check})"

    @classmethod
    def of_secret(cls, secret: str) -> PersonHasher:
        """Derive the keys from a CCPA_HASH_KEY."""
        master = secret.encode()
        aes_key, blake_key = (hmac.digest(master, purpose, "sha256") for purpose in (_AES_PURPOSE, _BLAKE_PURPOSE))
        return cls(UserHasher(secret).key_check, aes_key, blake_key)

    @classmethod
    def from_settings(cls, settings: Settings) -> PersonHasher | None:
        """Return the hasher for new files; None when there is no key: then files have no index."""
        hashers = hashers_of(settings)
        return hashers[0] if settings.ccpa_hash_key and hashers else None

    def key(self, kind: IdKind, value: Any) -> int | None:
        """Return the key of an id as it is in a document; None for one that identifies nobody."""
        text = id_key(value)
        # What is no Unicode text is in no cell, and so in no file.
        text = text.encode("utf-8", "replace").decode()
        return int(self.keys(kind, pa.array([text], pa.string()))[0]) if text else None

    def keys(self, kind: IdKind, texts: pa.Array) -> Keys:
        """Return the keys of ids in the form of `rows.comparable_ids.key_texts` (strings), in their order.

        Missing and empty ones identify nobody and have none, so there may be fewer keys than ids.
        """
        given = texts.filter(pc.fill_null(pc.not_equal(texts, ""), fill_value=False))
        ids = object_ids(given)
        if len(ids) == len(given):
            return self._of_object_ids(kind, ids)
        is_object_id = np.asarray(pc.match_substring_regex(given, _OBJECT_ID))
        keys = np.empty(len(given), dtype=np.uint64)
        keys[is_object_id] = self._of_object_ids(kind, ids)
        keys[~is_object_id] = self._of_texts(kind, given.filter(pa.array(~is_object_id)).to_pylist())
        return keys

    def among(self, kind: IdKind, texts: pa.Array, people: Keys) -> npt.NDArray[np.bool_]:
        """Return, per id, whether its key is one of these."""
        found = np.zeros(len(texts), dtype=np.bool_)
        found[np.asarray(pc.fill_null(pc.not_equal(texts, ""), fill_value=False))] = np.isin(
            self.keys(kind, texts), people
        )
        return found

    def of_frame(self, frame: Frame) -> Keys:
        """Return the keys of all people whose documents the rows of a frame were made from, once per document."""
        rows = frame.row_documents
        chosen = None if rows is None else pa.array(np.unique(rows))
        found: list[Keys] = []
        for field, kind in zip(frame.collection.personal_fields, IdKind, strict=False):
            texts = key_texts(frame.document_cells(field))
            found.append(self.keys(kind, texts if chosen is None else texts.take(chosen)))
        return np.concatenate(found)

    def _of_object_ids(self, kind: IdKind, ids: npt.NDArray[np.uint8]) -> Keys:
        blocks = np.empty((len(ids), _BLOCK_BYTES), dtype=np.uint8)
        blocks[:, :ID_BYTES] = ids
        blocks[:, ID_BYTES:] = np.frombuffer(kind.value, dtype=np.uint8)
        # Each block by itself, as one application of the permutation: there is no message that a mode would protect.
        encryptor = Cipher(algorithms.AES(self.aes_key), modes.ECB()).encryptor()  # noqa: S305 see above
        permuted = np.frombuffer(encryptor.update(blocks.tobytes()), dtype=">u8").reshape(-1, 2)
        return permuted[:, 0].astype(np.uint64)

    def _of_texts(self, kind: IdKind, texts: Iterable[str]) -> Keys:
        keyed = hashlib.blake2b(key=self.blake_key, digest_size=KEY_BYTES, person=kind.value)
        digests: list[bytes] = []
        for text in texts:
            one = keyed.copy()
            one.update(text.encode())
            digests.append(one.digest())
        return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)


def hashers_of(settings: Settings) -> list[PersonHasher]:
    """Return the hashers of all keys that files may have been indexed with: the present one, then the previous ones."""
    given = [settings.ccpa_hash_key] if settings.ccpa_hash_key else []
    secrets = [secret.get_secret_value() for secret in (*given, *settings.ccpa_previous_hash_keys)]
    return [PersonHasher.of_secret(secret) for secret in dict.fromkeys(secrets) if secret]


def people_of(settings: Settings, user_id: str, members: Iterable[Any] = ()) -> dict[str, frozenset[int]]:
    """Return the keys of one person under each CCPA_HASH_KEY: by the user's id and by these member ids."""
    ids = [(IdKind.USER, user_id), *((IdKind.MEMBER, member) for member in members)]
    return {
        hasher.key_check: frozenset(key for kind, value in ids if (key := hasher.key(kind, value)) is not None)
        for hasher in hashers_of(settings)
    }
