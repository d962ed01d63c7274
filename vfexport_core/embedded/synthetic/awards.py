"""What fans get: scoring records, codes, and the text message waves that take members off the waiting list."""
# ruff: noqa: PLR2004 the numbers here say how often something is so

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bson import Int64, ObjectId

from vfexport_core.embedded.synthetic.ids import IdSeries
from vfexport_core.embedded.synthetic.people import Fan, moment, pick

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from vfexport_core.mongo.document import Document

# The days on which codes are sent, as a wave's dateKey: epoch milliseconds.
DATE_KEYS = ("1773936000000", "1774022400000", "1774108800000")
SMS_WAVES = ((DATE_KEYS[0], "SENT"), (DATE_KEYS[1], "SCHEDULED"), (DATE_KEYS[2], "CANCELED"))

_SCORED_SHARE = 0.4
_SELECTED_SHARE = 0.4
_IN_WAVE_SHARE = 0.3
_SPARE_SHARE = 0.05
_MISSED_SHARE = 0.03
_SEVERAL_SHARE = 0.15
# A code's last letter tells the codes of one fan apart. They do not rise: which code is the first, exports must find.
_HELD = "7S2K"
_SPARE = "Z"


@dataclass(frozen=True, slots=True)
class Awards:
    """Documents of scoring, codes and smsWaves for one batch of fans."""

    scoring: list[Document] = field(default_factory=list)
    codes: list[Document] = field(default_factory=list)
    sms_waves: list[Document] = field(default_factory=list)


def code_text(code_id: str, suffix: str) -> str:
    """Return the text of a code, in the order of `code_id`."""
    return f"VF{code_id[8:].upper()}{suffix}"


class Awarder:
    """Makes the awards of one campaign; `markets` are its market documents."""

    def __init__(self, campaign_id: str, markets: tuple[Document, ...]) -> None:
        self._campaign_id = campaign_id
        self._market_ids = tuple(str(market["_id"]) for market in markets)
        self._event_ids = {str(market["_id"]): tuple(market["event"].get("ids", ())) for market in markets}
        self.scoring_ids = IdSeries("scoring", campaign_id)
        self._wave_ids = IdSeries("smsWave", campaign_id)
        self.code_ids = IdSeries("code", campaign_id)

    def award(self, fans: list[Fan], random: Random) -> Awards:
        """Score some of the fans, select some of those, give codes to most of the selected."""
        awards = Awards()
        members: dict[str, list[Any]] = {date_key: [] for date_key in DATE_KEYS}
        for fan in fans:
            if random.random() < _SCORED_SHARE:
                record = self._score(fan, random)
                awards.scoring.append(record)
                if record["selected"]:
                    self._give_codes(fan, record, awards.codes, random)
                if random.random() < _IN_WAVE_SHARE:
                    # Members are text by 02; one in a hundred is a number, as everything is somewhere.
                    member = Int64(int(fan.member_id)) if fan.number % 100 == 0 else fan.member_id
                    members[pick(DATE_KEYS, random)].append(member)
            if random.random() < _SPARE_SHARE:
                awards.codes.append(self._code(fan, _SPARE, pick(self._market_ids, random), random))
        awards.sms_waves.extend(self._sms_waves(fans, members))
        return awards

    def _sms_waves(self, fans: list[Fan], members: dict[str, list[Any]]) -> Iterator[Document]:
        """Make one document per wave that has members here: a wave is as many documents as there are batches."""
        for position, (date_key, status) in enumerate(SMS_WAVES):
            if members[date_key]:
                yield {
                    "_id": ObjectId(self._wave_ids[fans[0].number * len(SMS_WAVES) + position]),
                    "campaignId": self._campaign_id,
                    "dateKey": date_key,
                    "status": status,
                    "memberIds": members[date_key],
                }

    def _score(self, fan: Fan, random: Random) -> Document:
        record: Document = {
            "_id": ObjectId(self.scoring_ids[fan.number]),
            "campaignId": self._campaign_id,
            "userId": fan.user_id,
            "memberId": fan.member_id,
            "selected": random.random() < _SELECTED_SHARE,
            "marketId": pick(self._market_ids, random),
        }
        if random.random() < 0.9:
            record["score"] = round(random.random() * 100, 2)
        if random.random() < 0.6:
            record["priority"] = 1 + int(random.random() * 5)
        if random.random() < 0.5 and fan.home.locale:
            record["locale"] = fan.home.locale
        if random.random() < 0.5:
            record["countryCode"] = fan.home.country
        return record

    def _give_codes(self, fan: Fan, record: Document, codes: list[Document], random: Random) -> None:
        """Return a code for the record's market, sometimes for others or the same again, sometimes none."""
        draw = random.random()
        if draw < _MISSED_SHARE:
            return
        extra = 1 + int(random.random() * 3) if draw > 1 - _SEVERAL_SHARE else 0
        market_ids = [record["marketId"], *(pick(self._market_ids, random) for _ in range(extra))]
        held: list[Document] = []
        for suffix, market_id in zip(_HELD, market_ids, strict=False):
            code = self._code(fan, suffix, market_id, random)
            code["status"] = "REDEEMED" if random.random() < 0.3 else "ASSIGNED"
            code["assignment"] = {"userId": fan.user_id, "memberId": fan.member_id, "date": moment(random)}
            codes.append(code)
            held.append({"id": code["_id"], "marketId": market_id})
        record["codes"] = held

    def _code(self, fan: Fan, suffix: str, market_id: str, random: Random) -> Document:
        code: Document = {
            "_id": code_text(self.code_ids[fan.number], suffix),
            "campaignId": self._campaign_id,
            "marketId": market_id,
            "status": "AVAILABLE",
        }
        if (event_ids := self._event_ids[market_id]) and random.random() < 0.95:
            code["eventId"] = pick(event_ids, random)
        if random.random() < 0.8:
            code["dateKey"] = pick(DATE_KEYS, random)
        return code
