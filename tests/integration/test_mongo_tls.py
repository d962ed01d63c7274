"""MongoDB behind TLS: who signs its certificate, and who we are, is said by settings."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from vfexport_core.errors import ConfigurationError, SourceUnavailable
from vfexport_core.mongo import client as client_module
from vfexport_core.mongo.client import connect, opened, reading
from vfexport_core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vfexport_core.embedded import MongoServer


def certificate(folder: Path, name: str) -> Path:
    """Write a certificate of 127.0.0.1 that has signed itself, and its key, into one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + plain)
    return path


class TlsServer:
    """Speaks TLS with whoever has a certificate of ours, and passes on to `target` what it hears."""

    def __init__(self, target: tuple[str, int], own: Path, clients: Path) -> None:
        self._target = target
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(clients))
        self._context.load_cert_chain(own)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.subjects: list[Any] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        client = self._context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        with suppress(OSError), client, socket.create_connection(self._target) as server:
            client.do_handshake()
            self.subjects.append(client.getpeercert())
            back = threading.Thread(target=_pass_on, args=(server, client))
            back.start()
            _pass_on(client, server)
            back.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(65_536):
            target.sendall(block)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("certificates")
    return {name: str(certificate(folder, name)) for name in ("server", "vfexport", "other")}


@pytest.fixture
def server(mongo_server: MongoServer, files: dict[str, str], tmp_path: Path) -> Iterator[TlsServer]:
    from pathlib import Path as Found

    server = TlsServer(("127.0.0.1", mongo_server.port), Found(files["server"]), Found(files["vfexport"]))
    yield server
    server.close()


def settings_of(server: TlsServer, **more: Any) -> Settings:
    uri = f"mongodb://127.0.0.1:{server.port}/?directConnection=true&serverSelectionTimeoutMS=300"
    return Settings(_env_file=None, mongo_uri=SecretStr(uri), **more)


def test_the_authority_and_the_own_certificate_come_from_files(server: TlsServer, files: dict[str, str]) -> None:
    settings = settings_of(server, mongo_tls_ca_file=files["server"], mongo_tls_certificate_file=files["vfexport"])
    with opened(settings) as database, reading("ping"):
        assert database.command("ping")["ok"] == 1
    assert {dict(part[0] for part in peer["subject"])["commonName"] for peer in server.subjects} == {"vfexport"}


def test_another_authority_is_not_believed(server: TlsServer, files: dict[str, str]) -> None:
    settings = settings_of(server, mongo_tls_ca_file=files["other"], mongo_tls_certificate_file=files["vfexport"])
    with opened(settings) as database, pytest.raises(SourceUnavailable), reading("ping"):
        database.command("ping")
    assert server.subjects == []


def test_files_that_are_none_are_refused_by_their_variables(server: TlsServer, files: dict[str, str]) -> None:
    for wrong in ({"mongo_tls_ca_file": "/nowhere.pem"}, {"mongo_tls_certificate_file": __file__}):
        with pytest.raises(ConfigurationError, match="VFEXPORT_MONGO_TLS_"):
            connect(settings_of(server, **wrong))


def test_x509_says_who_we_are_by_the_certificate(server: TlsServer, files: dict[str, str]) -> None:
    settings = settings_of(server, mongo_tls_certificate_file=files["vfexport"], mongo_auth_mechanism="MONGODB-X509")
    client = connect(settings)
    credentials: Any = client.options.pool_options._credentials
    assert (credentials.mechanism, credentials.source) == ("MONGODB-X509", "$external")
    client.close()


def test_a_role_of_aws_is_refused_where_the_package_for_it_is_missing(
    server: TlsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(server, mongo_auth_mechanism="MONGODB-AWS")
    monkeypatch.setattr(client_module, "_AWS_PACKAGE", "no_such_package")
    with pytest.raises(
        ConfigurationError, match=r"VFEXPORT_MONGO_AUTH_MECHANISM: .* needs the package no_such_package"
    ):
        connect(settings)
    monkeypatch.setattr(client_module, "_AWS_PACKAGE", "json")
    client = connect(settings)
    credentials: Any = client.options.pool_options._credentials
    assert (credentials.mechanism, credentials.source) == ("MONGODB-AWS", "$external")
    client.close()
