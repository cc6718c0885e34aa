"""Opens pages in a real Chromium, and says what a person would stumble over."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, sync_playwright

PHONE = {"width": 360, "height": 740}  # pixels
LOCAL = ("file:", "data:", "blob:", "about:", "http://127.0.0.1", "http://localhost")
SERIOUS = {"serious", "critical"}  # of axe-core's minor, moderate, serious, critical


class CheckedPage:
    """A page of the browser that collects what must not happen.

    Attributes:
        page: Playwright's page.
        faults: errors of the console and of scripts, and requests that leave the machine.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.faults: list[str] = []
        page.on("console", self._note_console)
        page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))
        page.on("request", self._note_request)

    def _note_console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console: {message.text}")

    def _note_request(self, request) -> None:
        if not request.url.startswith(LOCAL):
            self.faults.append(f"request: {request.url}")

    def accessibility_faults(self) -> list[str]:
        """Serious findings of axe-core, a line each: rule, what it says, the elements."""
        violations = Axe().run(self.page).response["violations"]
        return [
            f"{entry['id']}: {entry['help']}: {[node['target'] for node in entry['nodes']][:3]}"
            for entry in violations
            if entry["impact"] in SERIOUS
        ]

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window; 0 if nothing is cut off."""
        script = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return int(self.page.evaluate(script))


@contextmanager
def chromium_page(
    width: int = 1280, height: int = 800, dark: bool = False
) -> Iterator[CheckedPage]:
    """A page in Debian's Chromium; the test is skipped where it is not installed."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        try:
            page = browser.new_page(
                viewport={"width": width, "height": height},
                color_scheme="dark" if dark else "light",
            )
            yield CheckedPage(page)
        finally:
            browser.close()
