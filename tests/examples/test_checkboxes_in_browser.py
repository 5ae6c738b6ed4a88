"""The checkboxes example as visitors have it: in Chromium, on two server processes, on a real S3."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from s3dict import Client, Dict

from ..support.chromium import DESKTOP, PHONE, Chromium, ChromiumMissingError, Window, installed_chromium, open_browser
from ..support.modes import Endpoint
from .checkbox_servers import CheckboxServers

# The first run on a machine installs Chromium, which takes a minute or more.
pytestmark = pytest.mark.timeout(900)

BOXES = 1_000_000
PREFIX = f"browser-{os.getpid()}"
PROMISED_SECONDS = 2.0
_PATIENCE_SECONDS = 30.0
_POLL_SECONDS = 0.02


class Visitor:
    """One browser with the page open. Boxes have the numbers that are written on them, from 1."""

    def __init__(self, browser: Chrome, url: str) -> None:
        self.browser = browser
        self.url = url
        self.visit()

    def visit(self) -> None:
        self.browser.get(self.url)
        self.wait_until(lambda: self.state == "Live" and self.knows_its_boxes())

    def script(self, source: str, *arguments: object) -> Any:
        return self.browser.execute_script(source, *arguments)

    def knows_its_boxes(self) -> bool:
        return bool(self.script("return document.querySelector('.unknown') === null"))

    @property
    def state(self) -> str:
        return self.text("#state")

    def text(self, selector: str) -> str:
        return str(self.script("return document.querySelector(arguments[0]).textContent", selector))

    def box(self, number: int) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, f"[data-box='{number - 1}']")

    def is_checked(self, number: int) -> bool:
        return self.box(number).is_selected()

    def checked(self) -> set[int]:
        """Of the boxes in view, those that are checked."""
        found = self.script("return [...document.querySelectorAll('.row :checked')].map(box => box.dataset.box)")
        return {int(box) + 1 for box in found}

    def go_to(self, number: int) -> None:
        field = self.browser.find_element(By.ID, "number")
        field.clear()
        field.send_keys(str(number), Keys.ENTER)
        self.wait_until(self.knows_its_boxes)

    def press(self, *keys: str) -> None:
        self.browser.switch_to.active_element.send_keys(*keys)

    def focused(self) -> str:
        return str(self.script("return document.activeElement.getAttribute('aria-label')"))

    def log(self) -> list[Any]:
        """What the browser has complained of since this was last asked."""
        return list(self.browser.get_log("browser"))  # type: ignore[no-untyped-call]

    def wait_until(self, condition: Callable[[], object]) -> float:
        """Return how many seconds it took."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() < began + _PATIENCE_SECONDS, (self.state, self.log())
            time.sleep(_POLL_SECONDS)
        return time.monotonic() - began


@pytest.fixture(scope="module")
def chromium() -> Chromium:
    try:
        return installed_chromium()
    except ChromiumMissingError as error:
        pytest.skip(f"There is no Chromium: {error}")


@pytest.fixture(scope="module")
def servers(seaweedfs: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CheckboxServers]:
    environment = {
        "S3DICT_BUCKET": seaweedfs.bucket,
        "S3DICT_ENDPOINT_URL": seaweedfs.url,
        "S3DICT_PREFIX": PREFIX,
    }
    arguments = ["--servers=2", f"--boxes={BOXES}"]
    with CheckboxServers(tmp_path_factory.mktemp("checkboxes"), environment, arguments) as started:
        yield started


@contextmanager
def visiting(chromium: Chromium, window: Window, url: str) -> Iterator[Visitor]:
    with open_browser(chromium, window) as browser:
        yield Visitor(browser, url)


@pytest.fixture(scope="module")
def desktop(chromium: Chromium, servers: CheckboxServers) -> Iterator[Visitor]:
    """At the first server."""
    with visiting(chromium, DESKTOP, servers.urls(2)[0]) as visitor:
        yield visitor


@pytest.fixture(scope="module")
def phone(chromium: Chromium, servers: CheckboxServers) -> Iterator[Visitor]:
    """At the second server."""
    with visiting(chromium, PHONE, servers.urls(2)[1]) as visitor:
        yield visitor


def seconds_until_seen(by: Visitor, number: int, checked: bool) -> float:
    return by.wait_until(lambda: by.is_checked(number) == checked)


