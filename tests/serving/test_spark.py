"""Spark gives the same labels as `score`, with the registered model alone."""

import importlib.util
import os
import shutil
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.harness.small_project import MESSAGES, runner

ROWS = 100_000
JOB = """
import sys, mlflow
from pyspark.sql import SparkSession

spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
labelled = mlflow.pyfunc.spark_udf(spark, "models:/spam-detector@champion", env_manager="local")
rows = spark.read.parquet(sys.argv[1])
rows.withColumn("answer", labelled("text")).select("n", "answer.*").write.parquet(sys.argv[2])
"""
JAVA = f"{os.environ['JAVA_HOME']}/bin/java" if os.environ.get("JAVA_HOME") else "java"
NO_SPARK = "pyspark is not installed; pip install pyspark==4.3.0"
NO_JAVA = "Java is not installed; Spark 4 needs 17 or later"


@pytest.mark.slow
@pytest.mark.spark
@pytest.mark.skipif(importlib.util.find_spec("pyspark") is None, reason=NO_SPARK)
@pytest.mark.skipif(shutil.which(JAVA) is None, reason=NO_JAVA)
def test_spark_labels_100_000_rows_as_score_does(project, tmp_path):
    folder, run = project
    bodies = pd.read_csv(MESSAGES)["body"].tolist()
    texts = [f"{bodies[n % len(bodies)]} {n}" for n in range(ROWS)]  # no two are equal
    messages = tmp_path / "in.parquet"
    pd.DataFrame({"n": range(ROWS), "text": texts}).to_parquet(messages, index=False)
    run("python", "-m", "pipeline", "score", str(messages), str(tmp_path / "ours.parquet"))
    ours = pq.read_table(tmp_path / "ours.parquet").to_pandas()
    job = [sys.executable, "-c", JOB, str(messages), str(tmp_path / "theirs")]
    runner(tmp_path)(
        *job,
        MLFLOW_TRACKING_URI=f"sqlite:///{folder}/mlflow.db",
        PYSPARK_PYTHON=sys.executable,
        PYSPARK_DRIVER_PYTHON=sys.executable,
    )

    theirs = pq.read_table(tmp_path / "theirs").to_pandas().sort_values("n", ignore_index=True)
    assert ours["refused"].isna().all()
    assert ours["n"].tolist() == theirs["n"].tolist() == list(range(ROWS))
    assert set(ours["label"]) == {"ham", "spam"}
    assert np.abs(ours["probability"] - theirs["probability"]).max() <= 1e-6
    assert (ours["threshold"] == theirs["threshold"]).all()
    near = np.abs(ours["probability"] - ours["threshold"]) <= 1e-6  # rounding may turn the label
    assert (near | (ours["label"] == theirs["label"])).all()
