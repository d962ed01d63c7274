"""The rules of the reminder exports: country, region, SFMC locale, subscriber key, artist, and who holds which code."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, assert_never

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vfexport_core.catalog.expressions import Region, SfmcLocale, SubscriberKey, Territory, UpperCase
from vfexport_core.rows.cells import Cells
from vfexport_core.rows.expand import elements
from vfexport_core.rows.markets import value_at
from vfexport_core.rows.values import GUARDED, REPAIRED, id_key, is_blank, render, text_of
from vfexport_core.sources.arrow_functions import pc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from vfexport_core.catalog.expressions import Derived

UNKNOWN_REGION = "UNKNOWN"
_NORTH_AMERICA = "NA"
_TERRITORY = re.compile(r"[a-z]{2}")


@dataclass(frozen=True, slots=True)
class ReminderRules:
    """Country to region and locale to SFMC locale, by the tables of the settings."""

    regions: Mapping[str, str]
    sfmc_locales: Mapping[str, str]

    def derive(self, expression: Derived, inputs: Sequence[Cells]) -> Cells:
        """Return the cells of an expression, given those of its inputs (all of one length, which is the result's).

        The rule is applied to the text of the inputs (null: an empty one), once per distinct combination. No cell of
        the result is null.
        """
        return _by_distinct(self._rule(expression), inputs)

    def _rule(self, expression: Derived) -> Callable[..., str]:
        match expression:
            case Territory():
                return territory
            case UpperCase():
                return str.upper
            case Region():
                return self.region
            case SfmcLocale():
                return self.sfmc_locale
            case SubscriberKey():
                return subscriber_key
            case _:
                assert_never(expression)

    def region(self, country_code: str) -> str:
        """Return a country's region; a country that the table does not have is one of its own."""
        return self.regions.get(country_code, country_code) or UNKNOWN_REGION

    def sfmc_locale(self, locale: str, region: str) -> str:
        """Return the locale as SFMC knows it; where there is none, English as the region writes it."""
        if not locale:
            return "en-us" if region in (_NORTH_AMERICA, UNKNOWN_REGION) else "en-gb"
        return self.sfmc_locales.get(locale.lower(), locale.lower())


def territory(locale: str) -> str:
    """Return the country that a locale names, empty where it names none (``en-us`` is us, ``en-uk`` is gb)."""
    _, *others = re.split("[-_]", locale.lower())
    code = others[-1] if others else ""
    if not _TERRITORY.fullmatch(code):
        return ""
    return "gb" if code == "uk" else code


def normal_email(email: str) -> str:
    """Return an address as it is compared: trimmed, in lower case."""
    return email.strip().lower()


def subscriber_key(email: str) -> str:
    """Return the SHA-256 of the trimmed, lower-cased address in lower-case hex."""
    return hashlib.sha256(normal_email(email).encode()).hexdigest()


def artist_name(campaign: Mapping[str, Any]) -> tuple[str | None, int]:
    """Return the artist's name; of a fan club campaign with the fan club's, unless that has it already."""
    name, fan_club = value_at(campaign, ("artist", "name")), value_at(campaign, ("artist", "fanClubName"))
    if campaign.get("type") != "fanclub" or is_blank(fan_club):
        return render(name)
    if is_blank(name) or text_of(name) in text_of(fan_club):
        return render(fan_club)
    repaired = REPAIRED & (render(name)[1] | render(fan_club)[1])
    return f"{text_of(name)} {text_of(fan_club)}", GUARDED | repaired


def held_codes(value: Any) -> list[tuple[Any, Any]]:
    """Return (id, marketId) of the first code by id of each market, in the order of the markets' ids."""
    codes = [code for code in elements(value) if isinstance(code, dict) and not is_blank(code.get("id"))]
    first: dict[str, tuple[Any, Any]] = {}
    for code in sorted(codes, key=lambda code: text_of(code["id"])):
        first.setdefault(id_key(code.get("marketId")), (code["id"], code.get("marketId")))
    return [first[market] for market in sorted(first)]


def _by_distinct(rule: Callable[..., str], inputs: Sequence[Cells]) -> Cells:
    texts = [pc.fill_null(cells.text, "") for cells in inputs]
    combination = np.zeros(len(texts[0]), dtype=np.int64)
    for text in texts:
        distinct = text.dictionary_encode()
        combination = combination * (len(distinct.dictionary) + 1) + np.asarray(distinct.indices)
    _, first_rows, which = np.unique(combination, return_index=True, return_inverse=True)
    arguments = zip(*(text.take(pa.array(first_rows)).to_pylist() for text in texts), strict=True)
    results = pa.array([rule(*values) for values in arguments], pa.string())
    text = results.take(pa.array(which))
    return Cells(text, _repaired_flags(text, inputs))


def _repaired_flags(text: pa.Array, inputs: Sequence[Cells]) -> int | npt.NDArray[np.uint8]:
    """Carry on that an input was repaired where the result still shows it."""
    if all(isinstance(cells.flags, int) and not cells.flags & REPAIRED for cells in inputs):
        return GUARDED
    repaired = np.zeros(len(text), dtype=np.uint8)
    for cells in inputs:
        repaired |= np.broadcast_to(np.asarray(cells.flags, dtype=np.uint8), len(text)) & REPAIRED
    shown = np.asarray(pc.match_substring(text, "\ufffd"))
    return np.where(shown, repaired, 0).astype(np.uint8)
