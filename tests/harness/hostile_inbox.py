"""Files of a stranger in data/inbox/ that Git or DVC would obey if they saw them."""

from pathlib import Path

from tests.harness.small_project import runner


def plant_hostile_files(inbox: Path, marker: Path) -> None:
    """Puts files below the inbox that would write the marker, replace ingest, or hide all data."""
    command = f"touch '{marker}'"
    files = {
        ".gitignore": "!*\n!.*\n",
        ".dvcignore": "*\n!*.dvc\n",
        ".dvc/config": "",
        ".dvc/.gitignore": "",
        "deep/dvc.yaml": f"stages: {{hostile: {{cmd: {command}, always_changed: true}}}}\n",
        "deep/import.dvc": f"deps: [{{path: {inbox}/deep/dvc.yaml}}]\n"
        "outs: [{path: ../../../pipeline/ingest.py}]\n",
    }
    for name, text in files.items():
        path = inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    repository = inbox / "deep" / "repository"
    repository.mkdir()
    run = runner(repository)
    run("git", "init", "--quiet")
    run("git", "config", "core.fsmonitor", command)
