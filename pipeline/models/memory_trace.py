"""Draws which rows of its memory a `dnc` network writes and reads at each token of a message.

The network is the one in models/, trained with `train.model: dnc`. The picture goes to
data/review/memory.svg, which is not in Git, unless --output names another file.
"""

import json
import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import layers, ops
from tokenizers import Tokenizer

from pipeline.core.cli import argument_parser
from pipeline.core.errors import PipelineError
from pipeline.core.files import write_text
from pipeline.models import keras_files
from pipeline.models.dnc import DNCCell, MemoryState
from pipeline.preprocessing.tokenizer import encode_texts, read_spec
from pipeline.tracking.plots import render_svg

log = logging.getLogger(__name__)

EXAMPLE = 'python -m pipeline memory-trace "WIN a prize now"'
FILES = {  # options, and their defaults
    "tokenizer": Path("models/tokenizer.json"),
    "network": Path("models/model.keras"),
    "output": Path("data/review/memory.svg"),
}
PIXELS = 14  # width and height of a cell of the picture
HOW_TO_TRAIN = "train one with `dvc exp run --set-param train.model=dnc`"


def memory_layer(network: keras.Model) -> layers.RNN:
    """The layer of the network whose cell has a memory. Raises: PipelineError if none has one."""
    for layer in network.layers:
        if isinstance(layer, layers.RNN) and isinstance(layer.cell, DNCCell):
            return layer
    raise PipelineError(f"the network {network.name} has no memory; {HOW_TO_TRAIN}")


def weightings(network: keras.Model, token_ids: list[int]) -> pd.DataFrame:
    """How strongly each row of the memory is written and read at each token.

    Args:
        token_ids: t, of one message.
    Raises: PipelineError if the network has no memory.
    Returns: columns access (write, read 1, ...), token (0 to t - 1), row (from 0) and weight (in
        [0, 1]); the weights of an access at a token add up to 1 at most.
    """
    layer = memory_layer(network)
    steps, _ = layer.input  # the embedded tokens, and the mask
    embedded = keras.Model(network.input, steps)(np.array([token_ids], np.int32))
    states = layer.cell.get_initial_state(1)
    tables = []
    for token in range(len(token_ids)):
        _, states = layer.cell(embedded[:, token], states)
        state = MemoryState(*states)
        reads = ops.convert_to_numpy(state.read_weightings)[0]
        accesses = {"write": ops.convert_to_numpy(state.write_weighting)[0]}
        accesses |= {f"read {head}": read for head, read in enumerate(reads, 1)}
        for access, weights in accesses.items():
            columns = {"access": access, "token": token, "row": range(len(weights))}
            tables.append(pd.DataFrame({**columns, "weight": weights}))
    return pd.concat(tables, ignore_index=True)


def picture(table: pd.DataFrame, tokens: list[str]) -> str:
    """An SVG: for each access a chart of rows against tokens, the darker the greater the weight."""
    names = [f"{position}: {token}" for position, token in enumerate(tokens)]
    cells = table.assign(token=[names[position] for position in table["token"]])
    spec: dict[str, Any] = {
        "data": {"values": cells.to_dict("records")},
        "facet": {"row": {"field": "access", "title": None, "sort": [*table["access"].unique()]}},
        "spec": {
            "width": {"step": PIXELS},
            "height": {"step": PIXELS},
            "mark": "rect",
            "encoding": {
                "x": {"field": "token", "type": "ordinal", "sort": names, "title": None},
                "y": {"field": "row", "type": "ordinal", "title": "row of the memory"},
                "color": {
                    "field": "weight",
                    "type": "quantitative",
                    "scale": {"domain": [0, 1], "scheme": "blues"},
                },
            },
        },
    }
    return render_svg(spec)


def trace(message: str, tokenizer: Tokenizer, network: keras.Model) -> str:
    """The picture of a message, as SVG. Raises: PipelineError if the network has no memory."""
    (token_ids,) = encode_texts([message], tokenizer)
    tokens = [tokenizer.decode([i], skip_special_tokens=False) for i in token_ids]
    return picture(weightings(network, token_ids), tokens)


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("message", metavar="MESSAGE")
    for option, default in FILES.items():
        help_text = f"default: {default}"
        parser.add_argument(
            f"--{option}", type=Path, default=default, metavar="FILE", help=help_text
        )
    arguments = parser.parse_args(argv)
    tokenizer = Tokenizer.from_str(json.dumps(read_spec(arguments.tokenizer)))
    network = keras_files.load(arguments.network)
    write_text(arguments.output, trace(arguments.message, tokenizer, network))
    log.info("memory-trace: %s", arguments.output)
