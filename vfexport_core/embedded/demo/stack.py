"""Everything that the demo runs, started in the order in which it is needed and as much of it at once as can be."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from vfexport_core.catalog import Bucket
from vfexport_core.embedded.demo.api_client import ApiClient
from vfexport_core.embedded.demo.children import Children, answers
from vfexport_core.embedded.demo.dagster import prepare_home, start_dagster
from vfexport_core.embedded.demo.isolation import isolated
from vfexport_core.embedded.environment import embedded_environment
from vfexport_core.embedded.mongo import embedded_mongo
from vfexport_core.embedded.process import HOST, ServerProcess, free_port
from vfexport_core.embedded.s3 import embedded_s3
from vfexport_core.embedded.synthetic import seed_campaign
from vfexport_core.mongo.client import opened
from vfexport_core.services.initialise import initialise
from vfexport_core.settings import load_settings
from vfexport_core.storage.buckets import BucketClients

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from vfexport_core.settings import Settings


@dataclass(frozen=True, slots=True)
class Ports:
    """Which ports to listen on; 0 is a free one."""

    mongo: int = 0
    s3: int = 0
    api: int = 0
    dagster: int = 0


class Audience(Protocol):
    """Whoever watches the start."""

    def started(self, name: str, address: str) -> None:
        """Hear that a part of the stack is up; may be called from another thread."""
        ...

    def loaded(self, entries: int) -> None:
        """Hear how many entries of the synthetic campaign are loaded."""
        ...


@dataclass(slots=True)
class Stack:
    """A running stack with a campaign in it. `buckets` gives the S3 names of the catalog's, `logs` is a folder."""

    campaign_id: str
    addresses: dict[str, str]
    buckets: dict[str, str]
    logs: Path
    client: ApiClient
    _children: Children
    _dagster: Future[ServerProcess]

    def check(self) -> None:
        """Raise EmbeddedServerFailed when anything has died, or Dagster did not come up."""
        self._children.check()
        if self._dagster.done():
            self._dagster.result()

    def wait_for_dagster(self) -> None:
        """Wait until Dagster is up; raises as `check` does."""
        while not self._dagster.done():
            self.check()
            wait([self._dagster], timeout=0.2)
        self.check()


@contextlib.contextmanager
def running_stack(checkout: Path, folder: Path, ports: Ports, entries: int, audience: Audience) -> Generator[Stack]:
    """Run everything for the block. Dagster may still be starting when it begins: the queue works without it.

    Raises EmbeddedServerFailed, with the end of its log, when a part of it does not come up.
    """
    with isolated(folder), ExitStack() as exits:
        children = Children(folder, exits)
        settings, addresses = _start_servers(children, ports, audience)
        prepare_home(checkout, folder)
        dagster_port, api_port = ports.dagster or free_port(), ports.api or free_port()
        pool = ThreadPoolExecutor(1, thread_name_prefix="dagster")
        exits.callback(pool.shutdown)
        dagster = pool.submit(_start_dagster, children, dagster_port, audience)
        try:
            api = children.start("API", "vfexport_core.cli", ["api", "--host", HOST, "--port", str(api_port)])
            with opened(settings) as database:
                initialise(database)
                campaign_id = seed_campaign(database, entries=entries, on_progress=audience.loaded)
            children.wait_for(api, lambda: answers(api_port, "/ready"))
            api_url = f"http://{HOST}:{api_port}"
            audience.started("API", api_url)
            addresses |= {
                "Page": f"{api_url}/#campaign={campaign_id}",
                "Dagster UI": f"http://{HOST}:{dagster_port}",
                "API": api_url,
                "API docs": f"{api_url}/docs",
            }
            yield Stack(campaign_id, addresses, _bucket_names(settings), folder, ApiClient(api_port), children, dagster)
        finally:
            # Nothing more is started. Then the processes are killed, which also ends all waiting for them.
            children.stopping.set()


def _start_servers(children: Children, ports: Ports, audience: Audience) -> tuple[Settings, dict[str, str]]:
    """Start MongoDB and S3 beside each other, and point the environment at them."""
    folder = children.folder
    mongo, s3 = _enter_all(
        children.exits,
        embedded_mongo(folder / "mongo", port=ports.mongo, durable=False, stop_seconds=0),
        embedded_s3(folder / "s3", port=ports.s3, stop_seconds=0),
    )
    children.watch("MongoDB server", mongo.pid, folder / "mongo" / "server.log")
    children.watch("S3 server", s3.pid, folder / "s3" / "server.log")
    os.environ.update(embedded_environment(mongo, s3))
    audience.started("MongoDB", mongo.uri)
    audience.started("S3", s3.endpoint_url)
    return load_settings(env_file=None), {"MongoDB": mongo.uri, "S3": s3.endpoint_url}


def _start_dagster(children: Children, port: int, audience: Audience) -> ServerProcess:
    daemon = start_dagster(children, port)
    audience.started("Dagster", f"http://{HOST}:{port}")
    return daemon


def _enter_all(exits: ExitStack, *contexts: contextlib.AbstractContextManager[Any]) -> list[Any]:
    """Enter contexts at the same time; all that were entered are left again, whatever happens to the others."""
    with ThreadPoolExecutor(len(contexts)) as pool:
        entering = [pool.submit(context.__enter__) for context in contexts]
        try:
            wait(entering)
        finally:
            wait(entering)  # also when a signal interrupted the first wait
            for context, entered in zip(contexts, entering, strict=True):
                if entered.exception() is None:
                    exits.push(context)
    return [entered.result() for entered in entering]


def _bucket_names(settings: Settings) -> dict[str, str]:
    with BucketClients(settings) as clients:
        return {bucket.value: clients.store(bucket).name for bucket in Bucket}