def test_visitors_of_two_servers_see_each_others_clicks_within_two_seconds(desktop: Visitor, phone: Visitor) -> None:
    took = []
    for number in (1, 2, 3):
        desktop.box(number).click()
        took.append(seconds_until_seen(phone, number, True))
        phone.box(number).click()
        took.append(seconds_until_seen(desktop, number, False))
    # On a busy machine one or the other may take longer.
    assert sorted(took)[len(took) // 2] < PROMISED_SECONDS, took


def test_reload_keeps_the_clicks(desktop: Visitor) -> None:
    desktop.box(11).click()
    desktop.wait_until(lambda: desktop.state == "Live")
    desktop.visit()
    assert desktop.is_checked(11)


def test_killed_server_loses_no_click(desktop: Visitor, phone: Visitor, servers: CheckboxServers) -> None:
    stored, on_the_way = set(range(21, 31)), set(range(31, 41))
    for number in sorted(stored):
        desktop.box(number).click()
    desktop.wait_until(lambda: desktop.state == "Live")
    # All at once, and the server dies before it can have answered most of them.
    desktop.script(
        "for (const box of arguments[0]) document.querySelector(`[data-box='${box - 1}']`).click()", sorted(on_the_way)
    )
    killed = servers.kill(desktop.url)
    phone.wait_until(lambda: (stored | on_the_way) <= phone.checked())
    desktop.wait_until(lambda: desktop.state == "Live")
    assert (stored | on_the_way) <= desktop.checked()
    assert servers.processes()[desktop.url] != killed


def test_click_during_an_outage_is_sent_after_reconnecting(
    desktop: Visitor, phone: Visitor, servers: CheckboxServers
) -> None:
    servers.kill(phone.url)
    phone.wait_until(lambda: phone.state == "Reconnecting")
    phone.box(50).click()
    seconds_until_seen(desktop, 50, True)
    phone.wait_until(lambda: phone.state == "Live")


@pytest.mark.parametrize(("device", "smallest"), [("desktop", 24), ("phone", 43)])
def test_page_fits_the_window_and_boxes_can_be_hit(device: str, smallest: int, request: pytest.FixtureRequest) -> None:
    visitor: Visitor = request.getfixturevalue(device)
    inside, wide = visitor.script("return [innerWidth, document.documentElement.scrollWidth]")
    assert wide <= inside
    size = visitor.box(1).size
    assert min(size["width"], size["height"]) >= smallest
    overlapping = visitor.script("""
        const inHeader = [...document.querySelectorAll("header > :not(.progress)")];
        const parts = inHeader.map((part) => part.getBoundingClientRect());
        return parts.some((one, n) => parts.some((two, m) => n < m && one.left < two.right && two.left < one.right
            && one.top < two.bottom && two.top < one.bottom) || one.right > innerWidth);
    """)
    assert not overlapping


def test_only_the_boxes_in_view_are_in_the_document(phone: Visitor) -> None:
    phone.go_to(BOXES)
    assert phone.script("return getComputedStyle(document.activeElement, '::before').outlineStyle") == "solid"
    assert phone.focused() == f"Box {BOXES:,}"
    assert phone.box(BOXES).is_displayed()
    assert phone.text("#range").endswith(f"{BOXES:,}")
    assert phone.script("return document.querySelectorAll('.row input').length") < 400
    phone.go_to(1)


def test_last_box_is_shared_too(desktop: Visitor, phone: Visitor) -> None:
    for visitor in (desktop, phone):
        visitor.go_to(BOXES)
    desktop.press(Keys.SPACE)
    seconds_until_seen(phone, BOXES, True)
    for visitor in (desktop, phone):
        visitor.go_to(1)


def test_keyboard_does_what_the_mouse_does(desktop: Visitor) -> None:
    desktop.go_to(500)
    columns = desktop.script("return document.querySelector('.row').children.length")
    desktop.press(Keys.ARROW_DOWN, Keys.ARROW_RIGHT, Keys.SPACE)
    assert desktop.focused() == f"Box {500 + columns + 1}"
    desktop.wait_until(lambda: desktop.is_checked(500 + columns + 1) and desktop.state == "Live")
    desktop.press(Keys.END)
    assert desktop.focused() == f"Box {BOXES:,}"
    desktop.press(Keys.HOME)
    desktop.wait_until(desktop.knows_its_boxes)
    desktop.press(Keys.SPACE)
    desktop.wait_until(lambda: desktop.is_checked(1))
    assert desktop.script("return document.querySelectorAll('.row input[tabindex=\"0\"]').length") == 1


def test_count_is_that_of_all_boxes(desktop: Visitor, phone: Visitor, seaweedfs: Endpoint) -> None:
    client = Client(seaweedfs.bucket, prefix=PREFIX, endpoint_url=seaweedfs.url)
    boxes: Dict[int, bytes] = Dict.from_name("checkboxes", client=client)

    def count() -> int:
        return sum(int.from_bytes(bitmap, "big").bit_count() for bitmap in boxes.values())

    checked = count() + 1
    phone.box(60).click()
    phone.wait_until(lambda: count() == checked)
    # A server polls the chunks that no page shows one after another, so that its count follows.
    desktop.wait_until(lambda: desktop.text("#checked") == f"{checked:,}")


def test_everything_comes_from_the_server_and_nothing_fails(desktop: Visitor) -> None:
    desktop.log()  # the killed servers are in it
    desktop.visit()
    loaded = desktop.script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert {f"{desktop.url}/page.css", f"{desktop.url}/page.js"} == set(loaded)
    assert desktop.log() == []
