"""Expressions as text, in the notation of 03-export-types: for the data dictionary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfexport_core.catalog.expressions import (
    ArtistName,
    Constant,
    Derived,
    FalseIfMissing,
    Field,
    FirstOf,
    Joined,
    Kind,
    MarketNames,
    Root,
    ShowLabel,
)

if TYPE_CHECKING:
    from vfexport_core.catalog.expressions import Expression

LETTERS = {
    Root.ENTRY: "the fan's entry, of `entries`",
    Root.USER: "the fan's account: `integrations.ticketmaster` of a document of `users`",
    Root.MARKET: "the row's market, of `markets`",
    Root.CAMPAIGN: "the campaign, of `campaigns`",
    Root.SCORING: "the fan's scoring record, of `scoring`",
    Root.CODE: "the code, of `codes`",
    Root.HELD_CODE: "the code that the scoring record holds for the row's market, one of `S.codes`",
}

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
"""What the names mean that stand before brackets; those of `Derived` expressions are the first five."""

_ACCOUNT = ("integrations", "ticketmaster")
_FORMS = {Kind.DATE: "date", Kind.NUMBER: "number", Kind.BOOLEAN: "boolean", Kind.TEXT_LIST: "list"}


def notation(expression: Expression) -> str:
    """Write an expression: ``E.fields.email | U.email``; names before brackets are explained in `RULES`."""
    match expression:
        case Field():
            text = _path(expression)
        case FirstOf():
            text = " | ".join(map(notation, expression.options))
        case Derived():
            text = f"{expression.rule}({', '.join(map(notation, expression.inputs))})"
        case Joined():
            text = f'joined({notation(expression.field)}, "{expression.separator}")'
        case FalseIfMissing():
            text = f"or_false({notation(expression.field)})"
        case MarketNames():
            text = f"market_names({notation(expression.own)}, {notation(expression.additional)})"
        case Constant():
            text = f'"{expression.text}"'
        case ShowLabel():
            text = "show(M)"
        case ArtistName():
            text = "artist(C)"
    return text


def form(expression: Expression) -> str:
    """Say what an expression's values usually are: text, date, number, boolean, list."""
    match expression:
        case Field():
            return _FORMS.get(expression.kind, "text")
        case FirstOf():
            return form(expression.options[0])
        case MarketNames():
            return "list"
        case _:
            return "text"


def _path(field: Field) -> str:
    """Write a field's path; U stands for the account, not for the whole document."""
    path = field.path
    if field.root is Root.USER and path[: len(_ACCOUNT)] == _ACCOUNT:
        path = path[len(_ACCOUNT) :]
    return ".".join([field.root, *path])
