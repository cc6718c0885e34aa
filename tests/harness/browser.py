"""Opens pages in a real Chromium, and says what a person would stumble over."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

CHROMIUM_OPTIONS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
expect.set_options(timeout=30_000)  # milliseconds, for pages of machines that are busy
SERIOUS = {"serious", "critical"}  # of axe-core's minor, moderate, serious, critical
WITHOUT_ASSISTANT = """if (window === top) {
  localStorage.setItem("mlflow.assistant.panelOpen_v1", "false")
  localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true")
}"""  # which covers a third of the window


def chromium() -> str | None:
    """The path of the first Chromium on PATH, None if there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


@contextmanager
def browser() -> Iterator[Browser]:
    """A Chromium that sends no requests of its own."""
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_OPTIONS) as opened,
    ):
        yield opened


def watched(browser: Browser) -> tuple[Page, list[str]]:
    """An empty page, and the list that collects its errors, warnings and external requests."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})  # pixels
    problems: list[str] = []

    def check_message(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            problems.append(f"{message.text} ({message.location['url']})")

    def check_address(address: str) -> None:
        url = urlsplit(address)
        if url.scheme in ("http", "https", "ws", "wss") and url.hostname != "127.0.0.1":
            problems.append(address)

    page.on("console", check_message)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: check_address(request.url))
    page.add_init_script(WITHOUT_ASSISTANT)
    return page, problems


def accessibility_faults(page: Page) -> list[str]:
    """Serious findings of axe-core, a line each: the rule, what it says, the first elements."""
    return [
        f"{found['id']}: {found['help']}: {[node['target'] for node in found['nodes']][:3]}"
        for found in Axe().run(page).response["violations"]
        if found["impact"] in SERIOUS
    ]


def overflow(page: Page) -> int:
    """Pixels by which the page is wider than its window: 0 if nothing is cut off."""
    script = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    return int(page.evaluate(script))
