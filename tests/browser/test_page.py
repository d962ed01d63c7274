"""The administrators' page as a person uses it: with a mouse, with keys alone, on a phone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.api_client import wait_for
from tests.integration.queue_helpers import queued
from vfexport_core.api.page.feed import FeedLimits
from vfexport_core.queue.models import Delivered, ExportStatus, FileProblem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.browser.conftest import Service
    from vfexport_core.queue.models import Claim, Export

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(120)]

EVIL = "<img src=x onerror=document.title='evil'> & Söhne"
TAB, ENTER = "\ue004", "\ue007"
ERROR = {"code": "NoMarketsFound", "message": "the campaign has no market", "payload": None}


class Page:
    """The page in the browser, by what a person sees of it."""

    def __init__(self, browser: Any, service: Service) -> None:
        self.browser, self.service = browser, service

    def open(self, fragment: str = "") -> None:
        self.browser.get("about:blank")
        self.browser.get(f"{self.service.url}/{fragment}")

    def one(self, selector: str) -> Any:
        return self.browser.find_element("css selector", selector)

    def sees(self, text: str, selector: str = "body") -> None:
        """Wait until a text can be seen."""
        wait_for(lambda: self.browser.execute_script(SHOWN, selector, text), seconds=15)

    def click(self, selector: str) -> None:
        wait_for(lambda: self.one(selector).is_displayed())
        self.one(selector).click()

    def choose(self, selector: str, value: str) -> None:
        wait_for(lambda: self.browser.find_elements("css selector", f"{selector} option[value='{value}']"))
        self.click(f"{selector} option[value='{value}']")

    def sign_in(self, token: str) -> None:
        self.open()
        wait_for(lambda: self.one("#token").is_displayed())
        self.one("#token").send_keys(token)
        self.click("#sign-in-form [type=submit]")

    def show(self, campaign: str) -> None:
        self.choose("#campaign", campaign)
        self.click("#campaign-form [type=submit]")
        wait_for(lambda: self.one("#chosen").is_displayed())

    def row(self, export: Export) -> str:
        return f"tr[data-export='{export.id}']"

    def storage(self) -> dict[str, str]:
        return self.browser.execute_script("return {...localStorage, ...sessionStorage}")


SHOWN = """
const element = document.querySelector(arguments[0]);
return element !== null && element.innerText.includes(arguments[1]);
"""


@pytest.fixture
def page(browser: Any, service: Service) -> Iterator[Page]:
    page = Page(browser, service)
    page.open()
    browser.execute_script("sessionStorage.clear()")
    page.open()
    browser.set_window_size(1280, 900)
    browser.get_log("browser")  # what other pages have left there is theirs
    yield page
    # Whatever the policy forbids, and whatever fails in a script, is noted there.
    noted = [entry["message"] for entry in browser.get_log("browser") if entry["source"] != "network"]
    assert noted == []


def claim(service: Service, export: Export) -> Claim:
    return service.store.claim(export.id, f"run-{export.id}")[0]


def newest(service: Service, campaign: str) -> Export:
    return wait_for(lambda: service.store.list(campaign_id=campaign))[0]


def finish(service: Service, claimed: Claim, key: str, *, bucket: str = "exportsS3") -> None:
    delivered = Delivered(bucket=bucket, keys=(key,), rows=1_234, bytes=5_000_000, sha256=("ab" * 32,))
    service.store.claimed(claimed).finish(delivered)


def test_an_export_from_its_request_to_its_file(page: Page, service: Service, downloads: Path) -> None:
    campaign = service.campaign("Summer Tour")
    page.sign_in(service.token())
    page.show(campaign)
    page.sees("Nothing was exported of this campaign yet.")
    page.choose("#type", "entries")
    page.click("#request-form [type=submit]")
    export = newest(service, campaign)
    page.sees("next in the queue", page.row(export))
    page.sees("ada", page.row(export))

    claimed = claim(service, export)
    service.store.claimed(claimed).set_count(200)
    service.store.claimed(claimed).progress(50, 49, 1_000)
    page.sees("25 %, 49 rows", page.row(export))
    page.sees("left", page.row(export))
    assert page.one(f"{page.row(export)} progress").get_attribute("value") == "25"

    key = f"{campaign}/entries/x.csv"
    bucket = service.container.buckets.bucket("exportsS3")
    bucket.call("put_object", {"Key": key, "Body": b"id\n1\n"})
    finish(service, claimed, key)
    page.sees("1,234 rows, 5 MB", page.row(export))
    page.click(f"{page.row(export)} button")
    file = wait_for(lambda: [*downloads.glob("Summer Tour - entries - *.csv")])[0]
    assert file.read_bytes() == b"id\n1\n"
    page.sees("entries is downloaded.", "#status")


def test_a_file_that_is_missing_is_told_of_and_not_offered(page: Page, service: Service) -> None:
    campaign = service.campaign("Lost Tour")
    page.sign_in(service.token(campaign))
    page.show(campaign)
    page.click("#request-form [type=submit]")
    export = newest(service, campaign)
    finish(service, claim(service, export), "lost.csv")
    page.sees("Download", page.row(export))
    page.browser.execute_script("window.fetch = async () => Response.json({})")  # it goes just before one asks for it
    page.click(f"{page.row(export)} button")
    page.sees("The export has no file to download any more.", "#problem")
    service.store.note_file_problem(export.id, "lost.csv", FileProblem.MISSING)
    page.sees("the file is missing", page.row(export))
    assert not page.browser.find_elements("css selector", f"{page.row(export)} button")


def test_a_failure_says_why_and_what_to_do_and_is_tried_again(page: Page, service: Service) -> None:
    campaign = service.campaign("Autumn Tour")
    page.sign_in(service.token(campaign))
    page.show(campaign)
    page.click("#request-form [type=submit]")
    export = newest(service, campaign)
    page.sees("PENDING", page.row(export))
    service.store.claimed(claim(service, export)).fail(ERROR)
    page.sees("the campaign has no market", page.row(export))
    page.sees("Add a market to the campaign", page.row(export))
    page.sees("entries: FAILED", "#status")
    page.click(f"{page.row(export)} button")
    page.sees("attempt 2", page.row(export))
    assert service.store.get(export.id).status is ExportStatus.PENDING
    page.sees("Cancel", page.row(export))
    page.click(f"{page.row(export)} button")
    page.sees("CANCELED", page.row(export))
    assert service.store.get(export.id).status is ExportStatus.CANCELED


def test_what_waits_says_for_what(page: Page, service: Service) -> None:
    campaign = service.campaign("Paused Tour")
    service.store.pause.begin("moving house", "ada")
    try:
        page.sign_in(service.token(campaign))
        page.show(campaign)
        page.click("#request-form [type=submit]")
        page.sees("waits: the queue has been paused since", page.row(newest(service, campaign)))
        page.sees("moving house", "#exports")
    finally:
        service.store.pause.end()
    page.sees("starts in about", "#exports")


def test_types_ask_for_what_they_need(page: Page, service: Service) -> None:
    campaign = service.campaign("Winter Tour")
    odd = "9" * 32  # no moment, and yet a key
    for key in (odd, "1773936000000"):
        service.database["codes"].insert_one({"_id": campaign + key, "campaignId": campaign, "dateKey": key})
    page.sign_in(service.token())
    page.show(campaign)
    page.choose("#type", "codeWaves")
    page.sees(odd, "#wave")
    page.choose("#wave", "1773936000000")
    assert not page.one("#markets-field").is_displayed()
    page.sees("1773936000000 (2026-03-19 16:00 UTC)", "#wave")
    page.click("#request-form [type=submit]")
    assert newest(service, campaign).date_key == "1773936000000"
    page.choose("#type", "entries")
    assert not page.one("#wave-field").is_displayed()
    page.click("#markets")
    page.click("#request-form [type=submit]")
    wait_for(lambda: len(service.store.list(campaign_id=campaign)) == 2)
    assert newest(service, campaign).include_all_markets


def test_a_token_stays_in_the_tab_and_out_of_addresses(page: Page, service: Service) -> None:
    campaign = service.campaign("Spring Tour")
    page.sign_in("nonsense")
    page.sees("the token is refused: it is not a JWT", "#problem")
    assert page.storage() == {}
    token = service.token(campaign)
    page.sign_in(token)
    page.show(campaign)
    assert page.browser.current_url == f"{service.url}/#campaign={campaign}"
    assert page.browser.execute_script("return localStorage.length") == 0
    assert page.storage() == {"vfexport.token": token}
    seen = page.browser.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert seen
    assert not any(token in address for address in seen)
    page.browser.refresh()
    page.sees("live", "#live")
    assert page.one("#campaign").get_attribute("value") == campaign
    page.click("#sign-out")
    assert page.storage() == {}
    page.sees("Signed out.", "#status")


def test_only_permitted_campaigns_are_offered_and_others_are_refused(page: Page, service: Service) -> None:
    own, other = service.campaign("Own"), service.campaign("Other")
    page.sign_in(service.token(own))
    page.sees("Own", "#campaign")
    assert other not in page.one("#campaign").get_attribute("innerHTML")
    page.one("#campaign-id").send_keys(other, ENTER)
    page.sees("the token does not allow REPORT for this campaign", "#problem")
    assert not page.one("#chosen").is_displayed()


def test_names_are_shown_and_never_run(page: Page, service: Service) -> None:
    campaign = service.campaign(EVIL)
    page.sign_in(service.token(campaign))
    page.sees(EVIL, "#campaign")
    page.show(campaign)
    assert page.browser.title == "Exports of fan registrations"


def test_keys_are_enough_and_the_focus_stays(page: Page, service: Service) -> None:
    campaign = service.campaign("Keys")
    page.open()
    page.one("body").send_keys(TAB)
    active = page.browser.switch_to.active_element
    assert active.get_attribute("id") == "token"
    active.send_keys(service.token(campaign), ENTER)
    page.sees("Signed in as ada", "header")
    wait_for(lambda: page.browser.switch_to.active_element.get_attribute("id") == "campaign")
    page.browser.switch_to.active_element.send_keys(TAB, TAB, ENTER)
    wait_for(lambda: page.one("#chosen").is_displayed())
    page.one("#campaign-form [type=submit]").send_keys(TAB)
    assert page.browser.switch_to.active_element.get_attribute("id") == "type"
    page.one("#request-form [type=submit]").send_keys(ENTER)
    export = newest(service, campaign)
    button = wait_for(lambda: page.browser.find_elements("css selector", f"{page.row(export)} button"))[0]
    button.send_keys("")
    page.browser.execute_script("arguments[0].focus()", button)
    claimed = claim(service, export)
    page.sees("TRIGGERED", page.row(export))
    assert page.browser.switch_to.active_element == button, "the row has changed around it"
    service.store.claimed(claimed).fail(ERROR)
    page.sees("FAILED", page.row(export))
    focused = page.browser.switch_to.active_element
    assert focused.text == "Retry"
    assert focused.accessible_name.startswith("Retry entries of ")


def test_everything_has_a_name_for_a_screen_reader(page: Page, service: Service) -> None:
    campaign = service.campaign("Names")
    page.sign_in(service.token(campaign))
    page.show(campaign)
    page.click("#request-form [type=submit]")
    page.sees("PENDING", "#exports")
    for element in page.browser.find_elements("css selector", "input, select, button, a, table, progress, section"):
        if element.is_displayed():
            assert element.accessible_name, element.get_attribute("outerHTML")
    roles = {page.one(selector).aria_role for selector in ("#status", "#problem", "main", "#exports")}
    assert roles == {"status", "alert", "main", "table"}
    assert page.browser.execute_script("return document.documentElement.lang") == "en"
    levels = [element.tag_name for element in page.browser.find_elements("css selector", "h1, h2")]
    assert levels[0] == "h1"
    assert set(levels[1:]) == {"h2"}


@pytest.mark.parametrize("width", [360, 768])
def test_it_fits_a_phone(page: Page, service: Service, width: int) -> None:
    campaign = service.campaign("A long name of a tour with many cities and a festival or two " * 3)
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page.sign_in(service.token(campaign))
        page.show(campaign)
        page.click("#request-form [type=submit]")
        export = newest(service, campaign)
        long = ERROR | {"message": "x" * 300}
        service.store.claimed(claim(service, export)).fail(long)
        page.sees("FAILED", page.row(export))
        assert page.browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert page.one(f"{page.row(export)} button").rect["height"] >= 40
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_it_goes_on_by_itself_when_the_connection_was_lost(
    page: Page, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = service.campaign("Lost")
    page.sign_in(service.token(campaign))
    page.show(campaign)
    page.sees("live", "#live")
    monkeypatch.setattr(service.feed, "_limits", FeedLimits(longest_seconds=0))  # what is begun ends by itself
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    page.browser.execute_cdp_cmd("Network.enable", {})
    page.browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    try:
        page.sees("trying again", "#live")
    finally:
        monkeypatch.undo()
        back = offline | {"offline": False, "downloadThroughput": -1, "uploadThroughput": -1}
        page.browser.execute_cdp_cmd("Network.emulateNetworkConditions", back)
    page.click("#request-form [type=submit]")
    page.sees("PENDING", "#exports")
    page.sees("live", "#live")


def test_a_tab_that_nobody_sees_follows_nothing(page: Page, service: Service) -> None:
    campaign = service.campaign("Hidden Tour")
    page.sign_in(service.token(campaign))
    page.show(campaign)
    page.sees("live", "#live")
    turn = """
    Object.defineProperty(document, "hidden", { configurable: true, get: () => arguments[0] });
    document.dispatchEvent(new Event("visibilitychange"));
    """
    page.browser.execute_script(turn, True)
    wait_for(lambda: service.feed.streams == 0)
    queued(service.store, campaign_id=campaign)
    page.browser.execute_script(turn, False)
    page.sees("PENDING", "#exports")


def test_dev_mode_signs_in_without_a_token(page: Page, service: Service) -> None:
    service.campaign("Dev")
    page.click("#dev-sign-in")
    page.sees("Signed in as page", "header")
    assert json.loads(json.dumps(page.storage())).keys() == {"vfexport.token"}
