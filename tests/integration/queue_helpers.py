"""What the tests of the queue share: requests, ways into a state, and work done by several processes at once."""

from __future__ import annotations

import queue as queues
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from bson import ObjectId
from pymongo import MongoClient

from tests.processes import forked
from vfexport_core.queue.models import Claim, Delivered, Export, NewExport
from vfexport_core.queue.repository import ExportRepository

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ERROR = {"code": "Boom", "message": "it broke", "payload": None}
SHA = "0f" * 32
DELIVERED = Delivered(
    bucket="exportsS3", keys=("c/entries/x.csv",), rows=7, bytes=70, sha256=(SHA,), meta={"warnings": {"unknown": 2}}
)
_WORK_SECONDS = 120


def new_export(**fields: Any) -> NewExport:
    """A request, for a campaign of its own unless one is given."""
    defaults: dict[str, Any] = {
        "campaign_id": str(ObjectId()),
        "campaign_name": "Summer Tour",
        "export_type": "entries",
        "requester_user_id": "5f0000000000000000000001",
        "correlation_id": "test-1",
        "source": "api",
    }
    return NewExport(**defaults | fields)


def queued(store: ExportRepository, **fields: Any) -> Export:
    export, created = store.request(new_export(**fields))
    assert created
    return export


def triggered(store: ExportRepository, run_id: str = "run-1", **fields: Any) -> Claim:
    return store.claim(queued(store, **fields).id, run_id)[0]


def in_processes(
    work: Callable[[ExportRepository, int, Any], Any], uri: str, database: str, shares: Sequence[Sequence[Any]]
) -> list[Any]:
    """Do `work(store, number, item)` for every item: a process per share, a thread per item, all starting at once.

    `number` counts the items over all shares. Gives the results in no order; raises what went wrong in a process.
    """
    context = forked()
    results: Any = context.Queue()
    barrier = context.Barrier(len(shares))
    processes = []
    first = 0
    for share in shares:
        items = [(first + number, item) for number, item in enumerate(share)]
        arguments = {"work": work, "place": (uri, database), "items": items, "barrier": barrier, "results": results}
        processes.append(context.Process(target=_share, kwargs=arguments, daemon=True))
        first += len(share)
    try:
        for process in processes:
            process.start()
        answers = [results.get(timeout=_WORK_SECONDS) for _ in processes]
    except queues.Empty:
        raise AssertionError("a worker process gave no answer") from None
    finally:
        for process in processes:
            process.join(timeout=10)
            process.kill()
            process.join()
        results.close()
    failures = [error for _, error in answers if error]
    assert not failures, failures
    return [result for part, _ in answers for result in part]


def _share(
    *,
    work: Callable[[ExportRepository, int, Any], Any],
    place: tuple[str, str],
    items: list[tuple[int, Any]],
    barrier: Any,
    results: Any,
) -> None:
    uri, database = place
    try:
        with MongoClient[dict[str, Any]](uri) as client, ThreadPoolExecutor(max_workers=len(items)) as threads:
            client.admin.command("ping")
            store = ExportRepository(client[database])
            barrier.wait(timeout=_WORK_SECONDS)
            results.put((list(threads.map(lambda item: work(store, *item), items)), None))
    except Exception as error:
        results.put(([], f"{type(error).__name__}: {error}"))
        raise
