"""The models of requests and answers: what is accepted and sent, and what the OpenAPI document says about it."""

# No postponed annotations here: pydantic reads them when a model is declared.

import re
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    field_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from vfexport_core.api import cursor
from vfexport_core.queue.models import ExportStatus, FileProblem, iso
from vfexport_core.services.exports import DATE_KEY_PATTERN

T = TypeVar("T")

LARGEST_PAGE = 200
DEFAULT_PAGE = 50
MOST_CAMPAIGNS = 200
MOST_PERMISSIONS = 20
LONGEST_NAME = 1_000

EXPORT_ID_EXAMPLE = "65b9f2c4a1b2c3d4e5f60718"
CAMPAIGN_ID_EXAMPLE = "65a0f2c4a1b2c3d4e5f60718"
KEY_EXAMPLE = f"{CAMPAIGN_ID_EXAMPLE}/entries/Summer-Tour-20260131T093000Z-{EXPORT_ID_EXAMPLE}.csv"


def _is_absent(value: object) -> bool:
    return value is None


Absent: TypeAlias = SkipJsonSchema[None]
"""In a request: the field may be left out, but not be null."""
Omitted: TypeAlias = Annotated[T | SkipJsonSchema[None], Field(exclude_if=_is_absent)]
"""In an answer: the field is left out where there is no value, and never null."""
Moment: TypeAlias = Annotated[
    datetime,
    PlainSerializer(iso, return_type=str),
    Field(json_schema_extra={"format": "date-time"}, examples=["2026-01-31T09:30:00.000Z"]),
]


def _describe(schema: dict[str, Any], model: type["RequestModel"]) -> None:
    """Show the model's example, and drop ``"default": null``: that a field may be absent is what `required` says."""
    schema["examples"] = [model.example]
    for field in schema["properties"].values():
        if field.get("default", ...) is None:
            del field["default"]


class RequestModel(BaseModel):
    """What callers send: nothing is coerced, no field is unknown, null is no value."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", strict=True, frozen=True, json_schema_extra=_describe
    )

    example: ClassVar[dict[str, Any]] = {}

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_null(cls, value: Any) -> Any:
        if value is None:
            raise PydanticCustomError("null", "must not be null")
        return value


class AnswerModel(BaseModel):
    """What callers get."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True, from_attributes=True, frozen=True
    )


# Requests


DateKey: TypeAlias = Annotated[str, Field(pattern=f"^{DATE_KEY_PATTERN}$")]


class NewExport(RequestModel):
    """What to export."""

    example = {"exportType": "entries"}

    export_type: str = Field(description="A type of GET /export-types.", examples=["entries"])
    date_key: DateKey | Absent = Field(
        default=None,
        description="The wave's key, in epoch milliseconds; some types need it.",
        examples=["1700000000000"],
    )
    include_all_markets: bool = Field(
        default=False,
        description="One more row per additional market of a fan, in the types that have such rows.",
        examples=[False],
    )


CampaignKey: TypeAlias = Annotated[str, Field(pattern=r"^(?:\*|[0-9A-Fa-f]{24})$")]
Permission: TypeAlias = Annotated[str, Field(pattern="^[A-Z_]{1,64}$")]


class NewToken(RequestModel):
    """For whom the token is, and what it allows."""

    example = {"userId": "admin-1", "permissions": {"*": ["REPORT"]}}

    user_id: str = Field(pattern="^[A-Za-z0-9._@:|-]{1,128}$", description="Its `sub`.", examples=["admin-1"])
    permissions: dict[CampaignKey, Annotated[list[Permission], Field(max_length=MOST_PERMISSIONS)]] = Field(
        max_length=MOST_CAMPAIGNS,
        description="Names of permissions, by the campaign's id; `*` is every campaign.",
        examples=[{"*": ["REPORT"]}],
        json_schema_extra={"additionalProperties": False},
    )
    supreme: bool = Field(default=False, description="Whether the token allows CCPA deletions.", examples=[False])


