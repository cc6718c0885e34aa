"""Measures what each kind of network can remember, on four tasks that need a memory.

Each network has about as many weights as the others, and is trained anew on each task for each
seed. Prints a table and a sentence a task, and draws the accuracy against distance or length, with
its standard deviation over the seeds, as reports/benchmarks/memory_TASK.svg. Results are kept for
the same messages, params and code.

Sources: Bengio and others 1994, Learning Long-Term Dependencies with Gradient Descent is Difficult
(a marker at a distance); Graves and others 2014, Neural Turing Machines (copy, associative recall).
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from keras import layers, ops

from benchmarks.quality import RESULTS, complete, markdown, spread
from pipeline import vectorize
from pipeline.core.cli import argument_parser, run_stage
from pipeline.core.files import atomic_path
from pipeline.core.hashing import file_sha256
from pipeline.core.params import read_params
from pipeline.core.tables import read_parquet
from pipeline.models.batches import pad
from pipeline.models.dnc import DNCCell
from pipeline.models.training import make_deterministic
from pipeline.preprocessing.splits import assign_splits
from pipeline.tracking.plots import render_svg

EXAMPLE = "python -m benchmarks.memory --tasks marker copy --seeds 3"
MESSAGES = Path("data/validated/messages.parquet")
WEIGHTS = 10_000  # of each network, about, without the embedding of tokens
MOST_UNITS = 1024
EMBEDDING_DIM = 16
MEMORY = {"memory_rows": 24, "memory_width": 12, "read_heads": 1}  # of dnc, in training
BATCH_SIZE = 32
LEARNING_RATE = 0.005
LARGEST_GRADIENT = 1.0  # the norm to which longer gradients are cut
TESTED = 512  # sequences at each distance or length
REMEMBERED = 0.95  # accuracy from which a network is said to remember

NOISE, MARKERS = 8, 2  # tokens of the task marker
MOST_BEFORE = 10  # noise tokens before the marker
COPIED_BITS = 8  # of a vector of the task copy
ITEM_LENGTH, ITEM_BITS = 3, 6  # vectors of an item, and bits of a vector, of the task recall
WORDS = 2_000  # most frequent words of train that have a token of their own
MOST_WORDS = 50  # of a message of the task message
NEUTRAL_WORDS = 50
NEUTRAL = (0.8, 1.25)  # least and greatest ratio of a neutral word's spam share to that of train

Examples = tuple[np.ndarray, np.ndarray]  # inputs, and the right bits of the last outputs
Sample = Callable[[np.random.Generator, int, int, bool], Examples]


@dataclass(frozen=True)
class Task:
    """What is learned: examples of some level, which is a distance, a length or a number.

    `sample(random, n, level, is_test)` gives inputs, (n, t) token ids or (n, t, features) vectors,
    and bits (n, answers, outputs), which the last `answers` outputs should be.
    """

    sample: Sample
    level: str  # what the level is
    trained: Sequence[int]  # levels that are trained on, as often as each other
    tested: Sequence[int]
    steps: int  # batches of training
    outputs: int = 1
    features: int | None = None  # of a vector; None for tokens
    vocabulary: int = 0  # with the token of padding
    each_step: bool = False  # whether there is an output at each step, or at the last alone
    tested_rows: int = MEMORY["memory_rows"]  # of dnc's memory in the test; weights stay the same


# ---- the tasks


def marker(random: np.random.Generator, size: int, level: int, is_test: bool) -> Examples:
    """Noise tokens; the marker at this distance before the last of them is the label."""
    before = int(random.integers(MOST_BEFORE + 1))
    tokens = random.integers(1, NOISE + 1, (size, before + 1 + level), dtype=np.int32)
    label = random.integers(0, MARKERS, size)
    tokens[:, before] = NOISE + 1 + label
    return tokens, label[:, None, None].astype(np.float32)


def copy(random: np.random.Generator, size: int, level: int, is_test: bool) -> Examples:
    """So many random vectors, a mark, then as many empty steps, at which they are reproduced."""
    bits = random.integers(0, 2, (size, level, COPIED_BITS)).astype(np.float32)
    steps = np.zeros((size, 2 * level + 1, COPIED_BITS + 1), np.float32)
    steps[:, :level, :-1] = bits
    steps[:, level, -1] = 1
    return steps, bits


def recall(random: np.random.Generator, size: int, level: int, is_test: bool) -> Examples:
    """So many items, each after a mark, then one of them again: the answer is the item after it."""
    items = random.integers(0, 2, (size, level, ITEM_LENGTH, ITEM_BITS)).astype(np.float32)
    asked = random.integers(0, level - 1, size)
    marked = np.zeros((size, level, 1 + ITEM_LENGTH, ITEM_BITS + 2), np.float32)
    marked[:, :, 0, -2] = 1
    marked[:, :, 1:, :-2] = items
    query = np.zeros((size, 2 + 2 * ITEM_LENGTH, ITEM_BITS + 2), np.float32)
    query[:, [0, 1 + ITEM_LENGTH], -1] = 1
    query[:, 1 : 1 + ITEM_LENGTH, :-2] = items[np.arange(size), asked]
    listed = marked.reshape(size, -1, ITEM_BITS + 2)
    return np.concatenate([listed, query], axis=1), items[np.arange(size), asked + 1]


def message(random: np.random.Generator, size: int, level: int, is_test: bool) -> Examples:
    """Messages of at most MOST_WORDS words, half of them spam, each before so many neutral ones."""
    train, test, neutral = tokenized_messages()
    classes = test if is_test else train
    spam = random.integers(0, 2, size)
    chosen = [classes[label][random.integers(len(classes[label]))] for label in spam]
    added = random.choice(neutral, (size, level))
    ids = [np.concatenate([own, more]) for own, more in zip(chosen, added, strict=True)]
    return pad(ids), spam[:, None, None].astype(np.float32)


Classes = tuple[list[np.ndarray], list[np.ndarray]]  # token ids of the ham and of the spam


@cache
def tokenized_messages() -> tuple[Classes, Classes, np.ndarray]:
    """The messages of train and of test, and the ids of neutral words; a token is a word."""
    rows, _ = assign_splits(
        read_parquet(MESSAGES).to_pandas(), read_params(vectorize.Params, "vectorize")
    )
    rows = rows[~rows["left_out"]].assign(words=rows["text"].map(words_in))
    rows = rows[rows["words"].map(len) <= MOST_WORDS]
    train = rows[rows["split"] == "train"]
    documents = Counter(word for words in train["words"] for word in set(words))
    ids = {word: 1 + n for n, (word, _) in enumerate(documents.most_common(WORDS))}
    unknown = 1 + len(ids)

    def classes(part: pd.DataFrame) -> Classes:
        encoded = part["words"].map(lambda w: np.array([ids.get(x, unknown) for x in w], np.int32))
        ham, spam = (encoded[part["label"] == label].tolist() for label in ("ham", "spam"))
        return ham, spam

    spam_rows = train[train["label"] == "spam"]
    in_spam = Counter(word for words in spam_rows["words"] for word in set(words))
    share = len(spam_rows) / len(train)
    ratio = {word: in_spam[word] / documents[word] / share for word in ids}
    neutral = [ids[word] for word in ids if NEUTRAL[0] <= ratio[word] <= NEUTRAL[1]]
    test = rows[rows["split"] == "test"]
    return classes(train), classes(test), np.array(neutral[:NEUTRAL_WORDS], np.int32)


def words_in(text: str) -> list[str]:
    """The words of a message and its other signs, in lower case; at least one."""
    return re.findall(r"\w+|[^\w\s]", text.lower()) or ["."]


TASKS = {
    "marker": Task(
        marker,
        level="distance, tokens",
        trained=(5, 10, 25, 50, 100, 200),
        tested=(5, 10, 25, 50, 100, 200),
        steps=500,
        vocabulary=1 + NOISE + MARKERS,
    ),
    "near_marker": Task(
        marker,
        level="distance, tokens; trained up to 10",
        trained=(5, 10),
        tested=(5, 10, 25, 50, 100, 200),
        steps=500,
        vocabulary=1 + NOISE + MARKERS,
    ),
    "copy": Task(
        copy,
        level="length, vectors",
        trained=range(1, 11),
        tested=(1, 2, 4, 6, 8, 10, 15, 20, 30, 40),
        steps=2_000,
        outputs=COPIED_BITS,
        features=COPIED_BITS + 1,
        each_step=True,
        tested_rows=48,
    ),
    "recall": Task(
        recall,
        level="items",
        trained=range(2, 7),
        tested=(2, 3, 4, 5, 6, 8, 10, 15, 20),
        steps=1_200,
        outputs=ITEM_BITS,
        features=ITEM_BITS + 2,
        each_step=True,
        tested_rows=64,
    ),
    "message": Task(
        message,
        level="neutral words after the message",
        trained=(0, 10, 25, 50, 100),
        tested=(0, 10, 25, 50, 100, 200),
        steps=1_200,
        vocabulary=2 + WORDS,
    ),
}


# ---- the networks

Core = Callable[[keras.KerasTensor, int, bool], keras.KerasTensor]  # steps, units, each_step


def dense_core(steps: keras.KerasTensor, units: int, each_step: bool) -> keras.KerasTensor:
    """A layer of ReLU on the mean of the steps; at each step, on it and the mean up to there."""
    hidden = layers.Dense(units, activation="relu")
    if not each_step:
        return hidden(layers.GlobalAveragePooling1D()(steps))
    mean = ops.cumsum(steps, axis=1) / ops.cumsum(ops.ones_like(steps), axis=1)
    return hidden(layers.Concatenate()([steps, mean]))


def rnn_core(steps: keras.KerasTensor, units: int, each_step: bool) -> keras.KerasTensor:
    return layers.SimpleRNN(units, return_sequences=each_step)(steps)


def lstm_core(steps: keras.KerasTensor, units: int, each_step: bool) -> keras.KerasTensor:
    return layers.LSTM(units, return_sequences=each_step)(steps)


def bilstm_core(steps: keras.KerasTensor, units: int, each_step: bool) -> keras.KerasTensor:
    return layers.Bidirectional(layers.LSTM(units, return_sequences=each_step))(steps)


def dnc_core(steps: keras.KerasTensor, units: int, each_step: bool) -> keras.KerasTensor:
    cell = DNCCell(units, **MEMORY, output_size=units)
    return layers.RNN(cell, return_sequences=each_step)(steps)


CORES: dict[str, Core] = {
    "dense": dense_core,
    "rnn": rnn_core,
    "lstm": lstm_core,
    "bilstm": bilstm_core,
    "dnc": dnc_core,
}


def network(name: str, units: int, task: Task) -> keras.Model:
    """The untrained network: inputs of the task to logits, (n, t or 1, outputs)."""
    if task.features:
        inputs = steps = layers.Input((None, task.features))
    else:
        inputs = layers.Input((None,), dtype="int32")
        steps = layers.Embedding(task.vocabulary, EMBEDDING_DIM, mask_zero=True)(inputs)
    logits = layers.Dense(task.outputs)(CORES[name](steps, units, task.each_step))
    return keras.Model(inputs, logits if task.each_step else ops.expand_dims(logits, 1))


def weights_of(model: keras.Model) -> int:
    """Weights that are trained, without an embedding."""
    counted = [weight for weight in model.trainable_weights if "embedding" not in weight.path]
    return sum(math.prod(weight.shape) for weight in counted)


@cache
def units_for(name: str, task: Task) -> int:
    """The most units with which the network has at most WEIGHTS weights, by bisection."""
    low, high = 1, MOST_UNITS
    while low < high:
        middle = (low + high + 1) // 2
        fits = weights_of(network(name, middle, task)) <= WEIGHTS
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


# ---- one training


def measure(name: str, part: str, share: float) -> dict[str, float]:
    """The share of right bits at each tested level, and the weights. Args: part: TASK SEED."""
    task_name, seed = part.split()
    task = TASKS[task_name]
    units = units_for(name, task)
    make_deterministic(int(seed))
    model = network(name, units, task)
    train(model, task, batches(task, int(seed), max(1, round(share * task.steps))))
    set_memory_rows(model, task.tested_rows)
    score = tf.function(model, reduce_retracing=True)
    random = np.random.default_rng((int(seed), 1))  # others than those of training
    right = {}
    for level in task.tested:
        inputs, bits = task.sample(random, TESTED, level, True)
        logits = score(tf.constant(inputs)).numpy()[:, -bits.shape[1] :]
        right[str(level)] = float(np.mean((logits > 0) == (bits > 0)))
    return right | {"weights": weights_of(model)}


def set_memory_rows(model: keras.Model, rows: int) -> None:
    """Gives dnc so large a memory, without training, as Graves and others 2016 do."""
    for layer in model.layers:
        if isinstance(layer, layers.RNN) and isinstance(layer.cell, DNCCell):
            layer.cell.memory_rows = rows


def batches(task: Task, seed: int, steps: int) -> Iterator[Examples]:
    """Batches of random levels."""
    random = np.random.default_rng((seed, 0))
    for level in random.choice(task.trained, steps):
        yield task.sample(random, BATCH_SIZE, int(level), False)


def train(model: keras.Model, task: Task, examples: Iterator[Examples]) -> None:
    """Trains the model in place."""
    optimizer = keras.optimizers.Adam(LEARNING_RATE, clipnorm=LARGEST_GRADIENT)
    optimizer.build(model.trainable_variables)
    of_inputs = (None, None, task.features) if task.features else (None, None)
    signature = [
        tf.TensorSpec(of_inputs, tf.float32 if task.features else tf.int32),
        tf.TensorSpec((None, None, task.outputs), tf.float32),
    ]

    @tf.function(input_signature=signature)
    def step(inputs: tf.Tensor, bits: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            logits = model(inputs, training=True)[:, -tf.shape(bits)[1] :]
            loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(bits, logits))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)

    for inputs, bits in examples:
        step(tf.constant(inputs), tf.constant(bits))


# ---- what was seen


def accuracies(task_name: str, results: dict, names: Sequence[str], seeds: int) -> pd.DataFrame:
    """The columns network, level, seed and accuracy, in per cent."""
    records = [
        {"network": name, "level": level, "seed": seed, "accuracy": 100 * figures[str(level)]}
        for name in names
        for seed in range(seeds)
        for figures in [results[f"{name} {task_name} {seed}"]]
        for level in TASKS[task_name].tested
    ]
    return pd.DataFrame(records)


def accuracy_table(task_name: str, rows: pd.DataFrame) -> str:
    """Markdown: mean and standard deviation for each network and level."""
    cells = rows.groupby(["level", "network"], sort=False)["accuracy"].apply(spread).unstack()
    order = rows["network"].unique()
    table = cells[order].sort_index().rename(index=str)
    return markdown(f"{task_name}: {TASKS[task_name].level}", table)


def sentence(task_name: str, rows: pd.DataFrame) -> str:
    """How far each network remembers: up to the level before the first that it fails."""
    means = rows.groupby(["network", "level"], sort=False)["accuracy"].mean()
    parts = []
    for name in rows["network"].unique():
        of_name = means[name].sort_index()
        passed = (of_name >= 100 * REMEMBERED).cumprod()
        reached = of_name.index[passed.astype(bool)]
        span = f"{of_name.iloc[0]:.0f} to {of_name.iloc[-1]:.0f} %"
        parts.append(f"{name} up to {reached[-1]}" if len(reached) else f"{name} nowhere ({span})")
    level = TASKS[task_name].level
    return f"At least {REMEMBERED:.0%} of the bits are right ({level}): {', '.join(parts)}."


def plot(task_name: str, rows: pd.DataFrame) -> str:
    """An SVG picture: the mean accuracy of each network, and a band of the standard deviation."""
    axis = {"field": "level", "type": "quantitative", "title": TASKS[task_name].level}
    y_axis = {"field": "accuracy", "type": "quantitative", "scale": {"domain": [40, 100]}}
    encoding = {"x": axis, "color": {"field": "network", "type": "nominal", "sort": [*CORES]}}
    band = {"mark": {"type": "errorband", "extent": "stdev", "clip": True}}
    line = {"mark": {"type": "line", "point": True, "clip": True}}
    title = {"title": "right bits, %"}
    spec = {
        "width": 480,
        "height": 300,
        "title": task_name,
        "data": {"values": rows.to_dict("records")},
        "encoding": encoding,
        "layer": [
            band | {"encoding": {"y": y_axis | title}},
            line | {"encoding": {"y": y_axis | title | {"aggregate": "mean"}}},
        ],
    }
    return render_svg(spec)


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=[*TASKS])
    parser.add_argument("--networks", nargs="+", choices=CORES, default=[*CORES])
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds (default: 3)")
    share_help = "share of the training steps, for a trial run (default: 1)"
    parser.add_argument("--share", type=float, default=1.0, help=share_help)
    options = parser.parse_args(argv)
    parts = [f"{task} {seed}" for seed in range(options.seeds) for task in options.tasks]
    tasks = [(name, part) for part in parts for name in options.networks]
    key = {"share": options.share, "code": file_sha256(Path(__file__))}
    key["messages"] = file_sha256(MESSAGES) if MESSAGES.exists() else None
    results = complete(RESULTS / "memory.json", tasks, partial(measure, share=options.share), **key)
    for task in options.tasks:
        rows = accuracies(task, results, options.networks, options.seeds)
        print(accuracy_table(task, rows), sentence(task, rows), sep="\n\n", end="\n\n")
        with atomic_path(RESULTS / f"memory_{task}.svg") as temporary:
            temporary.write_text(plot(task, rows), encoding="utf-8")


if __name__ == "__main__":
    run_stage(main)
