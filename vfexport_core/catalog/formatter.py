"""Expressions, in the notation of 03-export-types, and shapes as text: for the data dictionary."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from vfexport_core.catalog.collections import Collection, Field, FieldType
from vfexport_core.catalog.expressions import (
    ArtistName,
    Constant,
    FalseIfMissing,
    FirstOf,
    Joined,
    MarketNames,
    Region,
    SfmcLocale,
    ShowLabel,
    SubscriberKey,
    Territory,
    UpperCase,
)
from vfexport_core.catalog.spec import Container, GroupBy

if TYPE_CHECKING:
    from vfexport_core.catalog.expressions import Derived, Expression
    from vfexport_core.catalog.spec import ExportSpec

RULES = {
    "territory": "the country that a locale names: `en-us` is us, `en-uk` is gb; empty where it names none",
    "upper_case": "the text in upper case",
    "region": (
        "the region of a country by the table `VFEXPORT_REGIONS`; another country is a region of its own, no country "
        "is `UNKNOWN`"
    ),
    "sfmc_locale": (
        "the locale in lower case, by the table `VFEXPORT_SFMC_LOCALES`; without a locale `en-us` in the regions NA "
        "and UNKNOWN, `en-gb` elsewhere"
    ),
    "subscriber_key": "the SHA-256 of the trimmed, lower-cased address, in lower-case hex",
    "joined": "the elements of an array, with the given separator in between",
    "or_false": "the value, `false` when it is missing or null",
    "market_names": "the names of the fan's own and additional markets, each once; unknown ones are left out",
    "show": (
        "`{month}/{day} - {city}, {state}` of `M.event.date` in UTC, `M.city` and `M.state`: `7/04 - Austin, TX`; what "
        "is missing drops out with its punctuation"
    ),
    "artist": (
        "`C.artist.name`; for a fanclub campaign `C.artist.fanClubName` if that contains the artist's name, else both"
    ),
}
"""What the names mean that stand before brackets; those of derived cells are the first five."""


def letters() -> dict[str, str]:
    """Return the letters that stand for documents, each with what it stands for."""
    return {collection.spec.letter: collection.spec.document for collection in Collection}


def format_expression(expression: Expression) -> str:
    """Return an expression as text: ``E.fields.email | U.email``; `RULES` explains names before brackets."""
    match expression:
        case Field():
            text = _path(expression)
        case FirstOf():
            text = " | ".join(map(format_expression, expression.options))
        case Territory() | UpperCase() | Region() | SfmcLocale() | SubscriberKey():
            text = f"{_rule(expression)}({', '.join(map(format_expression, expression.inputs))})"
        case Joined():
            text = f'joined({format_expression(expression.field)}, "{expression.separator}")'
        case FalseIfMissing():
            text = f"or_false({format_expression(expression.field)})"
        case MarketNames():
            text = f"market_names({format_expression(expression.own)}, {format_expression(expression.additional)})"
        case Constant():
            text = f'"{expression.text}"'
        case ShowLabel():
            text = "show(M)"
        case ArtistName():
            text = "artist(C)"
        case _:
            assert_never(expression)
    return text


def format_form(expression: Expression) -> str:
    """Return what an expression's values usually are: text, date, number, boolean, list."""
    match expression:
        case Field():
            return _form_of_type(expression.type)
        case FirstOf():
            return format_form(expression.options[0])
        case MarketNames():
            return "list"
        case Joined() | FalseIfMissing() | Constant() | ShowLabel() | ArtistName():
            return "text"
        case Territory() | UpperCase() | Region() | SfmcLocale() | SubscriberKey():
            return "text"
        case _:
            assert_never(expression)


def format_files(spec: ExportSpec) -> str:
    """Return what files an export of this type is."""
    one, shape = spec.format.upper(), spec.shape
    match shape.container:
        case Container.SINGLE_FILE:
            text = f"one {one}"
        case Container.ZIP:
            text = f"a ZIP with {_members(shape.group_by, one)}"
        case Container.OBJECTS:
            text = f"one {one} per region, locale and part, each under a key of its own"
        case _:
            assert_never(shape.container)
    return text if shape.sample is None else f"{text} of {shape.sample.value}"


def _members(group_by: GroupBy | None, one: str) -> str:
    match group_by:
        case GroupBy.PROMOTER:
            return f"a {one} per promoter"
        case GroupBy.REGION_AND_LOCALE:
            return f"a folder per region and {one} parts per locale"
        case None:
            return f"one {one}"
        case _:
            assert_never(group_by)


def _form_of_type(type_: FieldType) -> str:
    match type_:
        case FieldType.TEXT | FieldType.OBJECT_ID | FieldType.ANY:
            return "text"
        case FieldType.DATE:
            return "date"
        case FieldType.NUMBER:
            return "number"
        case FieldType.BOOLEAN:
            return "boolean"
        case FieldType.TEXT_LIST:
            return "list"
        case _:
            assert_never(type_)


def _rule(expression: Derived) -> str:
    match expression:
        case Territory():
            return "territory"
        case UpperCase():
            return "upper_case"
        case Region():
            return "region"
        case SfmcLocale():
            return "sfmc_locale"
        case SubscriberKey():
            return "subscriber_key"
        case _:
            assert_never(expression)


def _path(field: Field) -> str:
    """Return a field's path behind its letter, counted from the part of the document that the letter stands for."""
    path, spec = field.path, field.collection.spec
    if path[: len(spec.account)] == spec.account:
        path = path[len(spec.account) :]
    return ".".join([spec.letter, *path])
