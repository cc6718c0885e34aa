"""Batches waste little, the best weights are kept, and the same seed gives the same network."""

import itertools
import json
import math
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import average_precision_score, log_loss
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from pipeline import train
from pipeline.core.errors import PipelineError
from pipeline.core.params import read_params, read_yaml
from pipeline.core.schemas import SHARD
from pipeline.core.tables import write_shards
from pipeline.models import architectures, augmentation, training, wide
from pipeline.models.architectures import MODELS
from pipeline.models.batches import Rows, hold_out, pad, shuffled_batches, sorted_batches
from pipeline.models.checkpoints import Checkpoint
from pipeline.models.training import Epoch, Params, best_epoch
from pipeline.preprocessing import params as params_
from pipeline.preprocessing.params import Shares
from pipeline.preprocessing.tokenizer import encode_texts, fit_tokenizer
from pipeline.tracking.runs import flatten_params
from tests.harness.small_project import ROOT, runner, set_params, stage_arguments

PARAMS = Params(
    model="dense",
    embedding_dim=5,
    units=6,
    dropout=0.0,
    token_dropout=0.0,
    wide_share=0.0,
    corruptions=[],
    corrupted=0.5,
    copies=1,
    learning_rate=0.03,
    batch_size=8,
    epochs=9,
    patience=9,
    stop_share=0.3,
    seed=1,
)
STILL = 1e-12  # a learning rate that moves no weight of float32
VOCABULARY = 40
SPAMMY = 7  # the token id that makes a message spam, in the toy problem


