"""Spark gives the same labels as `score`, loses and doubles no row, and fails in one line."""

import ast
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import PipelineError
from pipeline.serving.scoring import ANSWER_COLUMNS
from tests.harness.errors import error_of
from tests.harness.servers import SECONDS
from tests.harness.small_project import MESSAGES, ROOT, environment
from tests.harness.spark_cluster import killed_executor, missing_spark, standalone_master

pytestmark = [
    pytest.mark.slow,
    pytest.mark.spark,
    pytest.mark.skipif(missing_spark() is not None, reason=str(missing_spark())),
]
if not missing_spark():
    from pipeline.serving import spark_scoring
    from pipeline.serving.batch import main

ROWS = 20_000
TASKS = 8
SETTINGS = f"""# of a cluster of one machine
spark.ui.enabled            false
spark.driver.bindAddress    127.0.0.1
spark.driver.host           127.0.0.1
spark.sql.shuffle.partitions={TASKS}
spark.sql.adaptive.coalescePartitions.enabled: false
"""
LOCAL = "local[2]"


@pytest.fixture(scope="module")
def messages(tmp_path_factory):
    """A file of messages, of which every hundredth is null."""
    path = tmp_path_factory.mktemp("messages") / "in.parquet"
    bodies = pd.read_csv(MESSAGES)["body"].tolist()
    texts = [f"{bodies[n % len(bodies)]} {n}" if n % 100 else None for n in range(ROWS)]
    pd.DataFrame({"n": range(ROWS), "text": texts}).to_parquet(path, index=False)
    return path


@pytest.fixture(scope="module")
def expected(project, messages):
    """The rows as `score` without Spark labels them."""
    output = messages.with_name("expected.parquet")
    project[1]("python", "-m", "pipeline", "score", str(messages), str(output))
    return read_rows(output)


def read_rows(path):
    """The rows of a file or folder, in their order, with the same types from both engines."""
    return pq.read_table(path).to_pandas(ignore_metadata=True).sort_values("n", ignore_index=True)


@pytest.fixture
def score(project, tmp_path, monkeypatch):
    """Runs `score --engine spark` in the project; all tests of this process share one JVM."""
    monkeypatch.chdir(project[0])
    monkeypatch.delenv("SPARK_REMOTE", raising=False)
    settings = tmp_path / "spark.conf"
    settings.write_text(SETTINGS)

    def run(source, output, *options, master=LOCAL):
        monkeypatch.setenv("SPARK_MASTER", master)
        main([str(source), str(output), *spark_options(settings), *options])

    return run


def spark_options(settings):
    return ["--engine", "spark", "--spark-conf", str(settings)]


@pytest.fixture
def spark(monkeypatch):
    """A session on two cores."""
    monkeypatch.delenv("SPARK_REMOTE", raising=False)
    monkeypatch.setenv("SPARK_MASTER", LOCAL)
    with spark_scoring.spark_session({"spark.ui.enabled": "false"}) as session:
        yield session


def check_rows(output, expected):
    """The output has the rows of `expected`, and is marked as whole."""
    assert (output / "_SUCCESS").exists()
    rows = read_rows(output)
    assert list(rows) == ["n", "text", *ANSWER_COLUMNS]
    assert rows["n"].tolist() == list(range(ROWS))
    assert set(rows["label"].dropna()) == {"ham", "spam"}
    pd.testing.assert_series_equal(rows["probability"], expected["probability"], atol=1e-6, rtol=0)
    near = np.abs(expected["probability"] - expected["threshold"]) <= 1e-6  # rounding may turn it
    for name in ("text", "threshold", "model_version", "refused"):
        pd.testing.assert_series_equal(rows[name], expected[name])
    for name in ("label", "confident"):
        same = rows[name].fillna("null") == expected[name].fillna("null")
        assert (same | near).all()
    assert rows["scored_at"].nunique() == 1
    assert rows.loc[rows["text"].isna(), "label"].isna().all()


# ---- the same rows as without Spark


def test_two_cores_give_the_rows_of_score(score, messages, expected, tmp_path):
    score(messages, tmp_path / "out")
    check_rows(tmp_path / "out", expected)


