"""Labels a file of messages with the champion, and keeps its other columns.

INPUT and OUTPUT are .csv, .tsv, .jsonl or .parquet files, of the same format or of different ones;
INPUT may be mail, too: an .eml or .mbox file, a Maildir or a folder of .eml files. `-` is standard
input (a message a line) or standard output (a JSON object a line). The output has the columns of
the input and seven more: label, probability, threshold, confident (false: for people to review),
model_version, scored_at and refused, which names what is wrong with a message; only a null text
gets no label. --explain adds `reasons`, the words that weigh most. The output file appears when all
rows are done; an interrupted run keeps its rows for --resume. With --headers, OUTPUT is the mails
with X-Spam-Flag, X-Spam-Score and X-Spam-Report.
"""

import argparse
import csv
import itertools
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from tqdm import tqdm

from pipeline.core.cli import argument_parser
from pipeline.core.errors import PipelineError
from pipeline.core.hashing import file_sha256
from pipeline.core.params import read_params
from pipeline.registry import versions
from pipeline.registry.compile_cache import compile_cache
from pipeline.serving import resumable
from pipeline.serving.labels import check_source
from pipeline.serving.mail_copies import check_mail_output, mail_verdicts, write_marked
from pipeline.serving.read_ahead import read_ahead
from pipeline.serving.scoring import (
    ANSWER_COLUMNS,
    REASONS_COLUMN,
    STANDARD_STREAM,
    Tables,
    add_answers,
    add_reasons,
    check_tables,
    read_tables,
    skip_rows,
    with_columns,
    with_time_as_text,
)
from pipeline.sources.file_formats import (
    FormatError,
    convert_format_errors,
    format_of,
    input_format,
    json_lines,
    one_line,
)
from pipeline.sources.mail_folders import MailFile, list_mail, mail_sha256
from pipeline.validation import expectations

log = logging.getLogger(__name__)

EXAMPLE = "python -m pipeline score new.csv labelled.csv"


def main(argv: list[str] | None = None) -> None:
    arguments = _parse_arguments(argv)
    if arguments.engine == "spark":
        _score_on_spark(arguments)
        return
    with compile_cache():
        _score_here(arguments)


def _score_here(arguments: argparse.Namespace) -> None:
    """Scores in this process."""
    mails = listed_mails(arguments)
    tables = read_tables(arguments.input, arguments.text, _added_columns(arguments))
    first = next(tables)  # an error in it is reported before the model takes seconds to load
    tables = itertools.chain([first], tables)
    params = read_params(expectations.Params, "validate")
    if arguments.headers:
        mark_mails(arguments, mails, tables, params)
    elif arguments.output == STANDARD_STREAM:
        model, version = versions.load_champion()
        check_source(arguments.source, model, version)
        answers = _answers(arguments, tables, model, version, params)
        write_lines(_with_progress_bar(answers))
    else:
        label_file(arguments, tables, first.columns.to_list(), params)


def _parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("input", metavar="INPUT", help="file or folder of mails to label, or -")
    parser.add_argument("output", metavar="OUTPUT", help="labelled file, or -")
    parser.add_argument("--text", default="text", help="the column of the messages (default: text)")
    parser.add_argument("--source", help="whose threshold to use (default: that of unknown ones)")
    parser.add_argument(
        "--resume", action="store_true", help="continue an interrupted run, with its model version"
    )
    parser.add_argument(
        "--headers",
        action="store_true",
        help="write the mails of INPUT, with the verdict on each in its headers, as mail: an .eml "
        "or .mbox file, or a new folder",
    )
    parser.add_argument(
        "--explain",
        action="store_true",
        help="add a column `reasons` with the words that weigh most, for spam (+) or for ham (-); "
        "takes some thirty times as long",
    )
    parser.add_argument(
        "--engine",
        choices=["pandas", "spark"],
        default="pandas",
        help="spark: INPUT is a file or folder of Parquet, CSV or JSONL on any file system of "
        "Hadoop, and OUTPUT a folder of Parquet; runs on SPARK_MASTER or SPARK_REMOTE",
    )
    parser.add_argument(
        "--spark-conf", metavar="FILE", help="settings of Spark, a line each: spark.NAME VALUE"
    )
    arguments = parser.parse_args(argv)
    if arguments.engine == "spark":
        _check_spark_options(arguments)
    else:
        _check_names(arguments)
    return arguments