def toy(n, seed=0):
    """Messages of 2 to 7 tokens, spam if SPAMMY is among them, which is half of them."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(n) % 2).astype(np.float32)
    token_ids = [
        random.integers(8, VOCABULARY, random.integers(2, 8)).astype(np.int32) for _ in labels
    ]
    for ids, label in zip(token_ids, labels, strict=True):
        if label:
            ids[random.integers(len(ids))] = SPAMMY
    return Rows(token_ids, labels)


def noise(n, seed):
    """Messages whose labels say nothing."""
    rows = toy(n, seed)
    return Rows(rows.token_ids, np.random.default_rng(seed + 100).permutation(rows.labels))


def network(params):
    keras.utils.set_random_seed(params.seed)
    return MODELS[params.model](
        training.network_size({"model": {"vocab": {str(i): i for i in range(VOCABULARY)}}}, params)
    )


def trained(params, rows, stop):
    """The network, its curves, and its weights after each epoch."""
    model, weights = network(params), []
    curves = training.train(
        rows, stop, model, params, lambda epoch: weights.append(model.get_weights())
    )
    return model, curves, weights


def scores(model, rows):
    return model(pad(rows.token_ids), training=False).numpy()[:, 0].astype(np.float64)


def same(some, others):
    return all(np.array_equal(a, b) for a, b in zip(some, others, strict=True))


# ---- batches


def numbered(n, longest=50):
    """Messages of many lengths, each of which holds its own number alone."""
    lengths = np.random.default_rng(3).integers(1, longest + 1, n)
    return Rows(
        [np.full(k, i + 1, np.int32) for i, k in enumerate(lengths)], np.arange(n, dtype=np.float32)
    )


def order_of(rows, size, seed):
    return [labels.astype(int).tolist() for _, labels in shuffled_batches(rows, size, seed)]


def test_pad_fills_up_on_the_right_to_the_longest():
    found = pad([np.array([5, 6, 7], np.int32), np.array([8], np.int32)])
    assert found.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert found.dtype == np.int32


@pytest.mark.parametrize(("n", "size"), [(1000, 8), (7, 8), (8, 8), (1, 3), (641, 16)])
def test_batches_hold_every_row_once_with_its_label(n, size):
    rows = numbered(n)
    seen = []
    for token_ids, labels in shuffled_batches(rows, size, (1, 1)):
        assert len(labels) <= size
        for ids, label in zip(token_ids, labels, strict=True):
            whole = rows.token_ids[int(label)]
            assert ids.tolist() == whole.tolist() + [architectures.PAD] * (len(ids) - len(whole))
            seen.append(int(label))
    assert sorted(seen) == list(range(n))
    assert len(order_of(rows, size, (1, 1))) == math.ceil(n / size)


def test_order_is_a_function_of_seed_and_epoch():
    rows = numbered(300)
    first = order_of(rows, 8, (1, 1))
    np.random.default_rng().random()
    assert order_of(rows, 8, (1, 1)) == first
    assert order_of(rows, 8, (1, 2)) != first
    assert order_of(rows, 8, (2, 1)) != first
    assert {frozenset(batch) for batch in order_of(rows, 8, (1, 2))} != {
        frozenset(batch) for batch in first
    }


def test_messages_of_like_length_share_a_batch():
    rows = numbered(2000)
    real = sum(map(len, rows.token_ids))
    bucketed = sum(token_ids.size for token_ids, _ in shuffled_batches(rows, 8, (1, 1))) - real
    shuffled = np.random.default_rng(1).permutation(2000).reshape(-1, 8)
    plain = sum(pad(rows.take(part).token_ids).size for part in shuffled) - real
    assert bucketed < plain / 10


def test_chunks_hold_every_row_once_in_order_of_length():
    rows = numbered(300)
    found = [
        (token_ids.shape[1], labels.tolist()) for token_ids, labels in sorted_batches(rows, 64)
    ]
    assert sorted(label for _, labels in found for label in labels) == list(range(300))
    assert [width for width, _ in found] == sorted(width for width, _ in found)
    assert [len(labels) for _, labels in found] == [64, 64, 64, 64, 44]


# ---- corruption

SPOKEN = [
    "free prize for you today",
    "are we having lunch at one",
    "Ok lar, see you there",
    "win cash now",
] * 6


@pytest.fixture(scope="module")
def tokenizer():
    shares = Shares(0.7, 0.15, 0.15)
    return fit_tokenizer(SPOKEN, params_.Params(shares, "1", 7, 365, 99, 320, 60, 100))


@pytest.fixture(scope="module")
def spoken(tokenizer):
    ids = [np.array(ids, np.int32) for ids in encode_texts(SPOKEN, tokenizer)]
    return Rows(ids, np.array([1, 0, 0, 1] * 6, np.float32))


def test_without_corruptions_the_rows_stay(spoken, tokenizer):
    assert training.corrupter(spoken, tokenizer, [])((1, 1), 1.0) is spoken


def test_what_is_not_chosen_keeps_its_ids_and_what_is_gets_those_of_an_edited_text(
    spoken, tokenizer
):
    vary = training.corrupter(spoken, tokenizer, ["ham_words"])
    assert all(map(np.array_equal, vary((1, 1), 0.0).token_ids, spoken.token_ids))
    for share in (0.5, 1.0):
        found = vary((1, 1), share)
        assert found.labels is spoken.labels
        longer = 0
        for ids, before in zip(found.token_ids, spoken.token_ids, strict=True):
            read, written = (
                tokenizer.decode(ids[1:].tolist()),
                tokenizer.decode(before[1:].tolist()),
            )
            assert written.strip() in read or len(ids) == 60  # or cut at its length
            longer += len(ids) > len(before)
        assert longer == 24 if share == 1 else 3 < longer < 21


def test_words_of_ham_alone_are_added_and_only_those_that_may_train(spoken, tokenizer):
    found = training.corrupter(spoken, tokenizer, ["ham_words"])((1, 1), 1.0)
    ham = {word for message in SPOKEN[1:3] for word in message.split()}
    for ids, message in zip(found.token_ids, SPOKEN, strict=True):
        added = set(tokenizer.decode(ids[1:].tolist()).split()) - set(message.split())
        assert all(word in ham and augmentation.may_train(word) for word in added) or len(ids) == 60


def test_corruption_follows_from_seed_and_epoch(spoken, tokenizer):
    vary = training.corrupter(spoken, tokenizer, list(augmentation.CORRUPTIONS))

    def said(seed):
        return [ids.tolist() for ids in vary(seed, 0.7).token_ids]

    assert said((1, 1)) == said((1, 1))
    assert said((1, 1)) != said((1, 2))
    assert said((1, 1)) != said((2, 1))


def test_the_wide_path_is_fitted_on_the_rows_and_stands_in_the_network(spoken, tokenizer):
    params = replace(
        PARAMS, model="bilstm", wide_share=1.0, corruptions=["slips"], copies=2, epochs=1
    )
    spec = json.loads(tokenizer.to_str())
    model, _ = training.fit(spoken, spoken, spec, params, len)
    assert ((scores(model, spoken) > 0.5) == (spoken.labels > 0)).all()


def test_without_corruptions_the_wide_path_is_fitted_on_each_row_once(
    spoken, tokenizer, monkeypatch
):
    seen = []
    monkeypatch.setattr(wide, "fit", lambda model, batches: seen.extend(len(y) for _, y in batches))
    for corruptions, copies in (([], 2), (["slips"], 2), (["slips"], 0)):
        params = replace(PARAMS, corruptions=corruptions, copies=copies)
        training.fit_wide(None, training.corrupter(spoken, tokenizer, corruptions), params)
    assert seen == [24, 24, 24, 24, 24]


def test_the_deep_path_is_trained_and_judged_alone(spoken, tokenizer):
    spec = json.loads(tokenizer.to_str())
    params = replace(PARAMS, model="bilstm", corruptions=["slips"], copies=1, epochs=2)
    alone, with_wide = (
        training.fit(spoken, spoken, spec, replace(params, wide_share=share), len)
        for share in (0.0, 0.8)
    )
    assert alone[1] == with_wide[1]
    for name in ("deep", "wide"):
        first, second = (model.get_layer(name).get_weights() for model, _ in (alone, with_wide))
        assert all(map(np.array_equal, first, second))
    assert scores(alone[0], spoken).tolist() != scores(with_wide[0], spoken).tolist()


# ---- what is held out


def campaigns(n, copies=3):
    return pd.DataFrame({"campaign_key": [f"{i:016x}" for i in range(n) for _ in range(copies)]})


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_held_out_is_about_that_share_of_the_campaigns_each_whole(share):
    table = campaigns(2000)
    aside = hold_out(table, share, 1)
    by_campaign = aside.reshape(2000, 3)
    assert (by_campaign.all(axis=1) == by_campaign.any(axis=1)).all()
    assert by_campaign[:, 0].mean() == pytest.approx(share, abs=4 * math.sqrt(share / 2000))


def test_no_other_message_moves_one_into_or_out_of_what_is_held_out():
    table = campaigns(500)
    some = np.random.default_rng(2).random(1500) < 0.4
    assert hold_out(table[some], 0.3, 1).tolist() == hold_out(table, 0.3, 1)[some].tolist()
    assert hold_out(table, 0.3, 2).tolist() != hold_out(table, 0.3, 1).tolist()


# ---- the loop


def test_curves_of_an_epoch_are_what_numpy_makes_of_the_scores():
    rows, stop = toy(61, seed=1), toy(35, seed=2)
    model, (epoch,), _ = trained(replace(PARAMS, learning_rate=STILL, epochs=1), rows, stop)
    for part, loss, accuracy in (
        (rows, epoch.loss, epoch.accuracy),
        (stop, epoch.stop_loss, epoch.stop_accuracy),
    ):
        spam, score = part.labels > 0, scores(model, part)
        assert loss == pytest.approx(-np.mean(np.log(np.where(spam, score, 1 - score))), abs=1e-6)
        assert accuracy == pytest.approx(np.mean((score >= 0.5) == spam))
    assert epoch.stop_average_precision == pytest.approx(
        average_precision_score(stop.labels, scores(model, stop))
    )


def test_training_is_what_keras_does_with_the_batches_of_each_epoch():
    rows, params = toy(61, seed=1), replace(PARAMS, epochs=3)
    _, _, weights = trained(params, rows, toy(16, seed=2))
    oracle = network(params)
    falling = keras.optimizers.schedules.CosineDecay(
        params.learning_rate, 3 * math.ceil(61 / params.batch_size)
    )
    oracle.compile(keras.optimizers.Adam(falling), "binary_crossentropy")
    for number in (1, 2, 3):
        for token_ids, labels in shuffled_batches(rows, params.batch_size, (params.seed, number)):
            oracle.train_on_batch(token_ids, labels[:, None])
        for ours, theirs in zip(weights[number - 1], oracle.get_weights(), strict=True):
            assert ours == pytest.approx(theirs, abs=1e-5)


def test_weights_left_are_those_of_the_best_epoch():
    rows, stop = noise(64, seed=3), noise(48, seed=4)
    model, curves, weights = trained(replace(PARAMS, learning_rate=0.3), rows, stop)
    best = best_epoch(curves)
    assert 1 < best.epoch < len(curves) == 9
    assert same(model.get_weights(), weights[best.epoch - 1])
    assert not same(model.get_weights(), weights[-1])
    left = average_precision_score(stop.labels, scores(model, stop))
    assert left == pytest.approx(max(epoch.stop_average_precision for epoch in curves), abs=1e-6)
    assert log_loss(stop.labels, scores(model, stop)) == pytest.approx(best.stop_loss, abs=1e-5)


@pytest.mark.parametrize("patience", [1, 3])
def test_training_stops_when_patience_epochs_were_no_better(patience):
    params = replace(PARAMS, learning_rate=STILL, patience=patience)
    _, curves, _ = trained(params, toy(32), toy(32, seed=5))
    assert [epoch.epoch for epoch in curves] == list(range(1, patience + 2))
    assert best_epoch(curves).epoch == 1


def test_best_epoch_has_the_least_loss_of_those_with_the_best_average_precision():
    pairs = [(0.5, 0.1), (0.9, 0.3), (0.7, 0.1), (0.9, 0.2), (0.9, 0.2)]
    curves = [
        Epoch(n, 0.1, 0.9, loss, 0.8, precision) for n, (precision, loss) in enumerate(pairs, 1)
    ]
    assert best_epoch(curves) is curves[3]


def test_curves_so_far_are_told_when_an_epoch_ends():
    told = []
    params = replace(PARAMS, epochs=3)
    curves = training.train(
        toy(16), toy(16, seed=6), network(params), params, lambda so_far: told.append([*so_far])
    )
    assert told == [curves[:1], curves[:2], curves]


def test_dropout_differs_from_epoch_to_epoch():
    params = replace(PARAMS, model="bilstm", learning_rate=STILL, epochs=3, dropout=0.5)
    _, curves, _ = trained(params, toy(24), toy(24, seed=7))
    for epoch, next_epoch in itertools.pairwise(curves):
        assert next_epoch.stop_loss == pytest.approx(epoch.stop_loss, abs=1e-6)
        assert abs(next_epoch.loss - epoch.loss) > 1e-5


class KilledError(Exception):
    """Stands for a SIGKILL right after an epoch was saved."""


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_training_that_was_interrupted_ends_with_the_same_bits(epoch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = replace(PARAMS, model="bilstm", dropout=0.5, learning_rate=0.1, epochs=20, patience=3)
    rows, stop = noise(48, seed=3), noise(32, seed=4)
    whole, curves, _ = trained(params, rows, stop)
    assert 3 < len(curves) < 20  # patience ran out, counted from before the interruption

    def until_killed(so_far):
        if len(so_far) == epoch:
            raise KilledError

    with pytest.raises(KilledError):
        training.train(rows, stop, network(params), params, until_killed, Checkpoint("key"))
    resumed, told = network(replace(params, seed=2)), []
    resumed_curves = training.train(
        rows, stop, resumed, params, lambda c: told.append(len(c)), Checkpoint("key")
    )
    assert resumed_curves == curves
    assert told[0] == epoch  # none of the epochs before it ran again
    assert same(resumed.get_weights(), whole.get_weights())


def test_training_that_was_over_is_not_run_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = replace(PARAMS, epochs=2)
    first, second, told = network(params), network(replace(params, seed=2)), []
    curves = training.train(toy(16), toy(16, seed=6), first, params, len, Checkpoint("key"))
    Checkpoint("key").finish()
    again = training.train(toy(16), toy(16, seed=6), second, params, told.append, Checkpoint("key"))
    assert again == curves
    assert told == [curves]
    assert same(first.get_weights(), second.get_weights())


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_network_learns_what_can_be_learnt(name):
    params = replace(PARAMS, model=name, epochs=15, patience=15)
    _, curves, _ = trained(params, toy(192, seed=8), toy(64, seed=9))
    assert curves[-1].accuracy == 1
    assert best_epoch(curves).stop_average_precision > 0.99
    assert curves[-1].loss < curves[0].loss / 5


# ---- what the person at the keyboard can put right


@pytest.fixture
def params_file(tmp_path, monkeypatch):
    """Changes the train section of the params.yaml in the working directory."""
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    return lambda **changes: set_params(tmp_path, {"train": changes})


COUNTS = "epochs, patience, batch_size, units and embedding_dim must be at least 1"
SHARES = "stop_share must lie in (0, 1), dropout and token_dropout in [0, 1)"
WIDE = "wide_share and corrupted must lie in [0, 1], copies in 0 to 100"
REFUSED = [
    ("model", "gru", ".model: unknown 'gru'; choose from bilstm_article, bilstm, lstm, rnn, dense"),
    *(
        (name, 0, f": {COUNTS}")
        for name in ("epochs", "patience", "batch_size", "units", "embedding_dim")
    ),
    *((name, 1.0, f": {SHARES}") for name in ("stop_share", "dropout", "token_dropout")),
    *((name, value, f": {WIDE}") for name in ("wide_share", "corrupted") for value in (-0.1, 1.1)),
    ("copies", -1, f": {WIDE}"),
    ("copies", 101, f": {WIDE}"),
    (
        "corruptions",
        ["l33t"],
        ".corruptions: unknown 'l33t'; choose from leet, slips, separated, ham_words",
    ),
    ("stop_share", 0.0, f": {SHARES}"),
    ("dropout", -0.1, f": {SHARES}"),
    ("learning_rate", 0.0, ": learning_rate must be above 0 and seed at least 0"),
    ("seed", -1, ": learning_rate must be above 0 and seed at least 0"),
    ("unit", 8, ".unit: unknown key; remove it or mend its spelling"),
    ("seed", "one", ".seed: input should be a valid integer, not 'one'"),
]


@pytest.mark.parametrize(("name", "value", "line"), REFUSED)
def test_param_out_of_bounds_is_refused(name, value, line, params_file):
    params_file(**{name: value})
    with pytest.raises(PipelineError) as refused:
        read_params(Params, "train")
    assert str(refused.value) == f"params.yaml: train{line}"


def written(folder, rows):
    """The rows as vectorize writes them, a campaign each, and a tokenizer of their vocabulary."""
    table = pa.table(
        {
            "message_id": [f"{i:064x}" for i in range(len(rows.labels))],
            "campaign_key": [f"{i:016x}" for i in range(len(rows.labels))],
            "token_ids": rows.token_ids,
            "label": rows.labels.astype(np.int8),
        },
        SHARD,
    )
    write_shards(folder / "train", [table])
    tokenizer = Tokenizer(WordLevel({str(i): i for i in range(VOCABULARY)}, "0"))
    tokenizer.save(str(folder / "tokenizer.json"))
    names = "tokenizer.json", "train", "model.keras", "curves.csv", "report.json"
    return stage_arguments("train", *(folder / name for name in names))


@pytest.mark.parametrize(
    ("inside", "place", "way_out"), [(True, "in", "raise"), (False, "outside of", "lower")]
)
def test_one_class_alone_on_a_side_of_stop_share_is_refused(
    inside, place, way_out, params_file, tmp_path
):
    rows = toy(40)
    keys = pd.DataFrame({"campaign_key": [f"{i:016x}" for i in range(40)]})
    rows.labels[hold_out(keys, 0.3, 1) == inside] = 0
    params_file(stop_share=0.3, seed=1, corruptions=[])
    with pytest.raises(PipelineError) as refused:
        train.main(written(tmp_path, rows))
    assert str(refused.value) == (
        f"params.yaml: train.stop_share: no ham or no spam {place} it; {way_out} it or bring more messages"
    )
    assert not (tmp_path / "model.keras").exists()


@pytest.mark.slow
def test_same_seed_gives_the_same_bytes_in_another_process(store, params_file, tmp_path):
    params_file(corruptions=[], copies=0)  # of token ids that have no text
    params_file(
        model="bilstm", units=6, embedding_dim=5, epochs=2, stop_share=0.3, dropout=0.5, patience=2
    )
    params_file(learning_rate=1)  # no float: MLflow must show it as it is written
    inputs = written(tmp_path, toy(96, seed=10))[1:4:2]
    outputs = ("model.keras", "curves.csv", "report.json")
    store.create_experiment("spam-detector", artifact_location=f"file://{tmp_path}/artifacts")

    def train_in(place):
        folder = (
            tmp_path / place
        )  # of its own, or the second would take over what the first one saved
        folder.mkdir()
        shutil.copyfile(tmp_path / "params.yaml", folder / "params.yaml")
        seed = str(len(place))  # of Python's own hashes, so that no order of a set can hide
        runner(folder)(
            *(sys.executable, "-m", "pipeline.train"),
            *stage_arguments("train", *inputs, *outputs),
            PYTHONPATH=str(ROOT),
            PYTHONHASHSEED=seed,
        )

    with ThreadPoolExecutor() as both:
        list(both.map(train_in, ("here", "elsewhere")))
    for name in outputs:
        assert (tmp_path / "here" / name).read_bytes() == (
            tmp_path / "elsewhere" / name
        ).read_bytes()
    as_register_logs_them = {
        name: str(value) for name, value in flatten_params(read_yaml()).items()
    }
    runs = store.search_runs(["1"])
    assert len(runs) == 2
    assert all(run.data.params.items() <= as_register_logs_them.items() for run in runs)
