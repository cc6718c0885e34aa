"""The README's pictures: MLflow's run and version, Data Docs of broken data, DVC's plots.

`python -m benchmarks.screenshots [--project .] [--to docs/screenshots]` takes them of what the last
`make repro` left, in the Chromium on PATH. The data is broken in a temporary clone of the last commit.
"""

import argparse
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, sync_playwright

from tests.harness.small_project import ROOT, runner, set_params

MODEL = "spam-detector"
WINDOW = {"width": 1280, "height": 800}  # pixels
SECONDS = 120  # until a server that does not answer is given up
MAKE = ("make", "--old-file=.venv/.up-to-date")  # with this interpreter's packages, as they are
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync")
QUIET += ("--disable-background-networking", "--disable-component-update")
WITHOUT_ASSISTANT = """if (window === top) {
  localStorage.setItem("mlflow.assistant.panelOpen_v1", "false")
  localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true")
}"""


# ---- the browser


def chromium() -> str | None:
    """The first Chromium on PATH; None where there is none."""
    found = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    return next((path for path in found if path), None)


@contextmanager
def browser() -> Iterator[Browser]:
    """A Chromium that asks for nothing by itself."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=QUIET)
        try:
            yield opened
        finally:
            opened.close()


def watched(browser: Browser) -> tuple[Page, list[str]]:
    """An empty page, and what goes wrong on it from now on: errors, warnings, requests to other machines."""
    page, problems = browser.new_page(viewport=WINDOW), list[str]()

    def hear(said: ConsoleMessage) -> None:
        if said.type in ("error", "warning"):
            problems.append(f"{said.text} ({said.location['url']})")

    def see(url: str) -> None:
        if (
            urlsplit(url).scheme in ("http", "https", "ws", "wss")
            and urlsplit(url).hostname != "127.0.0.1"
        ):
            problems.append(url)

    page.on("console", hear)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: see(request.url))
    page.add_init_script(
        WITHOUT_ASSISTANT
    )  # a panel of MLflow's, which takes a third of the window
    return page, problems


# ---- what makes the pages


@contextmanager
def mlflow_ui(project: Path) -> Iterator[str]:
    """`make ui` of a project, on a free port. Yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PORT": str(port)}
    environment.pop("MLFLOW_TRACKING_URI", None)
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            (*MAKE, "ui"),
            cwd=project,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        ) as process,
    ):
        try:
            give_up = time.monotonic() + SECONDS
            while not _answers(port):
                if process.poll() is not None or time.monotonic() > give_up:
                    log.seek(0)
                    raise RuntimeError(
                        f"no answer from `make ui`: {log.read().decode(errors='replace')}"
                    )
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def draw_plots(project: Path) -> None:
    """`make plots` of a project."""
    runner(project)(*MAKE, "plots")


def break_labels(project: Path, clone: Path) -> str:
    """A clone of the project with its messages in data/inbox, every twentieth label broken.

    Returns what `dvc repro` says as it stops.
    """
    subprocess.run(["git", "clone", "--quiet", str(project), str(clone)], check=True)
    messages = pd.read_parquet(
        project / "data" / "ingested" / "messages.parquet", columns=["text", "label"]
    )
    messages.loc[::20, "label"] = "?"
    messages.to_csv(clone / "data" / "inbox" / "broken.csv", index=False)
    files = {
        "glob": "broken.csv",
        "columns": {"text": "text", "label": "label", "received_at": "received_at"},
        "labels": {"spam": ["spam"], "ham": ["ham"]},
        "encoding": "utf-8",
    }
    set_params(clone, {"ingest": {"sources": ["files"], "files": files}})
    said = runner(clone)("dvc", "repro", "validate", check=False).stderr
    if "label_is_known" not in said:
        raise RuntimeError(said)
    return said


# ---- the pages, each as far as its picture


def show_version(page: Page, address: str) -> None:
    """MLflow: from the registered model to the version that has the alias."""
    page.goto(f"{address}/#/models/{MODEL}")
    page.get_by_role("row").filter(has_text="champion").get_by_role("link", name="Version").click()
    page.get_by_text("Source Run").wait_for()


def show_run(page: Page, address: str) -> None:
    """MLflow: from the version that has the alias to its run."""
    show_version(page, address)
    page.locator("a[href*='/runs/']").first.click()
    page.get_by_text("About this run").wait_for()


def show_curves(page: Page, address: str) -> None:
    """MLflow: from the run to the curves of its training."""
    show_run(page, address)
    page.get_by_role("tab", name="Model metrics").click()
    page.get_by_placeholder("Search metric charts").fill("train/")
    curve(page, "train/stop_average_precision").wait_for(state="attached")


def curve(page: Page, metric: str) -> Locator:
    """The line of one metric, drawn on its chart."""
    card = page.get_by_test_id("experiment-view-compare-runs-card")
    return card.filter(has=page.get_by_title(metric, exact=True)).locator(".js-line").first


def show_suites(page: Page, project: Path) -> None:
    """Data Docs: what each suite found."""
    page.goto((project / "data" / "docs" / "index.html").as_uri())


def show_broken_suite(page: Page, project: Path) -> None:
    """Data Docs: from the index to the first suite that something broke."""
    show_suites(page, project)
    page.get_by_role("row").filter(has=page.locator(".text-danger")).get_by_role(
        "link"
    ).first.click()


def show_plots(page: Page, project: Path) -> None:
    """DVC: the plots of dvc.yaml, the confusion matrix with its numbers."""
    page.goto((project / "dvc_plots" / "index.html").as_uri())
    page.get_by_label("showValues").check()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--project", type=Path, default=ROOT)
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "screenshots")
    arguments = parser.parse_args()
    project, to = arguments.project.resolve(), arguments.to
    if not (project / "mlflow.db").exists():
        sys.exit(f"error: {project / 'mlflow.db'}: missing; `make repro` makes it")
    if not chromium():
        sys.exit("error: no Chromium on PATH; install one (Debian: apt-get install chromium)")
    to.mkdir(parents=True, exist_ok=True)
    with browser() as chrome, tempfile.TemporaryDirectory() as temporary:

        def take(name: str, show: Callable[[Page, Any], None], of: Any) -> None:
            page, _ = watched(chrome)
            show(page, of)
            page.wait_for_timeout(1000)  # milliseconds: until what moves has come to rest
            page.locator("html").screenshot(path=to / f"{name}.png")
            print(f"{name}.png: {(to / f'{name}.png').stat().st_size / 1000:.0f} KB")

        with mlflow_ui(project) as address:
            take("run", show_curves, address)
            take("version", show_version, address)
        clone = Path(temporary) / "clone"
        break_labels(project, clone)
        take("data_docs", show_suites, clone)
        take("data_docs_suite", show_broken_suite, clone)
        draw_plots(project)
        take("plots", show_plots, project)


if __name__ == "__main__":
    main()
