"""`campaigns`: plausible documents (plausible.py), some fields of some of them spoilt with any BSON value."""

from __future__ import annotations

from functools import cache
from typing import Any

from bson import DatetimeMS, Decimal128, Int64, ObjectId, Timestamp
from hypothesis import strategies as st

from tests.builders import to_bson
from tests.reference import Campaign, order_key
from tests.strategies import plausible
from tests.strategies.plausible import CAMPAIGN_ID, DATE_KEY, OTHER_CAMPAIGN_ID, market_hex, user_hex
from tests.strategies.values import NASTY_TEXTS, Dirt, anything, not_arrays, texts

Document = dict[str, Any]
Path = tuple[str, ...]
ABSENT = object()

ODD_USER_IDS = [
    None, "", "abc", "ABC", "=1+1", "a,b", "\0", "é", "\U0001f600", 0, 7, -1, 5.5, float("nan"), Int64(2**62),
    True, False, Decimal128("7.25"), DatetimeMS(0), DatetimeMS(-(2**40)), Timestamp(1, 1),
]  # fmt: skip
PREFERENCE_IDS = [
    "color", "size", "a.b", "$x", "$$y", ".", "a.", "$", "", " ", " lead", "é", "日本", "a b", "#h", "=f", 'q"c', "x,y",
    "market", "email", "_id", 5, None, "id\n", "x" * 300,
]  # fmt: skip
PROMOTER_NAMES = [
    "Big Shows",
    "Big/Shows",
    "Big?Shows",
    "../../etc/passwd",
    "Čaj & Co.",
    "",
    "日本",
    "..",
    "CON",
    None,
    5,
]

ENTRY_LEAVES = (
    "date.created", "date.phoneConfirmed", "locale", "fields.market", "fields.additionalMarkets", "fields.email",
    "fields.phone", "fields.first_name", "fields.last_name", "fields.allowMarketing", "fields.allowLiveNation",
    "fields.allowSms", "fields.promoterOptIns", "origin.ip.address", "origin.ip.postalCode", "origin.ip.latitude",
    "origin.ip.longitude", "origin.ip.countryCode", "nudetect.score", "nudetect.scoreBand", "accountFanscore",
)  # fmt: skip
USER_LEAVES = tuple(f"integrations.ticketmaster.{name}" for name in (
    "id", "member_id", "globalUserId", "email", "phone", "postalCode", "name.first", "name.last",
))  # fmt: skip
MARKET_LEAVES = ("name", "city", "state", "countryCode", "event.date", "event.ids")
SCORING_LEAVES = ("userId", "memberId", "selected", "score", "priority", "marketId", "locale", "countryCode", "codes")
CODE_LEAVES = (
    "marketId", "eventId", "status", "dateKey", "assignment.userId", "assignment.memberId", "assignment.date",
)  # fmt: skip
CAMPAIGN_LEAVES = ("name", "type", "artist.name", "artist.fanClubName", "promoterIds", "preferences", "ticketUrl")


# Right in one field or another, wrong in most.
USEFUL = [
    ABSENT, None, "", True, market_hex(0), market_hex(9), ObjectId(market_hex(1)), user_hex(1), ObjectId(user_hex(0)),
    [market_hex(1), "unknown", market_hex(0), market_hex(1), None], ["p0", "p1", "p1", "other"], "p2", DATE_KEY,
    [{"id": "B", "marketId": market_hex(0)}, {"id": "A", "marketId": market_hex(0)}, {"id": 5}, None], "en-uk",
]  # fmt: skip


@cache
def paths(leaves: tuple[str, ...]) -> tuple[list[Path], list[Path]]:
    """Return the paths of the fields and of the documents that hold them."""
    fields = [tuple(leaf.split(".")) for leaf in leaves]
    containers = {field[:depth] for field in fields for depth in range(1, len(field))}
    return fields, sorted(containers)


