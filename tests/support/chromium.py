"""Headless Chromium, driven by Selenium: Debian's packages, which the first use installs when they are missing.

with open_browser(installed_chromium(), DESKTOP) as browser: ...
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

__all__ = ["DESKTOP", "PHONE", "Chromium", "ChromiumMissingError", "Window", "installed_chromium", "open_browser"]

_PACKAGES = ("chromium", "chromium-driver")
_INSTALL_SECONDS = 900.0
_LOCK = Path(tempfile.gettempdir()) / "s3dict-tests-chromium.lock"


class ChromiumMissingError(Exception):
    """Chromium is not here and could not be installed; the message says why."""


@dataclass(frozen=True, slots=True)
class Chromium:
    """Where the browser and its driver are."""

    browser: str
    driver: str


@dataclass(frozen=True, slots=True)
class Window:
    """A viewport in CSS pixels; a touch screen has device pixels half as wide, and no mouse."""

    width: int
    height: int
    touch: bool = False
    dark: bool = False


DESKTOP = Window(1280, 800)
PHONE = Window(390, 844, touch=True)


def installed_chromium() -> Chromium:
    """Chromium, after installing it if need be. Raises ChromiumMissingError."""
    # The lock serves test runs that begin at once.
    with _LOCK.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if _found() is None:
            _install()
    found = _found()
    if found is None:
        raise ChromiumMissingError(f"the packages {' and '.join(_PACKAGES)} have no commands of that name")
    return found


@contextmanager
def open_browser(chromium: Chromium, window: Window) -> Iterator[Chrome]:
    """A browser of its own, with nothing remembered, whose page has the window's size."""
    service = ChromeService(executable_path=chromium.driver)
    browser = Chrome(options=_options(chromium, window), service=service)
    try:
        _emulate(browser, window)
        yield browser
    finally:
        browser.quit()


def _found() -> Chromium | None:
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    return Chromium(browser, driver) if browser and driver else None


def _install() -> None:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise ChromiumMissingError(f"apt-get install {' '.join(_PACKAGES)} needs root and Debian")
    options = ["--yes", "--quiet", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"]
    _run("apt-get", "update", "--quiet")
    _run("apt-get", "install", *options, *_PACKAGES)


def _run(*command: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=_INSTALL_SECONDS
    )
    if done.returncode:
        raise ChromiumMissingError(f"{' '.join(command)} failed: {done.stderr.strip()}")


def _options(chromium: Chromium, window: Window) -> ChromeOptions:
    options = ChromeOptions()
    options.binary_location = chromium.browser
    options.add_argument("--headless=new")
    options.add_argument("--disable-dev-shm-usage")  # containers have a small one
    options.add_argument(f"--window-size={window.width},{window.height}")
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    # Two windows on one machine are both in front: nothing may put the hidden one to sleep.
    options.add_argument("--disable-backgrounding-occluded-windows")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return options


def _emulate(browser: Chrome, window: Window) -> None:
    metrics = {
        "width": window.width,
        "height": window.height,
        "deviceScaleFactor": 2 if window.touch else 1,
        "mobile": window.touch,
    }
    scheme = {"name": "prefers-color-scheme", "value": "dark" if window.dark else "light"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": window.touch})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
