"""Labels messages with the champion on Apache Spark, for `score --engine spark`."""

import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import pandas as pd
from py4j.protocol import Py4JError
from pyspark import SparkFiles, TaskContext
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StringType, StructType

import pipeline
from pipeline.core.errors import PipelineError
from pipeline.core.files import read_bytes
from pipeline.core.params import choose, read_params
from pipeline.core.schemas import SCORES
from pipeline.registry import versions
from pipeline.serving.labels import check_source
from pipeline.serving.scoring import (
    Tables,
    add_answers,
    check_input_columns,
    check_tables,
    scoring_time,
)
from pipeline.sources.file_formats import FORMATS, one_line
from pipeline.validation import expectations

OLDEST_JAVA = 17  # of Spark 4
SECONDS_TO_ANSWER = 10  # of a master, until it counts as unreachable
DEFAULTS = {
    "spark.log.level": "OFF",  # its errors come to us, and may hold a row
    # of messages; Spark's own 1m leaves cores idle, as messages are short and take long
    "spark.sql.adaptive.coalescePartitions.minPartitionSize": "256k",
}
SPARK_READERS = {  # Spark's format and its options, by the ending of a path
    "": ("parquet", {}),
    ".parquet": ("parquet", {}),
    ".csv": (
        "csv",
        {"header": True, "multiLine": True, "escape": '"', "enforceSchema": False},
    ),
    ".jsonl": ("json", {}),
}
HOLDS_A_ROW = re.compile(r"MALFORMED_RECORD_IN|CSV header")  # an error message of Spark

# of Spark, a line a process
warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)


@dataclass(frozen=True)
class ScoringJob:
    """What is the same for all rows of a job.

    text: the column of the messages.
    source: of the messages; None if it has no threshold of its own.
    version: of the model.
    archive: the name under which the workers find the folder of the model.
    """

    text: str
    source: str | None
    version: str
    archive: str
    scored_at: pd.Timestamp
    params: expectations.Params


def score_on_spark(arguments: argparse.Namespace) -> None:
    """Writes the labelled rows of INPUT to the folder OUTPUT. Raises: PipelineError."""
    check_output_name(arguments.output)
    params = read_params(expectations.Params, "validate")
    settings = read_settings(Path(arguments.spark_conf)) if arguments.spark_conf else {}
    with spark_session(settings) as spark:
        messages = read_input_frame(spark, arguments.input)
        check_input_frame(messages, arguments.input, arguments.text)
        check_output(spark, arguments.output)
        with versions.downloaded_champion() as (folder, version):
            if arguments.source is not None:
                check_source(arguments.source, versions.load_folder(folder), version)
            with sent_to_workers(spark, folder) as archive:
                job = ScoringJob(
                    text=arguments.text,
                    source=arguments.source,
                    version=version,
                    archive=archive,
                    scored_at=scoring_time(),
                    params=params,
                )
                with_answers(messages, job).write.parquet(arguments.output, mode="overwrite")


# ---- the session


def read_settings(path: Path) -> dict[str, str]:
    """The settings of a file such as spark-defaults.conf. Raises: PipelineError."""
    settings = {}
    content = read_bytes(path, "correct --spark-conf").decode("utf-8", "replace")
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith(("#", "!")):
            continue
        match = re.fullmatch(r"\s*(spark\.[\w.-]+)(?:\s*[=:]\s*|\s+)(.*\S)\s*", line)
        if not match:
            raise PipelineError(f"{path}: line {number}: not `spark.NAME VALUE`; correct it")
        settings[match[1]] = match[2]
    return settings


@contextmanager
def spark_session(settings: dict[str, str]) -> Iterator[SparkSession]:
    """A session on SPARK_MASTER or SPARK_REMOTE, which ends with the block.

    Without both it runs where spark-submit or `settings` say, else on all cores of this machine.

    Raises: PipelineError, for every failure of Spark inside the block.
    """
    master, remote = os.environ.get("SPARK_MASTER"), os.environ.get("SPARK_REMOTE")
    if master and remote:
        raise PipelineError("SPARK_MASTER and SPARK_REMOTE: both are set; unset one of them")
    check_java(remote or "")
    check_reachable(master or remote or "")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else the first python3 of PATH
    builder = SparkSession.builder.appName("score")
    if master:
        builder = builder.master(master)
    for name, value in (DEFAULTS | settings).items():
        builder = builder.config(name, value)
    with convert_spark_errors():
        spark = builder.getOrCreate()
        try:
            yield spark
        finally:
            spark.stop()


def check_java(remote: str) -> None:
    """Raises: PipelineError if the session needs Java on this machine and there is none."""
    if remote.startswith("sc://"):
        return
    home = os.environ.get("JAVA_HOME")
    java = f"{home}/bin/java" if home else "java"
    way_out = f"install Java {OLDEST_JAVA} or later, or set JAVA_HOME"
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True)
    except OSError as error:
        raise PipelineError(f"{java}: {error.strerror}; {way_out}") from error
    version = re.search(r'version "(\d+)', done.stderr)
    if not version or int(version[1]) < OLDEST_JAVA:
        problem = f"is version {version[1]}" if version else "does not start"
        raise PipelineError(f"{java}: {problem}; {way_out}")


