"""What is told of a failing MongoDB: enough to act upon, and none of the values that the server quotes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    CursorNotFound,
    OperationFailure,
    ServerSelectionTimeoutError,
    WriteError,
)

from vfexport_core.errors import SourceUnavailable
from vfexport_core.mongo.client import reading
from vfexport_core.mongo.retry import is_passing

if TYPE_CHECKING:
    from pymongo.errors import PyMongoError

FAN = "fan@example.com"
HOST = "mongodb-1:27017"
TOLD = [
    (OperationFailure(f"Failed to parse number '{FAN}'", 241, {"codeName": "ConversionFailure"}),
     "OperationFailure: code 241 (ConversionFailure)"),
    (WriteError("refused", 121, {"errInfo": {"document": FAN}}), "WriteError: code 121"),
    (BulkWriteError({"writeErrors": [{"code": 112, "op": FAN}], "writeConcernErrors": [{"code": 64, "errmsg": FAN}]}),
     "BulkWriteError: code 64, 112"),
    (CursorNotFound(FAN), "CursorNotFound"),
    (AutoReconnect(f"{HOST}: connection closed"), "AutoReconnect"),
    (ServerSelectionTimeoutError(f"{HOST}: [Errno 111] Connection refused"), "ServerSelectionTimeoutError"),
]  # fmt: skip


MISSED_CONCERN = [{"code": 64, "errmsg": "waiting for replication timed out"}]


@pytest.mark.parametrize(
    ("codes", "concerns", "passes"),
    [
        ([112], [], True),
        ([112, 11000], [], True),
        ([50, 189], [], True),
        ([], MISSED_CONCERN, True),
        ([11000], MISSED_CONCERN, True),
        ([11000], [], False),
        ([121], [], False),
        ([112, 121], [], False),
        ([121], MISSED_CONCERN, False),
    ],
)
def test_a_bulk_write_passes_when_all_that_failed_of_it_does(codes: list[int], concerns: Any, *, passes: bool) -> None:
    problems = [{"index": place, "code": code, "errmsg": "refused"} for place, code in enumerate(codes)]
    assert is_passing(BulkWriteError({"writeErrors": problems, "writeConcernErrors": concerns})) is passes


@pytest.mark.parametrize(("error", "cause"), TOLD, ids=[type(error).__name__ for error, _ in TOLD])
def test_the_servers_words_about_a_command_are_told_by_their_code(error: PyMongoError, cause: str) -> None:
    with pytest.raises(SourceUnavailable) as failure, reading("entries", "scan"):
        raise error
    assert failure.value.message == f"MongoDB failed on collection entries (scan): {cause}"
    assert FAN not in str(failure.value.as_dict())


def test_where_mongodb_is_is_told_to_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SourceUnavailable) as failure, reading("entries", "scan"):
        raise AutoReconnect(f"{HOST}: connection closed")
    assert HOST not in str(failure.value.as_dict())
    (record,) = caplog.records
    assert (
        record.getMessage() == f"MongoDB failed on collection entries (scan): AutoReconnect: {HOST}: connection closed"
    )