def _whole_number(value: Any) -> Any:
    """Let only digits through: pydantic would also read ``5.0``, ``1_0`` and blanks as integers."""
    if isinstance(value, str) and not re.fullmatch("[0-9]{1,9}", value):
        raise PydanticCustomError("whole_number", "must be a whole number, written in digits alone")
    return value


def _in_utc(moment: datetime) -> datetime:
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("moment", "must be between the years 1 and 9999 in UTC") from None
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)  # MongoDB keeps milliseconds


def _date_and_time(value: Any) -> Any:
    """Let no numbers through, which pydantic would read as seconds or milliseconds."""
    if isinstance(value, str) and not re.match("[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]", value):
        raise PydanticCustomError("moment", "must be a date and time with its offset, such as 2026-01-31T09:30:00Z")
    return value


QueryMoment: TypeAlias = Annotated[AwareDatetime, BeforeValidator(_date_and_time), AfterValidator(_in_utc)]
Cursor: TypeAlias = Annotated[str, Field(pattern=f"^{cursor.PATTERN}$")]


class ListQuery(BaseModel):
    """Which exports of the campaign are listed, in which order, from where on."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)

    export_type: str | Absent = Field(default=None, description="Only exports of this type.")
    status: ExportStatus | Absent = Field(default=None, description="Only exports in this state.")
    campaign_name: Annotated[str, Field(max_length=LONGEST_NAME)] | Absent = Field(
        default=None, description="Only exports that were asked for while the campaign had this name, the whole of it."
    )
    since: QueryMoment | Absent = Field(
        default=None, description="Only exports that were asked for at this moment or later."
    )
    until: QueryMoment | Absent = Field(
        default=None, description="Only exports that were asked for before this moment."
    )
    sort: Literal["created", "date.created"] = Field(
        default="created", description="By date of creation, then id: the order of the queue."
    )
    sort_dir: Literal["asc", "desc"] = Field(default="desc", description="`desc` is newest first.")
    limit: Annotated[int, BeforeValidator(_whole_number)] = Field(
        default=DEFAULT_PAGE, ge=1, le=LARGEST_PAGE, description="How many exports a page has at most."
    )
    cursor: Cursor | Absent = Field(
        default=None,
        description="From the `Link` header of the page before, with the same other parameters.",
    )

    @property
    def descending(self) -> bool:
        return self.sort_dir == "desc"

    def list_scope(self, campaign_id: str) -> str:
        """Return the name of the list that a cursor belongs to: everything but the size of its pages."""
        between = ("" if moment is None else iso(moment) for moment in (self.since, self.until))
        filters = (self.export_type or "", self.status or "", self.sort_dir, *between, self.campaign_name or "")
        return "|".join((campaign_id, *filters))

    def parameters(self) -> dict[str, str]:
        """Return the parameters as they were sent, without the cursor."""
        sent = self.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"cursor"})
        return {name: str(value) for name, value in sent.items()}


# Exports


class ExportDatesOut(AnswerModel):
    """When the export came into each state of its current attempt."""

    created: Moment = Field(description="When it was asked for.")
    triggered: Omitted[Moment] = Field(default=None, description="When its run claimed it.")
    finished: Omitted[Moment] = Field(default=None, description="When its files were there.")
    failed: Omitted[Moment] = Field(default=None, description="When its run failed.")
    expired: Omitted[Moment] = Field(default=None, description="When its time was over.")
    canceled: Omitted[Moment] = Field(default=None, description="When it was cancelled.")


class ProgressOut(AnswerModel):
    """How far the run is."""

    read: int = Field(description="Documents read.", examples=[12_000])
    rows: int = Field(description="Rows written.", examples=[11_874])
    bytes: int = Field(description="Bytes written.", examples=[2_097_152])
    percent: Omitted[float] = Field(
        default=None,
        description="The share of documents read, where their number is known.",
        examples=[42.9],
    )


class QueueOut(AnswerModel):
    """Where a PENDING export is in the queue."""

    position: int = Field(description="1: it comes next.", examples=[2])
    starts_in_seconds: int = Field(description="In how many seconds it may start: a guess.", examples=[42])
    reason: Omitted[str] = Field(
        default=None,
        description="Why it waits whatever its position: the queue is paused, its bucket hangs, it is retried later.",
        examples=["bucket exportsS3 has hung since 2026-01-31 09:30:00 UTC"],
    )


class ExportErrorOut(AnswerModel):
    """Why the export FAILED."""

    code: str = Field(description="The kind of error.", examples=["NoMarketsFound"])
    message: str = Field(description="What happened.", examples=["the campaign has no market"])
    payload: str | None = Field(description="What it happened to.", examples=[CAMPAIGN_ID_EXAMPLE])
    hint: str = Field(
        description="What to do about it.", examples=["Add a market to the campaign, then retry the export."]
    )


class AttemptOut(AnswerModel):
    """One attempt of an export that has had several."""

    attempt: int = Field(description="Its number.", examples=[1])
    status: ExportStatus = Field(description="How it ended, or TRIGGERED while it runs.", examples=["FAILED"])
    triggered: Omitted[Moment] = Field(default=None, description="When its run claimed the export.")
    ended: Omitted[Moment] = Field(default=None, description="When it ended.")
    error: Omitted[ExportErrorOut] = Field(default=None, description="Why it ended.")


class ExportOut(AnswerModel):
    """One export. `key` or `keys`, `bytes`, `sha256` and `path` are there when it is FINISHED.

    `queue` is there while it is PENDING, `endsInSeconds` while it is TRIGGERED, except in lists.
    """

    id: str = Field(description="The export's ObjectId.", examples=[EXPORT_ID_EXAMPLE])
    campaign_id: str = Field(description="The campaign's ObjectId.", examples=[CAMPAIGN_ID_EXAMPLE])
    campaign_name: str = Field(description="The campaign's name at the time.", examples=["Summer Tour"])
    export_type: str = Field(description="A type of GET /export-types.", examples=["entries"])
    status: ExportStatus = Field(description="Where the export is on its way.", examples=["FINISHED"])
    date_key: Omitted[str] = Field(default=None, description="The wave's key.", examples=["1700000000000"])
    include_all_markets: bool = Field(
        description="Whether additional markets have rows of their own.", examples=[False]
    )
    requester_user_id: str = Field(description="Who asked for it: the token's `sub`.", examples=["admin-1"])
    date: ExportDatesOut = Field(description="When it came into each state.")
    attempt: int = Field(description="1, and one more each time it is run again.", examples=[1])
    attempts: Omitted[list[AttemptOut]] = Field(
        default=None,
        description="The latest attempts, oldest first, when it is not the first; not in lists.",
        examples=[[{"attempt": 1, "status": "FAILED"}]],
    )
    queue: Omitted[QueueOut] = Field(default=None, description="Its place in the queue.")
    ends_in_seconds: Omitted[int] = Field(
        default=None, description="In how many seconds its run may have ended: a guess.", examples=[75]
    )
    count: Omitted[int] = Field(
        default=None, description="Rows when FINISHED, before that the documents to read.", examples=[27_991]
    )
    progress: Omitted[ProgressOut] = Field(default=None, description="How far its run is.")
    meta: Omitted[dict[str, Any]] = Field(
        default=None, description="Figures of the run.", examples=[{"warnings": {"unknownUser": 2}}]
    )
    error: Omitted[ExportErrorOut] = Field(default=None, description="Why it FAILED.")
    key: Omitted[str] = Field(default=None, description="The key of its file in S3.", examples=[KEY_EXAMPLE])
    keys: Omitted[list[str]] = Field(
        default=None,
        description="The keys of its files, if not exactly one.",
        examples=[["NA/DM_ArtistPresale_Band_en-us.csv", "UK/DM_ArtistPresale_Band_en-gb.csv"]],
    )
    bytes: Omitted[int] = Field(default=None, description="The size of all its files.", examples=[4_812_013])
    sha256: Omitted[str | list[str]] = Field(
        default=None,
        description="Hexadecimal, of `key` or of each of `keys`.",
        examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
    )
    file_problem: Omitted[FileProblem] = Field(
        default=None,
        description="What an operator found wrong with its file since: it is missing, or was altered.",
        examples=["missing"],
    )
    path: Omitted[str] = Field(
        default=None,
        description="A signed address to download the file from, for a while.",
        examples=[f"https://exports-bucket.s3.us-east-1.amazonaws.com/{KEY_EXAMPLE}?X-Amz-Expires=900"],
    )
    path_expires: Omitted[Moment] = Field(default=None, description="When `path` stops working, at the latest.")


# Other answers


class PauseOut(AnswerModel):
    """The queue is paused: nothing begins until somebody resumes it."""

    since: Moment = Field(description="Since when.")
    reason: str = Field(description="Why, as whoever paused it says; may be empty.", examples=["MongoDB is upgraded"])


class QueueStatusOut(AnswerModel):
    """The queue over all campaigns."""

    pending: int = Field(description="Exports that wait.", examples=[3])
    running: int = Field(description="Exports that run: one at most.", examples=[1])
    paused: Omitted[PauseOut] = Field(default=None, description="Only while the queue is paused.")


class ExportTypeOut(AnswerModel):
    """One export type."""

    type: str = Field(description="Its name, for `exportType`.", examples=["entries"])
    bucket: Literal["exportsS3", "scoringS3", "vfScoringS3", "sfmcS3"] = Field(
        description="Where its files go.", examples=["exportsS3"]
    )
    format: Literal["csv", "zip"] = Field(description="The form of its files.", examples=["csv"])
    columns: list[str] = Field(
        description="The header of its files; `#{type}.{id}` stands for one column per preference of the campaign.",
        examples=[["id", "contest_title"]],
    )
    needs_date_key: bool = Field(description="Whether a request needs a `dateKey`.", examples=[False])


class DeletedCount(AnswerModel):
    """What was deleted, over all tries of this request."""

    exports: int = Field(description="Export documents.", examples=[3])
    files: int = Field(description="Delivered files.", examples=[4])


class DeletedOut(AnswerModel):
    """The deletion is complete."""

    deleted_count: DeletedCount = Field(description="What was deleted.")


class TokenOut(AnswerModel):
    """Send it as ``Authorization: Bearer {token}``."""

    token: str = Field(description="A signed JWT.", examples=["eyJhbGciOiJFUzI1NiIsImtpZCI6InZmZXhwb3J0LWRldiJ9..."])
    token_type: Literal["Bearer"] = Field(description="How to send it.", examples=["Bearer"])
    expires_in: int = Field(description="Seconds until it expires.", examples=[3_600])


class HeartbeatOut(AnswerModel):
    """The process is alive."""

    status: Literal["alive"] = Field(description="Always the same.", examples=["alive"])


CheckOutcome: TypeAlias = Literal["ok", "failed", "timeout"]
Checks: TypeAlias = Annotated[
    dict[str, CheckOutcome],
    Field(
        description="The outcome for MongoDB and for each configured bucket, by name.",
        examples=[{"mongodb": "ok", "exportsS3": "timeout"}],
    ),
]


class ReadyOut(AnswerModel):
    """Requests are served."""

    status: Literal["ready", "degraded"] = Field(
        description="`degraded`: a bucket does not answer. Exports into it wait; all else works.", examples=["ready"]
    )
    checks: Checks


class ErrorDetail(AnswerModel):
    """What went wrong."""

    status: int = Field(description="The HTTP status.", examples=[400])
    code: str = Field(description="The kind of error.", examples=["InvalidDateKey"])
    message: str = Field(description="What is wrong, for people.", examples=["dateKey: String should match pattern"])
    payload: str | None = Field(description="What it is wrong with: a field, an id, a bucket.", examples=["dateKey"])
    hint: str = Field(description="What to do about it.", examples=["Send dateKey as a string of digits."])


class ErrorOut(AnswerModel):
    """The body of every answer that is not a success."""

    error: ErrorDetail = Field(description="What went wrong.")


class NotReadyOut(ErrorOut):
    """Something does not answer; the error's payload names it."""

    checks: Checks