def check_reachable(address: str) -> None:
    """Tries to connect to `spark://HOST:PORT` or `sc://HOST:PORT`; Spark itself tries for minutes.

    Raises: PipelineError if nobody answers.
    """
    if not address.startswith(("spark://", "sc://")):
        return
    parts = urlsplit(address.split(",")[0])
    try:
        port = parts.port or 15002  # Spark Connect's own
        socket.create_connection((parts.hostname or "", port), SECONDS_TO_ANSWER).close()
    except (OSError, ValueError) as error:
        problem = one_line(error)
        raise PipelineError(f"{address}: {problem}; start it or correct the address") from error


@contextmanager
def convert_spark_errors() -> Iterator[None]:
    """Turns what Spark raises into one line. Raises: PipelineError."""
    try:
        yield
    except (PySparkException, Py4JError) as error:
        raise PipelineError(f"Spark: {first_cause(str(error))}") from error


def first_cause(text: str) -> str:
    """The first cause in an error message of Spark: one line, without the row that is wrong."""
    if HOLDS_A_ROW.search(text):
        return "a row of the input does not fit its format or its header; correct it"
    cause = re.split(r"Caused by: |executor \S+\): ", text)[-1]
    lines = re.split(r"\n\s+at ", cause)[0].strip().splitlines() or [""]
    return lines[-1] if "Traceback (most recent call last)" in cause else lines[0]


# ---- input and output


def check_output_name(name: str) -> None:
    """Raises: PipelineError if the name is that of a file of another format."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in FORMATS and suffix != ".parquet":
        raise PipelineError(
            f"{name}: format: with --engine spark the output is a folder of Parquet; "
            "choose a name without an ending, or with .parquet"
        )


def read_input_frame(spark: SparkSession, name: str) -> DataFrame:
    """The rows of a file or folder, of which a row that does not fit stops the job.

    Raises: PipelineError for an unknown ending; PySparkException.
    """
    form, options = choose(SPARK_READERS, PurePosixPath(name).suffix.lower(), f"{name}: format")
    messages = spark.read.options(mode="FAILFAST", **options).format(form).load(name)
    return messages.fillna("") if form == "csv" else messages  # as `score` reads CSV


def check_input_frame(messages: DataFrame, name: str, text: str) -> None:
    """Raises: PipelineError if the rows cannot be scored."""
    check_input_columns(pd.DataFrame(columns=messages.columns), name, text)
    kind = messages.schema[text].dataType
    if not isinstance(kind, StringType):
        raise PipelineError(f"{name}: column {text!r}: is {kind.simpleString()}; make it a string")


def check_output(spark: SparkSession, name: str) -> None:
    """Raises: PipelineError if the folder has files; those of a killed job, which Spark hides, may.

    Spark would remove them when the job begins to write, and leave nothing if it fails.
    """
    listing = spark.read.format("binaryFile").option("recursiveFileLookup", True)
    try:
        files = listing.load(name).inputFiles()
    except PySparkException as error:
        if error.getCondition() == "PATH_NOT_FOUND":
            return
        raise
    if files:
        raise PipelineError(f"{name}: has files; remove them, or name another folder")


# ---- the work


@contextmanager
def sent_to_workers(spark: SparkSession, model: Path) -> Iterator[str]:
    """The name of the archive of a model's folder, which workers have as long as the block runs.

    They get this package, too.
    """
    with tempfile.TemporaryDirectory(prefix="champion-") as name:
        folder = Path(name)
        code = folder / "pipeline.zip"
        with zipfile.PyZipFile(str(code), "w") as package:
            package.writepy(str(Path(pipeline.__file__).parent))
        spark.addArtifacts(str(code), pyfile=True)
        archive = shutil.make_archive(str(folder / "model"), "zip", model)
        spark.addArtifacts(f"{archive}#{folder.name}", archive=True)
        yield folder.name


def with_answers(messages: DataFrame, job: ScoringJob) -> DataFrame:
    """The messages with the columns of SCORES, in parts of about equal size."""
    schema = StructType([*messages.schema.fields, *from_arrow_schema(SCORES).fields])
    return messages.hint("rebalance").mapInPandas(partial(score_tables, job), schema)


def score_tables(job: ScoringJob, tables: Tables) -> Tables:
    """The tables of a task with the columns of SCORES; runs on the workers."""
    model = load_model(job.archive)
    checked = check_tables(tables, job.text, job.params)
    for table in add_answers(checked, job.source, model, job.version):
        yield table.assign(scored_at=job.scored_at)


@cache
def load_model(archive: str) -> object:
    """The model of an archive, loaded once a process, which uses as many threads as its task."""
    context = TaskContext.get()
    threads = context.cpus() if context else 1
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(threads))
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(threads))
    return versions.load_folder(Path(SparkFiles.get(archive)))
