"""Addresses of MongoDB: what cannot be understood is refused, what cannot be resolved just now is tried again."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import dns.message
import dns.rcode
import dns.resolver
import dns.rrset
import pytest

from tests.integration.queue_helpers import queued
from vfexport_core.errors import ConfigurationError, SourceUnavailable
from vfexport_core.mongo.client import connect, opened
from vfexport_core.mongo.retry import ReadRetries, RetryLimits, retry_read
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.services.initialise import initialise
from vfexport_core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    from vfexport_core.embedded import MongoServer

CLUSTER, MEMBER = "cluster.vf.test", "db.vf.test"
ADDRESS = f"mongodb+srv://user:passw0rd@{CLUSTER}/?tls=false"


class NameServer:
    """Answers where the members of the cluster are; `failing` of its next answers are SERVFAIL."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.failing = 0
        self.asked = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = self._socket.getsockname()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.sendto(b"", self.address)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            wire, caller = self._socket.recvfrom(4_096)
            if not wire:
                return
            self._socket.sendto(self._answer(dns.message.from_wire(wire)).to_wire(), caller)

    def _answer(self, query: dns.message.Message) -> dns.message.Message:
        self.asked += 1
        answer = dns.message.make_response(query)
        question = query.question[0]
        if self.failing:
            self.failing -= 1
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif question.rdtype == dns.rdatatype.SRV and CLUSTER in question.name.to_text():
            answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", "SRV", f"0 0 {self.port} {MEMBER}."))
        else:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer


@pytest.fixture
def names(mongo_server: MongoServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    server = NameServer(mongo_server.port)
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [server.address[0]], server.address[1]
    monkeypatch.setattr(dns.resolver, "default_resolver", resolver)
    look_up = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *args, **more: look_up(host.replace(MEMBER, "127.0.0.1"), *args, **more)
    )
    yield server
    server.close()


def settings_of(address: str, database: str = "nothing") -> Settings:
    return Settings.model_validate({"mongo_uri": address, "mongo_database": database})


def test_a_name_that_cannot_be_resolved_for_a_moment_fails_nothing(
    names: NameServer, database: Database[dict[str, Any]]
) -> None:
    store = ExportRepository(database)
    initialise(database)
    export = queued(store)
    address = ADDRESS.replace("user:passw0rd@", "")
    for failing in (0, 3):
        names.failing = failing
        with opened(settings_of(address, database.name)) as resolved:
            assert ExportRepository(resolved).get(export.id) == export
        names.failing = failing
        with opened(settings_of(address, database.name)) as resolved:
            assert retry_read(lambda: resolved["exports"].count_documents({}), ReadRetries("exports")) == 1
    assert names.failing == 0


def test_a_name_that_cannot_be_resolved_is_a_passing_fault(names: NameServer) -> None:
    names.failing = 1_000
    with opened(settings_of(ADDRESS)) as database:
        for read in (
            ExportRepository(database, RetryLimits(0.3)).running,
            lambda: retry_read(database["exports"].find_one, ReadRetries("exports", attempts=2)),
        ):
            names.asked = 0
            with pytest.raises(SourceUnavailable, match="could not be resolved") as caught:
                read()
            assert names.asked > 1, "it was tried again"
            assert "passw0rd" not in str(caught.value.as_dict())


@pytest.mark.parametrize(
    "address",
    [
        "mongodb://",
        "mongodb://host:port",
        "mongodb+srv://",
        f"mongodb+srv://{CLUSTER}:27017",
        f"mongodb+srv://{CLUSTER},{MEMBER}",
        f"mongodb+srv://us:er:passw0rd@{CLUSTER}",
    ],
)
def test_an_address_that_cannot_be_understood_is_refused_before_anything_is_asked(
    names: NameServer, address: str
) -> None:
    with pytest.raises(ConfigurationError, match="VFEXPORT_MONGO_URI") as caught:
        connect(settings_of(address))
    assert "passw0rd" not in str(caught.value.as_dict())
    assert names.asked == 0
