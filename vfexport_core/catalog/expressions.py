"""What stands in the cells of a row: fields of its documents, and expressions over them.

The letters of 03-export-types name the documents of a row: see catalog.collections.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from vfexport_core.catalog.collections import Field

ARRAY_SEPARATOR = ";"
"""What stands between the elements of an array in a cell."""


@dataclass(frozen=True, slots=True)
class FirstOf:
    """``a | b``: the first that is neither missing, null nor an empty string."""

    options: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """The elements of an array, joined with `separator` instead of the cell rules' ``;``."""

    field: Field
    separator: str


@dataclass(frozen=True, slots=True)
class FalseIfMissing:
    """A preference: ``false`` when the field is missing or null."""

    field: Field


@dataclass(frozen=True, slots=True)
class Constant:
    """The same text in every row."""

    text: str


@dataclass(frozen=True, slots=True)
class ShowLabel:
    """The show as fans choose it: ``7/04 - Austin, TX``, from the row's market."""


@dataclass(frozen=True, slots=True)
class MarketNames:
    """The names of the fan's own and additional markets, as an array."""

    own: Field
    additional: Field


@dataclass(frozen=True, slots=True)
class ArtistName:
    """The artist as a reminder names it: with the fan club where the campaign is one's."""


@dataclass(frozen=True, slots=True)
class Territory:
    """The country that a locale names."""

    locale: Expression

    @property
    def inputs(self) -> tuple[Expression, ...]:
        return (self.locale,)


@dataclass(frozen=True, slots=True)
class UpperCase:
    """A text in upper case."""

    text: Expression

    @property
    def inputs(self) -> tuple[Expression, ...]:
        return (self.text,)


@dataclass(frozen=True, slots=True)
class Region:
    """The region of a country."""

    country_code: Expression

    @property
    def inputs(self) -> tuple[Expression, ...]:
        return (self.country_code,)


@dataclass(frozen=True, slots=True)
class SfmcLocale:
    """A locale as SFMC knows it."""

    locale: Expression
    region: Expression

    @property
    def inputs(self) -> tuple[Expression, ...]:
        return (self.locale, self.region)


@dataclass(frozen=True, slots=True)
class SubscriberKey:
    """The key by which SFMC knows an address."""

    email: Expression

    @property
    def inputs(self) -> tuple[Expression, ...]:
        return (self.email,)


Derived: TypeAlias = Territory | UpperCase | Region | SfmcLocale | SubscriberKey
"""Cells computed from the text of others, their `inputs`, by a rule of rows.reminder_rules."""

Expression: TypeAlias = (
    Field | FirstOf | Joined | FalseIfMissing | Constant | ShowLabel | MarketNames | ArtistName | Derived
)


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its header and what stands in its cells."""

    header: str
    expression: Expression


@dataclass(frozen=True, slots=True)
class PreferenceColumns:
    """Stands for one column per preference of the campaign, in their order."""

    header: str = "#{type}.{id}"
    """The pattern of the columns' headers, shown where no campaign is at hand."""
