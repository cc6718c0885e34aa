"""Checks whether the labels of new messages were tampered with.

It writes poisoning.json for programs and poisoning.html for a person. The page shows messages, so
both go to data/review, which is not in Git, unless --output names another folder.
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.core.cli import argument_parser
from pipeline.core.errors import PipelineError
from pipeline.core.files import write_json
from pipeline.core.params import read_params
from pipeline.core.tables import read_csv
from pipeline.evaluation.slices import source_name
from pipeline.models import baseline
from pipeline.monitoring.checks import Check, alarm_report, alarm_verdict
from pipeline.monitoring.html_report import write_html_report
from pipeline.monitoring.poisoning_checks import LabelledMessages, Params, check_labels
from pipeline.preprocessing import near_duplicates
from pipeline.preprocessing.normalize import canonicalise
from pipeline.preprocessing.time_windows import Mask
from pipeline.registry import versions
from pipeline.sources import readers

log = logging.getLogger(__name__)

EXAMPLE = "python -m pipeline poisoning data/validated/messages.parquet data/inbox/week.parquet"
CONFUSION_FILE = Path("reports/plots/confusion.csv")  # test labels and predictions of evaluate
PAGE_COLUMNS = ("source", "row", "label", "text")  # of a disputed message
PAGE_ROWS = 100


def detect_poisoning(
    messages: LabelledMessages, new: pd.DataFrame, folder: Path, params: Params
) -> list[Check]:
    """Checks the labels, writes `poisoning.json` and `poisoning.html`, and logs the verdict.

    Args:
        messages: as `dispute_by_reference` or `dispute_by_champion` returns them.
        new: the same new messages, with the columns of the page.
        folder: where both files go.
    """
    checks = check_labels(messages, params)
    lead = f"{len(new):,} new messages: {alarm_verdict(checks)}."
    disputed = new.loc[messages.disputed, list(PAGE_COLUMNS)].head(PAGE_ROWS)
    tables = {"Disputed labels": (PAGE_COLUMNS, disputed.to_numpy(object).tolist())}
    write_json(folder / "poisoning.json", alarm_report(checks, len(new)))
    write_html_report(folder / "poisoning.html", "Poisoning", lead, checks, tables)
    log.info("poisoning: %s", lead)
    return checks


# ---- which labels are disputed


def dispute_by_reference(reference: pd.DataFrame, new: pd.DataFrame) -> LabelledMessages:
    """The new messages, disputed by a baseline of the reference; its error is out of fold.

    Args:
        reference, new: columns `text`, `label` and `source`.
    """
    texts, new_texts = (list(map(canonicalise, rows["text"])) for rows in (reference, new))
    spam = _is_spam(reference)
    keys = near_duplicates.campaign_keys(texts)
    known = baseline.out_of_fold_scores(texts, spam, keys) > 0.5
    predicted = baseline.baseline_scorer(texts, spam)(new_texts) > 0.5
    known_name = source_name(reference).to_numpy(object)
    return disputed_messages(new, predicted, spam, known, known_name, texts)


def dispute_by_champion(new: pd.DataFrame) -> LabelledMessages:
    """The new messages, disputed by the champion's evaluated network; its error is that on test."""
    confusion = read_csv(CONFUSION_FILE)
    actual, known = (np.array(confusion[name]) == "spam" for name in ("actual", "predicted"))
    model = versions.load_evaluated_champion()
    prediction = model.predict(new[["text", "source"]].astype("str"))
    no_names = np.array([], object)
    return disputed_messages(new, _is_spam(prediction), actual, known, no_names, known_texts=[])


def disputed_messages(
    new: pd.DataFrame,
    predicted: Mask,
    known_spam: Mask,
    known: Mask,
    known_name: NDArray[np.object_],
    known_texts: list[str],
) -> LabelledMessages:
    """Compares labels with predictions; masks are True for spam.

    Args:
        new: n messages with columns `text`, `label` and `source`.
        predicted: (n,), the model's labels of them.
        known_spam: (k,), labels of the messages on which the error is known.
        known: (k,), the model's labels of them.
        known_name: (k,), the names of their sources, or none.
        known_texts: their texts, or none.
    """
    spam = _is_spam(new)
    return LabelledMessages(
        texts=new["text"].tolist(),
        spam=spam,
        source=new["source"].to_numpy(object),
        name=source_name(new).to_numpy(object),
        disputed=predicted != spam,
        known_spam=known_spam,
        known_disputed=known != known_spam,
        known_name=known_name,
        known_texts=known_texts,
    )


def _is_spam(messages: pd.DataFrame) -> Mask:
    return (messages["label"] == "spam").to_numpy(np.bool_)


# ---- the command


def has_enough_labels(messages: pd.DataFrame, params: Params) -> bool:
    """Whether there are enough labelled messages, of each label too, for the checks."""
    return len(messages) >= params.fewest_rows and _rarest_label(messages) >= baseline.DEFAULT_FOLDS


def _rarest_label(messages: pd.DataFrame) -> int:
    return int(min(messages["label"].eq(label).sum() for label in ("ham", "spam")))


def _read_labelled(path: Path, params: Params) -> pd.DataFrame:
    """The messages of a file with text and label. Raises: PipelineError if too few."""
    messages = readers.read_messages(path)
    is_labelled = messages["text"].notna() & messages["label"].isin(["ham", "spam"])
    labelled = messages[is_labelled].reset_index(drop=True)
    if not has_enough_labels(labelled, params):
        raise PipelineError(
            f"{path}: {len(labelled):,} labelled messages, {_rarest_label(labelled):,} of one "
            f"label, but {params.fewest_rows:,} (poisoning.fewest_rows) and "
            f"{baseline.DEFAULT_FOLDS} of each label are needed; add messages"
        )
    return labelled


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument(
        "reference", type=Path, metavar="REFERENCE", help="messages with trusted labels"
    )
    parser.add_argument("new", type=Path, metavar="NEW", help="labelled messages to check")
    parser.add_argument(
        "--champion",
        action="store_true",
        help="let the model in service dispute labels, not a model of REFERENCE",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("data/review"),
        metavar="FOLDER",
        help="default: data/review",
    )
    arguments = parser.parse_args(argv)
    params = read_params(Params, "poisoning")
    reference = _read_labelled(arguments.reference, params)
    new = _read_labelled(arguments.new, params)
    if arguments.champion:
        messages = dispute_by_champion(new)
    else:
        messages = dispute_by_reference(reference, new)
    detect_poisoning(messages, new, arguments.output, params)