@cache
def spoiling(dirt: Dirt, leaves: tuple[str, ...], most: int) -> st.SearchStrategy[list[tuple[Path, Any]]]:
    """Draw what to spoil in one document: (path, value) pairs."""
    fields, containers = paths(leaves)
    pairs = st.tuples(st.sampled_from(fields), st.sampled_from(USEFUL) | anything(dirt))
    if containers:
        holder = anything(dirt) if dirt.array_paths else not_arrays(dirt)
        pairs |= st.tuples(st.sampled_from(containers), st.just(ABSENT) | holder)
    return st.lists(pairs, max_size=most)


def spoil(document: Document, path: Path, value: Any) -> None:
    """Put a value (or nothing, `ABSENT`) at a path, unless a document on the way was spoilt already."""
    holder: Any = document
    for name in path[:-1]:
        holder = holder.get(name) if isinstance(holder, dict) else None
    if not isinstance(holder, dict):
        return
    if value is ABSENT:
        holder.pop(path[-1], None)
    else:
        holder[path[-1]] = value


class Maker:
    """Draws the documents of one campaign."""

    def __init__(self, draw: st.DrawFn, dirt: Dirt) -> None:
        self.draw = draw
        self.dirt = dirt
        # From spotless to rotten: most campaigns stay on the fast path most of the time.
        self.spoilt = draw(st.sampled_from([0, 1, 2, 5]))
        self.market_ids: list[Any] = []

    def variant(self) -> int:
        return self.draw(st.integers(0, 999))

    def dirty(self, document: Document, leaves: tuple[str, ...]) -> Document:
        if self.spoilt:
            for path, value in self.draw(spoiling(self.dirt, leaves, self.spoilt)):
                spoil(document, path, value)
        return document

    def many(self, most: int) -> range:
        return range(self.draw(st.integers(0, most)))

    def campaign(self) -> tuple[Document, list[Path]]:
        ids = self.draw(st.lists(st.sampled_from(PREFERENCE_IDS), max_size=4))
        kinds = self.draw(st.lists(st.sampled_from(["text", "select", "", "=t", "a,b", 5]), min_size=4, max_size=4))
        document: Document = {
            "_id": ObjectId(CAMPAIGN_ID),
            "name": self.draw(st.sampled_from(["Summer Tour", "=Tour, \n2", "../x", "Été ☀"]) | texts(self.dirt)),
            "type": self.draw(st.sampled_from(["standard", "fanclub"])),
            "artist": {"name": "The Band", "fanClubName": self.draw(st.sampled_from(["The Band Club", "Stage", ""]))},
            "promoterIds": self.draw(st.lists(st.sampled_from(["p0", "p1", "p2", "p3", "gone"]), max_size=4)),
            "preferences": [{"id": key, "type": kind} for key, kind in zip(ids, kinds, strict=False)],
            "ticketUrl": "https://tickets.example/?a=1&b=2",
        }
        answers = [("fields", key) for key in ids if isinstance(key, str)]
        return self.dirty(document, CAMPAIGN_LEAVES), answers

    def markets(self) -> list[Document]:
        count = self.draw(st.sampled_from([1, 2, 3, 0]))
        documents = [self.dirty(plausible.market(n, self.variant()), MARKET_LEAVES) for n in range(count)]
        # Among those that fans choose are one that does not exist and two that are blank.
        self.market_ids = [market_hex(n) for n in range(count)] * 4 + [market_hex(9), "", None]
        if count and self.dirt.case_variants:
            self.market_ids += [market_hex(0).upper(), ObjectId(market_hex(0))]
        return documents

    def user_ids(self, most: int) -> list[Any]:
        """Draw the entries' user ids, unique as MongoDB has it, in any order."""
        # 31 is prime, so any step visits every number once: cheaper than unique draws, and as often many as few.
        start, step = self.draw(st.integers(0, 30)), self.draw(st.integers(1, 30))
        ids: list[Any] = [user_hex((start + index * step) % 31) for index in self.many(min(most, 31))]
        odd: list[Any] = []
        if self.dirt.case_variants:
            odd += [user_hex(0).upper(), ObjectId(user_hex(1)), user_hex(2).upper()]
        odd += ODD_USER_IDS if self.dirt.odd_user_ids else []
        if odd and self.spoilt:
            ids = self.draw(st.lists(st.sampled_from(odd), max_size=self.spoilt, unique_by=order_key)) + ids
        return ids[:most]

    def entries(self, most: int, answers: list[Path]) -> list[Document]:
        documents = []
        for user_id in self.user_ids(most):
            document = plausible.entry(user_id, self.variant(), self.market_ids)
            documents.append(self.dirty(document, ENTRY_LEAVES))
            if self.spoilt and answers and self.draw(st.booleans()):
                spoil(document, self.draw(st.sampled_from(answers)), self.draw(anything(self.dirt)))
        # A field that is wrong in every entry, as one wrong client makes it.
        if self.spoilt and self.draw(st.integers(0, 3)) == 3:
            path = self.draw(st.sampled_from(paths(ENTRY_LEAVES)[0] + answers))
            value = self.draw(anything(self.dirt))
            for document in documents:
                spoil(document, path, value)
        return documents

    def scoring(self) -> list[Document]:
        records = ((index, self.draw(st.integers(0, 12)), self.variant()) for index in self.many(12))
        return [self.dirty(plausible.scoring(*record, self.market_ids), SCORING_LEAVES) for record in records]

    def codes(self) -> list[Document]:
        usual = st.integers(0, 99).map(lambda n: f"CODE{n:02}")
        ids = self.draw(st.lists(usual | texts(self.dirt), max_size=10, unique=True))
        records = ((code_id, self.draw(st.integers(0, 12)), self.variant()) for code_id in ids)
        return [self.dirty(plausible.code(*record, self.market_ids), CODE_LEAVES) for record in records]

    def sms_waves(self) -> list[Document]:
        member = st.sampled_from([*(f"m{n}" for n in range(8)), None, 5, "", "M1"])
        return [
            {
                "_id": ObjectId(f"{index:024x}"),
                "campaignId": self.draw(st.sampled_from([CAMPAIGN_ID, CAMPAIGN_ID, OTHER_CAMPAIGN_ID])),
                "dateKey": DATE_KEY,
                "status": self.draw(st.sampled_from(["SCHEDULED", "SCHEDULED", "SENT", "CANCELED"])),
                "memberIds": self.draw(st.lists(member, max_size=4)),
            }
            for index in self.many(3)
        ]

    def promoters(self) -> list[Document]:
        name = st.sampled_from(PROMOTER_NAMES + NASTY_TEXTS[:8])
        return [{"_id": f"p{index}", "name": self.draw(name)} for index in self.many(5)]


