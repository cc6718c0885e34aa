"""Spark gives the same labels as `score`, with the registered model alone."""

import importlib.util
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.harness.small_project import MESSAGES

ROWS = 100_000
JOB = """
import sys, mlflow
from pyspark.sql import SparkSession

spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
labelled = mlflow.pyfunc.spark_udf(spark, "models:/spam-detector@champion", env_manager="local")
rows = spark.read.parquet(sys.argv[1])
rows.withColumn("answer", labelled("text")).select("n", "answer.*").write.parquet(sys.argv[2])
"""


@pytest.fixture(scope="module")
def spark():
    """Skips, with the reason, where there is none."""
    if importlib.util.find_spec("pyspark") is None:
        pytest.skip("pyspark is not installed; pip install pyspark==4.3.0")
    home = os.environ.get("JAVA_HOME")
    if shutil.which(f"{home}/bin/java" if home else "java") is None:
        pytest.skip("Java is not installed; Spark 4 needs 17 or later")


@pytest.fixture
def messages(tmp_path):
    """The hand-written messages over and over, each time with another number in them."""
    bodies = pd.read_csv(MESSAGES)["body"].tolist()
    texts = [f"{bodies[n % len(bodies)]} {n}" for n in range(ROWS)]
    pd.DataFrame({"n": range(ROWS), "text": texts}).to_parquet(tmp_path / "in.parquet", index=False)
    return tmp_path / "in.parquet"


@pytest.mark.slow
@pytest.mark.spark
def test_spark_labels_100_000_rows_as_score_does(spark, messages, request, tmp_path):
    folder, run = request.getfixturevalue("project")  # which a skip need not make
    run("python", "-m", "pipeline", "score", str(messages), str(tmp_path / "ours.parquet"))
    ours = pq.read_table(tmp_path / "ours.parquet").to_pandas()
    environment = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
    }
    job = [sys.executable, "-c", JOB, messages, tmp_path / "theirs"]
    environment = os.environ | environment
    done = subprocess.run(job, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-10_000:]

    theirs = pq.read_table(tmp_path / "theirs").to_pandas().sort_values("n", ignore_index=True)
    assert ours["refused"].isna().all()
    assert ours["n"].tolist() == theirs["n"].tolist() == list(range(ROWS))
    assert set(ours["label"]) == {"ham", "spam"}
    assert np.abs(ours["probability"] - theirs["probability"]).max() <= 1e-6
    assert (ours["threshold"] == theirs["threshold"]).all()
    near = np.abs(ours["probability"] - ours["threshold"]) <= 1e-6  # rounding may turn the label
    assert (near | (ours["label"] == theirs["label"])).all()
