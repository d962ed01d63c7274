"""Serving the app with uvicorn.

``uvicorn --factory vfexport_core.api.server:app_factory`` does the same with the options that docs/operations.md names.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from multiprocessing import parent_process
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import uvicorn
from pydantic import BaseModel, SecretStr

from vfexport_core.api.app import create_app
from vfexport_core.api.auth.dev_tokens import new_private_key
from vfexport_core.api.connections import BoundedProtocol
from vfexport_core.api.metrics import SHARED_FOLDER
from vfexport_core.errors import ListenFailed
from vfexport_core.parent_death import ending_with
from vfexport_core.settings import PREFIX, load_settings
from vfexport_core.telemetry.logs import logging_config

if TYPE_CHECKING:
    from fastapi import FastAPI

    from vfexport_core.settings import Settings

APP_FACTORY = "vfexport_core.api.server:app_factory"

_GRACE_SECONDS = 10
# Longer than load balancers keep idle connections (60 s mostly): who closes first must not be the one that is asked. A
# request that comes in the moment of closing is lost. With uvicorn's 5 s a burst on a crowded machine lost one.
_KEEP_ALIVE_SECONDS = 75
# A worker process that has not answered its supervisor for so long is replaced, and with it what it was asked. On a
# crowded machine seconds go by.
_HUNG_SECONDS = 30


def app_factory() -> FastAPI:
    """Return the app from the environment; raises ConfigurationError.

    In a worker process it also has the process end when its supervisor is killed: it would go on listening where the
    next one is to.
    """
    supervisor = parent_process()
    if supervisor is not None and supervisor.pid is not None:
        ending_with(supervisor.pid, signal.SIGTERM)()
    return create_app(load_settings(), warm_up=True)


def serve(settings: Settings, host: str = "127.0.0.1", port: int = 8000, workers: int = 1) -> None:
    """Serve until SIGINT or SIGTERM, then finish the requests at hand; logs go to stderr (`Settings.log_format`).

    Several workers are processes of their own: they get the settings through the environment, and in dev mode a
    common key, so that each accepts the tokens of the others; they count their requests in a folder that they share.

    Raises `ListenFailed` where it cannot listen, before anything is opened.
    """
    _check_address(host, port)
    options: dict[str, Any] = {
        "host": host,
        "port": port,
        "http": BoundedProtocol,
        "ws": "none",  # the app has none, and their protocols have bounds of their own
        "log_config": logging_config(settings.log_format),
        "access_log": False,  # the app's own says more, and nothing private
        "server_header": False,
        "timeout_graceful_shutdown": _GRACE_SECONDS,
        "timeout_keep_alive": _KEEP_ALIVE_SECONDS,
        "timeout_worker_healthcheck": _HUNG_SECONDS,
    }
    if workers == 1:
        uvicorn.run(create_app(settings, warm_up=True), **options)
        return
    create_app(settings)  # wrong settings are refused here, before there are processes that could only die of them
    if settings.dev_mode and settings.dev_private_key is None:
        settings = settings.model_copy(update={"dev_private_key": SecretStr(new_private_key())})
    with TemporaryDirectory(prefix="vfexport-metrics-") as folder:
        os.environ.update(settings_environment(settings) | {SHARED_FOLDER: folder})
        uvicorn.run(APP_FACTORY, factory=True, workers=workers, **options)


def _check_address(host: str, port: int) -> None:
    """Take the address for a moment, as uvicorn will, which logs what is wrong and ends with a status of its own."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        where = f"{host}:{port}"
        why = (isinstance(error, OSError) and error.strerror) or type(error).__name__
        raise ListenFailed(f"nothing can listen on {where}: {why}", payload=where) from error


def settings_environment(settings: Settings) -> dict[str, str]:
    """Return the environment variables that `load_settings` reads these settings from."""
    return {f"{PREFIX}{name.upper()}": _text(value) for name, value in _revealed(settings).items()}


def _revealed(model: BaseModel) -> dict[str, Any]:
    """Return the set fields, secrets and all: where they go is where they came from."""
    values = {name: getattr(model, name) for name in type(model).model_fields}
    return {name: _plain(value) for name, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    match value:
        case SecretStr():
            return value.get_secret_value()
        case BaseModel():
            return _revealed(value)
        case dict():
            return {name: _plain(item) for name, item in value.items()}
        case tuple():
            return [_plain(item) for item in value]
        case _:
            return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
