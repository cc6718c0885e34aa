"""Takes the pictures of docs/screenshots: MLflow, our pages, Data Docs, DVC's plots.

`python -m docs.take_screenshots [--project .] [--to docs/screenshots]` opens what the last
`make repro` left in the Chromium on PATH. It breaks labels in a temporary clone of the last commit.
"""

import argparse
import os
import signal
import socket
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any

import pandas as pd
from playwright.sync_api import Browser, Locator, Page

from tests.harness.browser import browser, chromium, watched
from tests.harness.review_server import running_review
from tests.harness.review_tables import new_review_project, write_review_table
from tests.harness.small_project import ROOT, runner, set_params

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # without a proxy
MESSAGE = (
    "Your parcel waits. Pay the fee of 1.99 at http://parcel-fee.example, or see you at lunch?"
)
MAKE = ("make", "--old-file=.venv/.up-to-date")  # with the packages of this interpreter


def mlflow_ui(project: Path) -> AbstractContextManager[str]:
    """The address of `make ui` of a project."""
    return made_server(project, "ui", "health")


@contextmanager
def made_server(project: Path, target: str, ready: str) -> Iterator[str]:
    """Runs `make TARGET` of a project on a free port; yields its address once READY answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PORT": str(port), "MLFLOW_TRACKING_URI": ""}
    options: Any = {"cwd": project, "env": env, "start_new_session": True, "stdout": DEVNULL}
    with Popen((*MAKE, target), stderr=DEVNULL, **options) as process:
        try:
            deadline = time.monotonic() + 120  # seconds
            while not _answers(f"{address}/{ready}"):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"no answer from `make {target}` in {project}")
                time.sleep(0.2)
            yield address
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def _answers(url: str) -> bool:
    with suppress(OSError):
        return DIRECT.open(url, timeout=5).status == 200
    return False


def draw_plots(project: Path) -> None:
    """Runs `make plots` of a project."""
    runner(project)(*MAKE, "plots")


def break_labels(project: Path, clone: Path) -> str:
    """Clones the project with every twentieth label broken. Returns what `dvc repro` prints."""
    runner(project)("git", "clone", "--quiet", str(project), str(clone))
    messages = pd.read_parquet(project / "data/ingested/messages.parquet")[["text", "label"]]
    messages.loc[::20, "label"] = "?"
    inbox = clone / "data" / "inbox"
    inbox.mkdir(exist_ok=True)
    (clone / "data" / "inbox.lock.json").unlink()  # names files that were not pushed
    messages.to_csv(inbox / "broken.csv", index=False)
    set_params(clone, {"ingest": {"sources": ["files"], "files": {"glob": "broken.csv"}}})
    output = runner(clone)("dvc", "repro", "validate", check=False).stderr
    assert "label_is_known" in output, output
    return output


def show_version(page: Page, address: str) -> None:
    """MLflow: from the registered model to the version that has the alias."""
    page.goto(f"{address}/#/models/spam-detector")
    page.get_by_role("row").filter(has_text="champion").get_by_role("link", name="Version").click()
    for link in ("/runs/", "/models/m-"):  # its run and its logged model
        page.locator(f"a[href*='{link}']").first.wait_for()


def show_run(page: Page, address: str) -> None:
    """MLflow: from the version with the alias to its run."""
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
    """The line of one metric on its chart."""
    card = page.get_by_test_id("experiment-view-compare-runs-card")
    return card.filter(has=page.get_by_title(metric, exact=True)).locator(".js-line").first


def show_suites(page: Page, project: Path) -> None:
    """Data Docs: the result of each step of the suite."""
    page.goto((project / "data" / "docs" / "index.html").as_uri())


def show_broken_suite(page: Page, project: Path) -> None:
    """Data Docs: from the index to the first step that failed."""
    show_suites(page, project)
    failed = page.get_by_role("row").filter(has=page.locator(".text-danger"))
    failed.get_by_role("link").first.click()


def show_report(page: Page, project: Path) -> None:
    """The first screen of the decision report."""
    page.goto((project / "reports" / "report.html").as_uri())
    page.add_style_tag(content="html { height: 800px; overflow: hidden }")


def show_plots(page: Page, project: Path) -> None:
    """DVC: the plots of dvc.yaml, the confusion matrix with its numbers."""
    page.goto((project / "dvc_plots" / "index.html").as_uri())
    page.get_by_label("showValues").check()


MADE_UP = [  # messages on the picture of the review page
    "Your parcel waits. Pay 1.99 at parcel-fee.example/pay within 24 hours",
    "Mum, new number: 0800 000 0000. Can you text me back?",
    "Shall we meet at six, in front of the cinema?",
    "Your code is 481 927. Never share it with anybody.",
    "Congratulations! You are our 1000th visitor. Reply CLAIM to 00000",
]


def review_project(folder: Path) -> None:
    """Fills a folder with made-up messages to review."""
    new_review_project(folder)
    rows: list[dict[str, Any]] = [{"text": text, "label": "spam"} for text in MADE_UP]
    write_review_table(folder, "mistakes", rows)


def show_review(page: Page, address: str) -> None:
    """The review page after two decisions."""
    page.add_init_script("localStorage.setItem('review.reviewer', 'Ana')")
    page.goto(address)
    page.locator("#list [aria-current]").wait_for()
    for key in "ss":
        page.keyboard.press(key)
    page.get_by_role("button", name=f"Mistakes {len(MADE_UP) - 2}", exact=True).wait_for()


def show_tried_message(page: Page, address: str) -> None:
    """Our server: the answer to a message."""
    page.goto(address)
    page.get_by_label("Message").fill(MESSAGE)
    page.get_by_role("button", name="Check the message").click()
    page.get_by_role("region", name="Answer").wait_for()


def take(chrome: Browser, picture: Path, show: Callable[[Page, Any], None], target: Any) -> None:
    """Writes the picture of one page."""
    page, _ = watched(chrome)
    show(page, target)
    page.wait_for_timeout(1000)  # milliseconds, until animations end
    page.locator("html").screenshot(path=picture)
    print(f"{picture.name}: {picture.stat().st_size / 1000:.0f} KB")


def main() -> None:
    """Takes all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--project", type=Path, default=ROOT)
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "screenshots")
    arguments = parser.parse_args()
    project = arguments.project.resolve()
    if not (project / "mlflow.db").exists():
        sys.exit(f"error: {project}/mlflow.db: missing; run `make repro`")
    if not chromium():
        sys.exit("error: no Chromium on PATH; install one (Debian: apt-get install chromium)")
    draw_plots(project)
    with browser() as chrome, tempfile.TemporaryDirectory() as clone:
        break_labels(project, Path(clone))
        with mlflow_ui(project) as address:
            take(chrome, arguments.to / "run.png", show_curves, address)
            take(chrome, arguments.to / "version.png", show_version, address)
        take(chrome, arguments.to / "report.png", show_report, project)
        with made_server(project, "serve", "ready") as address:
            take(chrome, arguments.to / "try_it.png", show_tried_message, address)
        take(chrome, arguments.to / "data_docs.png", show_suites, Path(clone))
        take(chrome, arguments.to / "data_docs_suite.png", show_broken_suite, Path(clone))
        take(chrome, arguments.to / "plots.png", show_plots, project)
    with browser() as chrome, tempfile.TemporaryDirectory() as name:
        review_project(Path(name))
        with running_review(Path(name)) as server:
            take(chrome, arguments.to / "review.png", show_review, server.address)


if __name__ == "__main__":
    main()
