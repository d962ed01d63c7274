"""The service brought up from `deploy/`'s processes, in the order that the files ask for, and brought down again."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import httpx
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from tests.api_tokens import signed
from tests.e2e.stack import START_SECONDS, WebServer
from vfexport_core.embedded.process import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.deploy.machine import Machine
    from tests.deploy.processes import Document, Process

CHECK_SECONDS = 10
CLIENT_SECONDS = 60
TOKEN_SECONDS = 3600
EVERYTHING = {"*": ["REPORT"]}


@dataclass(frozen=True)
class Service:
    """The running service; `processes` are those that stay."""

    machine: Machine
    processes: list[Process]
    api: httpx.Client
    web: WebServer
    stack: ExitStack

    def restart(self, process: Process) -> None:
        """Replace a process as a roll-out does: the old one is told to end, the new one is waited for."""
        self.machine.end(process)
        server = self.stack.enter_context(self.machine.started(process))
        server.wait_until(lambda: is_ready(self.machine, process), START_SECONDS)


@contextmanager
def running_service(machine: Machine, processes: list[Process]) -> Iterator[Service]:
    """Run those that come first to their good end, then start each other one when those before it are ready."""
    staying = [process for process in processes if not process.comes_first]
    for process in processes:
        if process.comes_first:
            done = machine.run(process)
            assert done.returncode == 0, f"{process.name}: {done.stdout}{done.stderr}"
    token = signed(permissions=EVERYTHING, exp=int(time.time()) + TOKEN_SECONDS)
    with (
        ExitStack() as stack,
        httpx.Client(
            base_url=machine.url(8000), timeout=CLIENT_SECONDS, headers={"Authorization": f"Bearer {token}"}
        ) as api,
        httpx.Client(base_url=machine.url(3000), timeout=CLIENT_SECONDS) as dagster,
    ):
        for process in staying:
            server = stack.enter_context(machine.started(process))
            server.wait_until(lambda process=process: is_ready(machine, process), START_SECONDS)
        yield Service(machine, staying, api, WebServer(dagster), stack)


def is_ready(machine: Machine, process: Process) -> bool:
    """Return whether a process passes those of its checks that say that it may be used."""
    telling = {name: check for name, check in process.checks.items() if name != "livenessProbe"}
    return all(passes(machine, process, check) for check in telling.values())


def passes(machine: Machine, process: Process, check: Document) -> bool:
    """Do a check once, as a kubelet or compose would."""
    if "exec" in check:
        return machine.run(process, check["exec"]["command"]).returncode == 0
    if "grpc" in check:
        return _serves(machine.ports[str(check["grpc"]["port"])], check["grpc"].get("service", ""))
    if "httpGet" in check:
        return _answers(f"{machine.url(check['httpGet']['port'])}{check['httpGet']['path']}")
    return _listens(machine.ports[str(check["tcpSocket"]["port"])])


def _serves(port: str, service: str) -> bool:
    with grpc.insecure_channel(f"{HOST}:{port}") as channel:
        try:
            answer: Any = HealthStub(channel).Check(HealthCheckRequest(service=service), timeout=CHECK_SECONDS)
        except grpc.RpcError:
            return False
        return answer.status == HealthCheckResponse.SERVING


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=CHECK_SECONDS).is_success
    except httpx.TransportError:
        return False


def _listens(port: str) -> bool:
    try:
        socket.create_connection((HOST, int(port)), CHECK_SECONDS).close()
    except OSError:
        return False
    return True
