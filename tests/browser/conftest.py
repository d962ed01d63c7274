"""A browser without a window, and an API for it to speak to. Needs Chromium, its driver and the extra `browser`."""

from __future__ import annotations

import shutil
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from tests.api_client import insert_campaign, wait_for
from tests.api_server import free_port
from tests.conftest import new_database
from tests.servers import unique
from vfexport_core.api.app import create_app
from vfexport_core.api.connections import BoundedProtocol
from vfexport_core.embedded import embedded_environment
from vfexport_core.embedded.environment import s3_client
from vfexport_core.queue.repository import ExportRepository
from vfexport_core.services.initialise import initialise
from vfexport_core.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo import MongoClient
    from pymongo.database import Database

    from vfexport_core.api.auth.dev_tokens import DevSigner
    from vfexport_core.api.container import AppContainer
    from vfexport_core.api.page.feed import ExportFeed
    from vfexport_core.embedded import MongoServer, S3Server

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def missing() -> str | None:
    """Say what is missing for these tests; None when nothing is."""
    if not any(map(shutil.which, _BROWSERS)):
        return f"no browser: none of {', '.join(_BROWSERS)} is installed"
    if not shutil.which("chromedriver"):
        return "no chromedriver: on Debian it is in the package chromium-driver"
    try:
        import selenium
    except ModuleNotFoundError:
        return "selenium is not installed: pip install -e '.[browser]'"
    return None if selenium.__version__ else "selenium is broken"


@dataclass(frozen=True, slots=True)
class Service:
    """A running API, and the database behind it."""

    url: str
    container: AppContainer
    database: Database[dict[str, Any]]
    store: ExportRepository
    feed: ExportFeed

    def campaign(self, name: str) -> str:
        return insert_campaign(self.database, name=name)

    def token(self, *campaigns: str) -> str:
        signer: DevSigner | None = self.container.access.signer
        assert signer is not None
        return signer.sign("ada", {campaign: ["REPORT"] for campaign in campaigns or ("*",)}, supreme=False)


@pytest.fixture(scope="module")
def service(
    mongo_client: MongoClient[dict[str, Any]], mongo_server: MongoServer, s3_server: S3Server
) -> Iterator[Service]:
    with new_database(mongo_client) as database, pytest.MonkeyPatch.context() as patch:
        with closing(s3_client(s3_server)) as client:
            environment = embedded_environment(mongo_server, s3_server, bucket_suffix=unique("-page"), client=client)
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setenv("VFEXPORT_MONGO_DATABASE", database.name)
        initialise(database)
        app = create_app(load_settings(None))
        with serving(app) as url:
            yield Service(url, app.state.container, database, ExportRepository(database), app.state.feed)


@contextmanager
def serving(app: Any) -> Iterator[str]:
    port = free_port()
    config = uvicorn.Config(app, port=port, http=BoundedProtocol, log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="session")
def browser(downloads: Path) -> Iterator[Any]:
    """Return Chromium, driven by its driver; skipped with a word where there is none."""
    if (why := missing()) is not None:
        pytest.skip(why)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service as Driver

    options = webdriver.ChromeOptions()
    options.binary_location = next(filter(None, map(shutil.which, _BROWSERS)))
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--lang=en"):
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Driver(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()
