"""Says of messages whether they are spam, how sure that is, and which words speak for it.

Without TEXT each line of standard input is a message. If a server of this project's champion runs
on this machine (`make serve`), it answers at once; otherwise the model is loaded, which takes some
seconds. Words are shown as the model reads them: without disguises such as f-r-e-e.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from pipeline.core.cli import argument_parser
from pipeline.core.errors import PipelineError
from pipeline.registry.compile_cache import compile_cache
from pipeline.serving.local_server import DEFAULT_ADDRESS, ask_server, serves_our_champion
from pipeline.serving.standard_input import standard_input_lines
from pipeline.serving.verdict_text import marked_text, sentence, weight_table

EXAMPLE = 'python -m pipeline predict "WIN a prize now! Text CLAIM to 87121"'


@compile_cache()
def main(argv: list[str] | None = None) -> None:
    options = _predict_options(argv)
    explain = options.explain or not options.json
    answer_to = champion_answerer(options.server, options.source, explain)
    try:
        for text in options.texts or standard_input_lines():
            print(_printed(text, answer_to(text), options), flush=True)
    except UnicodeDecodeError as error:
        raise PipelineError(f"-: {error}; save it as UTF-8") from error


def _predict_options(argv: list[str] | None) -> argparse.Namespace:
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="a message")
    parser.add_argument("--json", action="store_true", help="print an object a line")
    parser.add_argument(
        "--explain",
        action="store_true",
        help="show what each word weighs: in a terminal, words for spam are red and words for ham "
        "green, unless NO_COLOR is set; with --json, the object has `reasons`",
    )
    parser.add_argument("--source", help="whose threshold to use (default: that of unknown ones)")
    parser.add_argument(
        "--server",
        metavar="URL",
        help=f"ask this server (default: {DEFAULT_ADDRESS}, if it serves this project's champion)",
    )
    return parser.parse_args(argv)


def champion_answerer(
    server: str | None = None, source: str | None = None, explain: bool = True
) -> Callable[[str], dict[str, Any]]:
    """What answers a text: a server, or the model in this process.

    Args:
        server: its address; None: a server of this machine, if it serves our champion.
        source: of the texts.
        explain: whether an answer has `reasons`.

    Raises: PipelineError.
    """
    # a server takes any source, while the model in this process tells the ones that it knows
    if server is None and source is None and serves_our_champion(DEFAULT_ADDRESS):
        server = DEFAULT_ADDRESS
    if server is not None:
        return partial(ask_server, server, source=source, explain=explain)
    return _model_answerer(source, explain)


def _model_answerer(source: str | None, explain: bool) -> Callable[[str], dict[str, Any]]:
    from pipeline.registry import versions  # imported here, as MLflow takes seconds
    from pipeline.serving.explanations import explain_message
    from pipeline.serving.labels import check_source, label_messages, valid_unicode

    model, version = versions.load_champion()
    check_source(source, model, version)

    def answer_to(text: str) -> dict[str, Any]:
        text = valid_unicode(text)
        if explain:
            return {**explain_message(text, model, source), "model_version": version}
        (row,) = label_messages([text], model, [source]).to_dict("records")
        return {**row, "model_version": version}  # type: ignore[dict-item] # named columns

    return answer_to


def _printed(text: str, answer: dict[str, Any], options: argparse.Namespace) -> str:
    if options.json:
        return json.dumps({"text": text, **answer}, ensure_ascii=False)
    if not options.explain:
        return sentence(answer)
    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return "\n".join([sentence(answer), marked_text(answer, color), weight_table(answer), ""])
