"""The stage collect: a log line, and whether a file that cannot be copied stops it."""

import logging
import os
from pathlib import Path

import pytest
import ruamel.yaml

from pipeline import collect
from pipeline.core.params import PARAMS_FILE
from tests.harness.errors import error_of
from tests.harness.small_project import stage_arguments
from tests.sources.test_readers import LABELS, NAMES

PATHS = ("data/inbox", "data/inbox.lock.json", "data/collected")


@pytest.mark.parametrize("on_broken_file", ["stop", "quarantine"])
def test_pipe_stops_the_stage_or_is_left_out(tmp_path, monkeypatch, caplog, on_broken_file):
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)
    files = {"glob": "*", "columns": NAMES, "labels": LABELS}
    params = {"sources": ["files"], "on_broken_file": on_broken_file, "files": files}
    ruamel.yaml.YAML().dump({"ingest": params}, PARAMS_FILE)
    Path("data/inbox").mkdir(parents=True)
    Path("data/inbox/a.csv").write_text("abc")
    os.mkfifo("data/inbox/b.csv")
    line = "data/inbox/b.csv: not a regular file; put a file there, or remove it"
    if on_broken_file == "stop":
        assert error_of(collect.main, stage_arguments("collect", *PATHS)) == line
    else:
        collect.main(stage_arguments("collect", *PATHS))
        assert caplog.messages == [f"warning: left out: {line}", "collect: 1 files, 3 bytes"]