def test_local_cluster_gives_the_rows_of_score(score, messages, expected, tmp_path):
    score(messages, tmp_path / "out", master="local-cluster[2,1,2048]")
    check_rows(tmp_path / "out", expected)


def test_killed_executor_of_a_standalone_master_loses_no_row(score, messages, expected, tmp_path):
    output = tmp_path / "out"
    with standalone_master(tmp_path) as master, killed_executor(output) as killed:
        score(messages, output, master=master)
    assert killed
    check_rows(output, expected)


def test_spark_connect_gives_the_rows_of_score(project, messages, expected, tmp_path):
    (tmp_path / "spark.conf").write_text("spark.sql.shuffle.partitions 2")
    command = [sys.executable, "-m", "pipeline", "score", str(messages), str(tmp_path / "out")]
    project[1](*command, *spark_options(tmp_path / "spark.conf"), SPARK_REMOTE=LOCAL)
    check_rows(tmp_path / "out", expected)


# ---- restarts


def test_killed_driver_leaves_no_whole_output(project, score, messages, expected, tmp_path):
    output = tmp_path / "out"
    (tmp_path / "driver.conf").write_text(SETTINGS)
    command = [sys.executable, "-m", "pipeline", "score", str(messages), str(output)]
    driver = subprocess.Popen(
        [*command, *spark_options(tmp_path / "driver.conf")],
        cwd=project[0],
        env=environment() | {"SPARK_MASTER": LOCAL},
    )
    deadline = time.monotonic() + 2 * SECONDS
    while not any(output.glob("_temporary/*/task_*")):
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    assert not (output / "_SUCCESS").exists()

    score(messages, output)
    check_rows(output, expected)
    assert not (output / "_temporary").exists()


# ---- the plan


def test_plan_brings_no_row_to_the_driver(spark, messages, capsys):
    job = spark_scoring.ScoringJob("text", None, "1", "none", pd.Timestamp(0), params=None)
    rows = spark_scoring.read_input_frame(spark, str(messages))
    spark_scoring.with_answers(rows, job).explain()
    lines = [line.strip(" +-:*") for line in capsys.readouterr().out.splitlines()[1:]]
    operators = [line.split()[0] for line in lines if line]
    assert operators == ["AdaptiveSparkPlan", "MapInPandas", "Exchange", "FileScan"]


def test_source_collects_no_row():
    source = (ROOT / "pipeline/serving/spark_scoring.py").read_text(encoding="utf-8")
    names = {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}
    rows = {"collect", "toPandas", "toArrow", "take", "head", "first", "tail", "toLocalIterator"}
    assert names & rows == set()
    assert "mapInPandas" in names


# ---- input


def test_csv_keeps_every_cell_as_text(spark, tmp_path):
    path = tmp_path / "in.csv"
    path.write_text('id,text\n007,"Win ""it"",\nnow"\n,\n8, NA \n')
    rows = spark_scoring.read_input_frame(spark, str(path)).toPandas()
    assert rows["id"].tolist() == ["007", "", "8"]
    assert rows["text"].tolist() == ['Win "it",\nnow', "", " NA "]


def test_jsonl_of_a_pattern_keeps_nulls_and_types(spark, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"id": 9007199254740993, "text": "hé"}\n')
    (tmp_path / "b.jsonl").write_text('{"text": null}\n')
    rows = spark_scoring.read_input_frame(spark, str(tmp_path / "*.jsonl")).sort("id").collect()
    assert [(row.id, row.text) for row in rows] == [(None, None), (2**53 + 1, "hé")]


def test_columns_of_the_input_are_checked(spark):
    def problem(columns, text="text"):
        rows = spark.createDataFrame([], columns)
        return error_of(spark_scoring.check_input_frame, rows, "in", text)

    assert problem("text string", "body") == "in: no column 'body' among text; name it with --text"
    ours = "in: already has a column 'label'; rename it"
    assert problem("text string, label int") == ours
    assert problem("text int") == "in: column 'text': is int; make it a string"


def test_output_with_files_is_refused(spark, tmp_path):
    place = tmp_path / "out"
    spark_scoring.check_output(spark, str(place))
    (place / "_temporary" / "0").mkdir(parents=True)  # of a killed job
    spark_scoring.check_output(spark, str(place))
    (place / "part-0.parquet").touch()
    problem = f"{place}: has files; remove them, or name another folder"
    assert error_of(spark_scoring.check_output, spark, str(place)) == problem


