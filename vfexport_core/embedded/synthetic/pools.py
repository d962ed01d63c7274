"""What fans are called and where they live: invented, with everything in it that files and tables stumble over.

Addresses, numbers and domains are from the ranges reserved for documentation and fiction.
"""
# ruff: noqa: RUF001 foreign letters that look like Latin ones are the point

from __future__ import annotations

from typing import NamedTuple, TypeVar

Item = TypeVar("Item")

FIRST_NAMES = (
    *(
        "Ada",
        "Amir",
        "Anna",
        "Ben",
        "Bianca",
        "Carlos",
        "Chloe",
        "Dana",
        "David",
        "Elena",
        "Eli",
        "Emma",
        "Farah",
        "Finn",
    ),
    *("Grace", "Hana", "Hugo", "Ines", "Isaac", "Jamal", "Jane", "Jonas", "Kai", "Kira", "Lara", "Leo", "Lin", "Lucia"),
    *(
        "Maria",
        "Mateo",
        "Mia",
        "Mona",
        "Nadia",
        "Noah",
        "Nora",
        "Olga",
        "Omar",
        "Paula",
        "Priya",
        "Quinn",
        "Ravi",
        "Rosa",
    ),
    *("Sam", "Sara", "Sofia", "Tara", "Theo", "Uma", "Viktor", "Wanda", "Yara", "Zane"),
)
LAST_NAMES = (
    *("Adams", "Ahmed", "Baker", "Becker", "Bianchi", "Brown", "Castro", "Chen", "Clark", "Costa", "Cruz", "Davies"),
    *("Dubois", "Evans", "Fischer", "Flores", "Garcia", "Green", "Haddad", "Hansen", "Hill", "Ito", "Ivanova", "Jones"),
    *("Kaya", "Khan", "Kim", "Kowalska", "Lee", "Lopez", "Martin", "Meyer", "Moreau", "Nguyen", "Novak", "Okafor"),
    *("Patel", "Perez", "Rossi", "Santos", "Sato", "Silva", "Singh", "Smith", "Suzuki", "Taylor", "Tran", "Virtanen"),
    *("Walker", "Weber", "White", "Wong", "Young", "Zhang"),
)
UNUSUAL_TEXTS = (
    # other scripts, right to left, wide, combining, beyond the basic plane
    *(
        "José",
        "Zoë",
        "Ødegård",
        "Łukasz",
        "Nguyễn",
        "Владимир",
        "Ελένη",
        "محمد",
        "שרה",
        "李小龍",
        "さくら",
        "민준",
        "อรุณ",
    ),
    *(
        "Zoe\u0308",
        "Max 🎸",
        "👩‍🎤 Star",
        "🏴󠁧󠁢󠁳󠁣󠁴󠁿",
        "\u202eevitresbo",
        "zero\u200bwidth",
        "non\u00a0breaking",
        "\ufeffBOM",
        "𝔊𝔬𝔱𝔥𝔦𝔠",
    ),
    # what CSV quotes
    *("Smith, Jr.", 'Robert "Bob"', '"', "Two\nLines", "Carriage\rReturn", "Both\r\nEnds", "Tab\tInside", "semi;colon"),
    *("O'Brien", "back\\slash", " leading", "trailing ", "", "\n", "pipe|d", "x" * 300),
    # what spreadsheets take for a formula, and what only looks like one
    *(
        "=SUM(A1:A9)",
        '=HYPERLINK("http://example.com","x")',
        "+Plus",
        "-Dash",
        "@Home",
        "\tTab",
        "\rReturn",
        "'=quoted",
    ),
    *("+1 (555) 010-0000", "-5", "--", "+", "1e5", "0012"),
    # what other programs take for something else
    *(
        "NULL",
        "null",
        "None",
        "nan",
        "true",
        "False",
        "N/A",
        "undefined",
        "Nul\x00l",
        "2026-01-01",
        "{}",
        "[]",
        "${x}",
        "%s",
    ),
)


class Home(NamedTuple):
    """Where a fan signs up from: the site's locale, the country, how postal codes and phones look there."""

    locale: str | None
    country: str
    postal_code: str
    phone: str


# '#' becomes a digit.
_US = ("US", "#####", "+1555010####")
_CA = ("CA", "K#A #B#", "+1 555-010-####")
_MX = ("MX", "0####", "+52 55 5550 ####")
_GB = ("GB", "SW#A #AA", "+44 7700 90####")
_IE = ("IE", "D0# X#Y#", "+353 20 91# ####")

_HOMES = (
    (38, Home("en-us", *_US)),
    (2, Home("es-us", *_US)),
    (7, Home("en-ca", *_CA)),
    (4, Home("fr-ca", *_CA)),
    (4, Home("es-mx", *_MX)),
    (2, Home("en-mx", *_MX)),
    (6, Home("en-gb", *_GB)),
    (6, Home("en-uk", *_GB)),
    (4, Home("en-ie", *_IE)),
    (4, Home("en-au", "AU", "2###", "+61 491 57# ###")),
    (3, Home("en-nz", "NZ", "####", "+64 21 0## ####")),
    (4, Home("de-de", "DE", "0####", "+49 30 23125 ###")),
    (1, Home("de-at", "AT", "####", "+43 1 5550 ###")),
    (3, Home("fr-fr", "FR", "75###", "+33 1 99 00 ## ##")),
    (2, Home("es-es", "ES", "28###", "+34 600 00# ###")),
    (2, Home("nl-nl", "NL", "10## AB", "+31 6 5550 ####")),
    (1, Home("sv-se", "SE", "1## ##", "+46 70 174 0# ##")),
    (2, Home("pt-br", "BR", "0####-###", "+55 11 5550 ####")),
    (2, Home("ja-jp", "JP", "1##-00##", "+81 3 5550 ####")),
    (1, Home("ko-kr", "KR", "0####", "+82 2 5550 ####")),
    (1, Home("zh-tw", "TW", "###", "+886 2 5550 ####")),
    # a locale without a territory, one in capitals, one that nobody planned for, none, an empty one
    (1, Home("en", *_US)),
    (1, Home("EN-US", *_US)),
    (1, Home("en_us", *_US)),
    (1, Home(None, *_US)),
    (1, Home("", *_GB)),
)


def weighted(items: tuple[tuple[int, Item], ...]) -> tuple[Item, ...]:
    """Repeat each item by its weight: drawing from the result is one look-up."""
    return tuple(item for weight, item in items for _ in range(weight))


HOMES = weighted(_HOMES)
LOCALES = tuple(sorted({home.locale for _, home in _HOMES if home.locale}))