def _check_spark_options(arguments: argparse.Namespace) -> None:
    """Raises: PipelineError for an option that Spark does not have."""
    for name in ("headers", "explain", "resume"):
        if vars(arguments)[name]:
            raise PipelineError(f"--{name}: not with --engine spark; leave one of both out")
    if STANDARD_STREAM in (arguments.input, arguments.output):
        raise PipelineError("--engine spark: - is no file or folder; name two")


def _score_on_spark(arguments: argparse.Namespace) -> None:
    try:
        from pipeline.serving.spark_scoring import score_on_spark  # most users have no Spark
    except ModuleNotFoundError as error:
        if error.name not in ("pyspark", "py4j"):
            raise
        raise PipelineError("pyspark is not installed; run `make spark`") from error
    score_on_spark(arguments)


def _added_columns(arguments: argparse.Namespace) -> tuple[str, ...]:
    return (*ANSWER_COLUMNS, REASONS_COLUMN) if arguments.explain else ANSWER_COLUMNS


def _answers(
    arguments: argparse.Namespace,
    tables: Tables,
    model: Any,
    version: str,
    params: expectations.Params,
) -> Tables:
    """The tables with the columns of `_added_columns`."""
    checked = check_tables(tables, arguments.text, params)
    if _can_be_read_again(arguments.input):  # a pipe may wait for ever, also after Ctrl-C
        checked = read_ahead(checked)
    answers = add_answers(checked, arguments.source, model, version)
    if not arguments.explain:
        return answers
    return add_reasons(answers, arguments.text, arguments.source, model)


def _check_names(arguments: argparse.Namespace) -> None:
    """Raises: PipelineError for input and output that do not fit each other or the options."""
    if arguments.spark_conf:
        raise PipelineError("--spark-conf: only with --engine spark; leave it out")
    streams = [arguments.input, arguments.output].count(STANDARD_STREAM)
    if arguments.input != STANDARD_STREAM:
        input_format(arguments.input)
    if arguments.headers and streams:
        raise PipelineError("--headers: - is not mail; name two files or folders")
    if arguments.headers and arguments.explain:
        raise PipelineError("--explain: --headers has no place for reasons; leave one of both out")
    if arguments.headers:
        check_mail_output(Path(arguments.input), Path(arguments.output))
    elif arguments.output != STANDARD_STREAM:
        format_of(arguments.output)
    if arguments.resume and arguments.headers:
        raise PipelineError("--resume: --headers writes all mails at once; leave one of both out")
    if arguments.resume and streams:
        raise PipelineError("--resume: - cannot be read or written again; name two files")


# ---- writing


def write_lines(tables: Iterable[pd.DataFrame]) -> None:
    """Writes JSON lines to standard output, those of each table as soon as it is labelled."""
    for table in tables:
        sys.stdout.writelines(json_lines(with_time_as_text(table)))
        sys.stdout.flush()


def write_parts(output: Path, tables: Iterable[pd.DataFrame]) -> None:
    """Writes each table as the next part of the output.

    Raises: FormatError for a value that the format cannot hold, else PipelineError.
    """
    form = format_of(output.name)
    rows = resumable.finished_rows(output)
    first = resumable.part_files(output)[0] if rows else None
    for table in tables:
        rows += len(table)
        part = resumable.part_path(output, rows)
        try:
            with resumable.writing_part(output, part) as path:
                form.write(path, table if form.typed else with_time_as_text(table), first)
        except (csv.Error, UnicodeError, pa.ArrowException) as error:
            raise FormatError(f"{output}: {one_line(error)}; write .jsonl") from error
        first = first or part