# ---- errors


def job_problem(spark, source, output):
    """The error of a job that copies a file of messages."""
    with pytest.raises(PipelineError) as raised, spark_scoring.convert_spark_errors():
        spark_scoring.read_input_frame(spark, str(source)).write.parquet(str(output))
    return str(raised.value)


def test_missing_input_is_one_line(spark, tmp_path):
    problem = job_problem(spark, tmp_path / "none.csv", tmp_path / "out")
    assert problem.startswith("Spark: [PATH_NOT_FOUND] Path does not exist: file:/")
    assert "\n" not in problem


MALFORMED = {"in.csv": "id,text\n1,hi\n2,my secret,3\n", "in.jsonl": '{"text": my secret\n'}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_row_is_not_in_the_error(spark, tmp_path, name):
    (tmp_path / name).write_text(MALFORMED[name])
    problem = job_problem(spark, tmp_path / name, tmp_path / "out")
    wanted = "Spark: a row of the input does not fit its format or its header; correct it"
    assert problem == wanted
    assert not (tmp_path / "out" / "_SUCCESS").exists()


def test_failure_of_a_worker_is_its_last_line(spark, tmp_path):
    job = spark_scoring.ScoringJob("text", None, "1", "lost-model", pd.Timestamp(0), params=None)
    rows = spark.createDataFrame([("hi",)], "text string")
    answers = spark_scoring.with_answers(rows, job)
    with pytest.raises(PipelineError) as raised, spark_scoring.convert_spark_errors():
        answers.write.parquet(str(tmp_path / "out"))
    problem = str(raised.value)
    assert "lost-model" in problem
    assert "Traceback" not in problem
    assert "\n" not in problem


def test_unknown_formats_are_refused(spark, tmp_path):
    problem = error_of(spark_scoring.read_input_frame, spark, "in.xlsx")
    assert problem.startswith("in.xlsx: format: unknown '.xlsx'; choose from ")
    problem = error_of(spark_scoring.check_output_name, "out.csv")
    assert problem == (
        "out.csv: format: with --engine spark the output is a folder of Parquet; "
        "choose a name without an ending, or with .parquet"
    )


@pytest.mark.parametrize("address", ["spark://127.0.0.1:1", "sc://127.0.0.1:1/;token=abc"])
def test_silent_master_is_one_line(address):
    problem = error_of(spark_scoring.check_reachable, address)
    assert problem.startswith(address.partition("/;")[0])
    assert problem.endswith("start it or correct the address")
    assert "abc" not in problem


def test_two_addresses_are_refused(monkeypatch):
    monkeypatch.setenv("SPARK_MASTER", LOCAL)
    monkeypatch.setenv("SPARK_REMOTE", "sc://127.0.0.1:1")
    problem = "SPARK_MASTER and SPARK_REMOTE: both are set; unset one of them"
    with pytest.raises(PipelineError, match=problem), spark_scoring.spark_session({}):
        pass


def test_missing_java_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    problem = "No such file or directory; install Java 17 or later, or set JAVA_HOME"
    assert error_of(spark_scoring.check_java, "") == f"{tmp_path}/bin/java: {problem}"
    spark_scoring.check_java("sc://127.0.0.1")


def test_old_java_is_one_line(monkeypatch, tmp_path):
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    problem = "is version 11; install Java 17 or later, or set JAVA_HOME"
    assert error_of(spark_scoring.check_java, "") == f"{java}: {problem}"


def test_settings_are_read_as_spark_reads_them(tmp_path):
    path = tmp_path / "spark.conf"
    path.write_text("# memory\n\nspark.a.b   1g\nspark.c=x=y z \n spark.d: -Dx:1\n")
    settings = {"spark.a.b": "1g", "spark.c": "x=y z", "spark.d": "-Dx:1"}
    assert spark_scoring.read_settings(path) == settings
    path.write_text("spark.a 1\nmaster local\n")
    problem = f"{path}: line 2: not `spark.NAME VALUE`; correct it"
    assert error_of(spark_scoring.read_settings, path) == problem