@st.composite
def campaigns(draw: st.DrawFn, dirt: Dirt = Dirt(), *, max_entries: int = 30, others: bool = True) -> Campaign:  # noqa: B008 frozen
    """Draw a campaign as raw BSON documents, in arbitrary order, with some documents of another campaign among them.

    `others` False leaves scoring, codes, smsWaves and promoters empty (for the types entries and scoring).
    """
    maker = Maker(draw, dirt)
    campaign, answers = maker.campaign()
    markets = maker.markets()
    users = [
        maker.dirty(plausible.user(n, maker.variant()), USER_LEAVES)
        for n in range(draw(st.sampled_from([24, 31, 8, 0])))
    ]
    entries = maker.entries(max_entries, answers)
    lists = [maker.scoring(), maker.codes(), maker.sms_waves(), maker.promoters()] if others else [[], [], [], []]
    if draw(st.booleans()):
        markets.insert(0, plausible.market(8, 1, OTHER_CAMPAIGN_ID))
        entries.insert(0, plausible.entry(user_hex(0), 1, maker.market_ids, OTHER_CAMPAIGN_ID))
        if others:
            lists[0].insert(0, plausible.scoring(50, 0, 1, maker.market_ids, OTHER_CAMPAIGN_ID))
            lists[1].insert(0, plausible.code("of another campaign", 0, 1, maker.market_ids, OTHER_CAMPAIGN_ID))
    raw = [[to_bson(document) for document in documents] for documents in (markets, users, entries, *lists)]
    return Campaign(to_bson(campaign), *raw)