def _with_progress_bar(tables: Iterable[pd.DataFrame], done: int = 0) -> Tables:
    with tqdm(unit=" messages", disable=None, initial=done) as bar:
        for table in tables:
            yield table
            bar.update(len(table))


# ---- mails with the verdict in their headers


def listed_mails(arguments: argparse.Namespace) -> list[MailFile]:
    """The files of mail that --headers will copy, as they are now. Raises: PipelineError."""
    if not arguments.headers:
        return []
    with convert_format_errors(arguments.input):
        return list_mail(Path(arguments.input))


def mark_mails(
    arguments: argparse.Namespace,
    mails: list[MailFile],
    tables: Tables,
    params: expectations.Params,
) -> None:
    """Writes the mails with the verdicts on them. Raises: PipelineError."""
    output = Path(arguments.output)
    with resumable.exclusive_output(output):
        model, version = versions.load_champion()
        check_source(arguments.source, model, version)
        answers = _answers(arguments, tables, model, version, params)
        verdicts = mail_verdicts(_with_progress_bar(answers))
        write_marked(Path(arguments.input), mails, output, verdicts)


# ---- runs that can be interrupted


def label_file(
    arguments: argparse.Namespace, tables: Tables, columns: list[str], params: expectations.Params
) -> None:
    """Writes the output of a run, or its missing rows. Raises: PipelineError."""
    output = Path(arguments.output)
    form = format_of(arguments.output)
    settings = {
        "input": _input_identity(arguments.input),
        "--text": arguments.text,
        "--source": str(arguments.source),
        "--explain": str(arguments.explain),
        "section validate of params.yaml": repr(params),
    }
    with resumable.exclusive_output(output):
        model, version = _start_or_resume(output, settings, arguments.resume)
        check_source(arguments.source, model, version)
        with _keeping_parts(output, _can_be_read_again(arguments.input)):
            done = resumable.finished_rows(output)
            rest = skip_rows(tables, done)
            answers = _answers(arguments, rest, model, version, params)
            if form.fixed_columns:
                answers = with_columns(answers, [*columns, *_added_columns(arguments)])
            write_parts(output, _with_progress_bar(answers, done))
            resumable.join_parts(output, form.join)


def _input_identity(name: str) -> str:
    """Identifies the rows of an input; those of a pipe are this process's alone."""
    path = Path(name)
    if not _can_be_read_again(name):
        return f"process {os.getpid()}"
    if path.is_dir():
        return f"folder {mail_sha256(path)}"
    return f"{path.suffix.lower()} {file_sha256(path)}"


def _can_be_read_again(name: str) -> bool:
    return name != STANDARD_STREAM and (Path(name).is_file() or Path(name).is_dir())


def _start_or_resume(output: Path, settings: dict[str, str], resume: bool) -> tuple[Any, str]:
    """The model and its version: of the run that is resumed, or the champion for a new run.

    Args:
        settings: must be the same for a run to be resumed.
    """
    interrupted = resumable.read_run(output)
    changed = [name for name, value in settings.items() if interrupted.get(name) != value]
    rows = resumable.finished_rows(output)
    if interrupted and resume:
        if changed:
            raise PipelineError(
                f"{output}: was started with another {changed[0]}; restore it, "
                "or start again without --resume"
            )
        version = interrupted["model_version"]
        log.info("%s: continues after row %s, with version %s", output, f"{rows:,}", version)
        return versions.load_version(version), version
    model, version = versions.load_champion()
    if rows:
        hint = "" if changed else "; --resume would have kept them"
        log.warning("%s: removes %s rows of an interrupted run%s", output, f"{rows:,}", hint)
    resumable.start_run(output, settings | {"model_version": version})
    return model, version


@contextmanager
def _keeping_parts(output: Path, can_resume: bool) -> Iterator[None]:
    """Keeps the finished rows after an error, if `--resume` can continue; else removes them."""
    try:
        yield
    except BaseException as error:
        rows = resumable.finished_rows(output)
        if rows and can_resume and not isinstance(error, FormatError):
            log.warning("%s: keeps %s rows for --resume", output, f"{rows:,}")
        else:
            resumable.discard_run(output)
        raise
