"""Training is deterministic, keeps the best weights, stops early and resumes with the same bits."""

import json
import math
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from sklearn.metrics import average_precision_score, log_loss

from pipeline.models import keras_files, training
from pipeline.models.architectures import MODELS, build_network
from pipeline.models.augmentation import CORRUPTIONS, row_corrupter
from pipeline.models.batches import shuffled_batches
from pipeline.models.checkpoints import Checkpoint
from pipeline.models.served_model import START_ID
from pipeline.models.training import CompiledNetwork, best_epoch, run_epochs
from pipeline.preprocessing.splits import held_out_mask
from pipeline.preprocessing.tokenizer import tokenizer_json
from tests.harness import toy_problem
from tests.harness.errors import error_of
from tests.harness.labelled_messages import TABLE
from tests.harness.toy_problem import (
    TEXT_ROWS,
    noise_rows,
    scores_of,
    toy_epoch,
    toy_params,
    toy_rows,
)

SPEC = {"truncation": {"max_length": 3, "window_length": 250}}  # of tokenizer.json
TINY_RATE = 1e-12  # a learning rate that changes no float32 weight


def new_network(params):
    keras.utils.set_random_seed(params.seed)
    return build_network([str(i) for i in range(toy_problem.VOCABULARY_SIZE)], params)


def run_toy(params, rows, stop):
    """The network, its curves, and its weights after each epoch."""
    model = new_network(params)
    weights = []

    def report(curves):
        weights.append(model.get_weights())
        assert [epoch.epoch for epoch in curves] == list(range(1, len(weights) + 1))

    return model, run_epochs(rows, stop, CompiledNetwork(model, params), params, report), weights


def equal_arrays(some, others):
    return all(np.array_equal(a, b) for a, b in zip(some, others, strict=True))


@pytest.mark.parametrize("fewest_steps", [0, 20])
def test_curves_equal_the_figures_of_the_scores(fewest_steps):
    rows, stop = toy_rows(61, seed=1), toy_rows(35, seed=2)
    params = toy_params(learning_rate=TINY_RATE, epochs=1, fewest_steps=fewest_steps)
    model, (epoch,), _ = run_toy(params, rows, stop)
    for part, prefix in ((rows, ""), (stop, "stop_")):
        scores = scores_of(model, part)
        loss, accuracy = (getattr(epoch, prefix + name) for name in ("loss", "accuracy"))
        assert loss == pytest.approx(log_loss(part.labels, scores), abs=1e-6)
        assert accuracy == pytest.approx(np.mean((scores >= 0.5) == (part.labels > 0)))
    expected = average_precision_score(stop.labels, scores_of(model, stop))
    assert epoch.stop_average_precision == pytest.approx(expected)


@pytest.mark.slow
def test_training_equals_adam_of_keras_on_dense_gradients():
    rows, params = toy_rows(61, seed=1), toy_params(epochs=2)
    _, _, weights = run_toy(params, rows, toy_rows(16, seed=2))
    assert len(weights) == 2
    oracle = new_network(params)
    steps = math.ceil(61 / params.batch_size)
    decay = keras.optimizers.schedules.CosineDecay(params.learning_rate, 2 * steps)
    adam = keras.optimizers.Adam(decay)
    for number in (1, 2):
        for token_ids, labels in shuffled_batches(rows, params.batch_size, (params.seed, number)):
            with tf.GradientTape() as tape:
                probability = oracle(token_ids, training=True)
                loss = keras.losses.BinaryCrossentropy()(labels[:, None], probability)
            gradients = tape.gradient(loss, oracle.trainable_variables)
            adam.apply([tf.convert_to_tensor(g) for g in gradients], oracle.trainable_variables)
        for ours, theirs in zip(weights[number - 1], oracle.get_weights(), strict=True):
            assert ours == pytest.approx(theirs, abs=1e-5)


def test_an_epoch_reads_few_rows_several_times_corrupted_anew():
    seeds = []

    def corrupt(seed, share):
        seeds.append(seed)
        return rows

    rows, params = toy_rows(61), toy_params(epochs=2, fewest_steps=33)  # 8 steps a pass
    network = CompiledNetwork(new_network(params), params)
    run_epochs(rows, rows, network, params, print, corrupt=corrupt)
    assert seeds == [(1, 1), (1, 1, 1), (1, 1, 2), (1, 2), (1, 2, 1), (1, 2, 2)]
    assert [params.passes(n) for n in (1, 61, 128, 129, 1000)] == [3, 3, 2, 1, 1]


def test_weights_of_the_best_epoch_stay():
    rows, stop = noise_rows(64, seed=3), noise_rows(48, seed=4)
    model, curves, weights = run_toy(toy_params(learning_rate=0.3), rows, stop)
    best = best_epoch(curves)
    assert 1 < best.epoch < len(curves) == 9
    assert equal_arrays(model.get_weights(), weights[best.epoch - 1])
    assert not equal_arrays(model.get_weights(), weights[-1])


def test_training_ends_after_patience_or_all_epochs():
    curves = [toy_epoch(*epoch) for epoch in enumerate((0.5, 0.9, 0.8, 0.9), 1)]
    for patience, epochs, lengths in ((2, 9, [4]), (9, 3, [3, 4])):
        params = toy_params(patience=patience, epochs=epochs)
        finished = [n for n in range(5) if training.is_finished(curves[:n], params)]
        assert finished == lengths


@pytest.mark.slow
def test_dropout_differs_between_epochs():
    params = toy_params(model="bilstm", learning_rate=TINY_RATE, epochs=2, dropout=0.5)
    _, (first, second), _ = run_toy(params, toy_rows(24), toy_rows(24, seed=7))
    assert second.stop_loss == pytest.approx(first.stop_loss, abs=1e-6)
    assert abs(second.loss - first.loss) > 1e-5


@pytest.mark.parametrize("model", ["dense", pytest.param("bilstm", marks=pytest.mark.slow)])
def test_interrupted_training_ends_with_the_same_bits(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = toy_params(model=model, dropout=0.5, learning_rate=0.1, epochs=20, patience=3)
    rows, stop = noise_rows(48, seed=3), noise_rows(32, seed=4)
    whole, curves, _ = run_toy(params, rows, stop)
    assert 3 < len(curves) < 20  # it stopped by patience, which counts epochs before the kill

    def kill_after_two(so_far):
        if len(so_far) == 2:
            raise KeyboardInterrupt

    checkpoint = Checkpoint("key")
    killed = CompiledNetwork(new_network(params), params)
    with pytest.raises(KeyboardInterrupt):
        run_epochs(rows, stop, killed, params, kill_after_two, checkpoint)
    lengths = []
    for already_done in (2, len(curves)):  # the second time, the whole training is finished
        again = new_network(toy_params(model=model, dropout=0.5, seed=2))
        network = CompiledNetwork(again, params)
        lengths.clear()
        resumed = run_epochs(
            rows, stop, network, params, lambda so_far: lengths.append(len(so_far)), checkpoint
        )
        assert resumed == curves
        assert lengths == [*range(already_done, len(curves) + 1)]
        assert equal_arrays(again.get_weights(), whole.get_weights())
        checkpoint.finish()


@pytest.mark.slow
def test_deep_path_is_trained_and_chosen_alone_then_the_wide_path():
    spec = json.loads(tokenizer_json(toy_problem.TEXT_TOKENIZER, 250))
    params = toy_params(model="bilstm", corruptions=["slips"], wide_share=0.0, epochs=2)
    both_params = params.model_copy(update={"wide_share": 0.8})
    trainers = [training.Trainer(spec, changed) for changed in (params, both_params)]
    deep_curves, both_curves = (trainer.train(TEXT_ROWS, TEXT_ROWS) for trainer in trainers)
    deep, both = (trainer.model for trainer in trainers)
    assert deep_curves == both_curves
    for name in ("deep", "wide"):
        first, second = (model.get_layer(name).get_weights() for model in (deep, both))
        assert equal_arrays(first, second)
    assert scores_of(deep, TEXT_ROWS).tolist() != scores_of(both, TEXT_ROWS).tolist()
    assert ((scores_of(both, TEXT_ROWS) > 0.5) == (TEXT_ROWS.labels > 0)).all()


@pytest.mark.parametrize("model", ["dense", pytest.param("bilstm", marks=pytest.mark.slow)])
def test_a_second_training_equals_the_first_of_a_new_trainer(model):
    spec = json.loads(tokenizer_json(toy_problem.TEXT_TOKENIZER, 250))
    params = toy_params(model=model, corruptions=["slips"], dropout=0.5, epochs=2)
    few = TEXT_ROWS.take(np.arange(16))
    curves = []
    trainers = [training.Trainer(spec, params) for _ in range(2)]
    for trainer, sets in zip(trainers, ([few, TEXT_ROWS], [TEXT_ROWS]), strict=True):
        curves.append([trainer.train(rows, few) for rows in sets])
    assert curves[0][-1] == curves[1][-1] != curves[0][0]
    assert equal_arrays(*(trainer.model.get_weights() for trainer in trainers))


@pytest.mark.parametrize(("corruptions", "times"), [([], 0), (["slips"], 2)])
def test_wide_path_is_fitted_on_rows_and_copies(corruptions, times, monkeypatch):
    parts = []
    monkeypatch.setattr(
        training, "fit_wide_layers", lambda _, *given: parts.extend(map(list, given))
    )
    corrupt = row_corrupter(TEXT_ROWS, toy_problem.TEXT_TOKENIZER, corruptions)
    training.fit_wide_path(None, TEXT_ROWS, corrupt, toy_params(corruptions=corruptions, copies=2))
    rows, copies = ([len(labels) for _, labels in part] for part in parts)
    assert (rows, copies) == ([24], [24] * times)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_network_learns_the_toy_problem(name):
    params = toy_params(model=name, epochs=15, patience=15)
    _, curves, _ = run_toy(params, toy_rows(192, seed=8), toy_rows(64, seed=9))
    assert curves[-1].accuracy == 1
    assert best_epoch(curves).stop_average_precision > 0.99
    assert curves[-1].loss < curves[0].loss / 5


def test_unknown_names_are_refused():
    models = f"unknown 'cnn'; choose from {', '.join(MODELS)}"
    assert error_of(toy_params, model="cnn") == f"params.yaml: train.model: {models}"
    edits = f"unknown 'l33t'; choose from {', '.join(CORRUPTIONS)}"
    assert error_of(toy_params, corruptions=["l33t"]) == f"params.yaml: train.corruptions: {edits}"


@pytest.mark.parametrize("held_out", [True, False])
def test_one_class_on_a_side_of_stop_share_is_refused(held_out):
    table = TABLE.assign(token_ids="", label=np.arange(90) % 2)
    table.loc[held_out_mask(table, 0.3, 1) == held_out, "label"] = 0
    message = error_of(training.split_rows, table, toy_problem.PARAMS)
    assert message.startswith("params.yaml: train.stop_share: 0.3 of train's campaigns, or the ")


# ---- a new architecture


def max_pooled(tokens, params):
    """A new architecture."""
    token_ids = keras.layers.Input((None,), dtype="int32")
    embedded = keras.layers.Embedding(len(tokens), params.embedding_dim)(token_ids)
    pooled = keras.layers.GlobalMaxPooling1D()(embedded)
    return keras.Model(token_ids, keras.layers.Dense(1, activation="sigmoid")(pooled))


def test_a_new_architecture_is_one_function_and_one_entry(monkeypatch, tmp_path):
    monkeypatch.setitem(MODELS, "max_pooled", max_pooled)
    rows = toy_rows(32)
    model, curves, _ = run_toy(toy_params(model="max_pooled", epochs=1), rows, toy_rows(16, seed=1))
    keras_files.save(model, tmp_path / "model.keras")
    loaded = keras_files.load(tmp_path / "model.keras")
    assert len(curves) == 1
    assert scores_of(loaded, rows).tolist() == scores_of(model, rows).tolist()


# ---- out of fold


def trainer_that(train, **changes):
    """Instead of a Trainer; `train` gets rows and stop."""
    return SimpleNamespace(train=train, score=None, spec=SPEC, params=toy_params(**changes))


def test_too_few_campaigns_stop_on_a_row_of_each_label(monkeypatch):
    keys = [f"{n // 2}" for n in range(40)]
    table = pd.DataFrame({"campaign_key": keys, "label": [0] * 36 + [1] * 4})
    table["token_ids"] = [np.array([START_ID, n], np.int32) for n in range(40)]
    stopped = []

    def train(rows, stop):
        assert set(rows.labels) == {0, 1}
        stopped.append(stop.labels.tolist())

    monkeypatch.setattr(training, "_score_tokens", lambda *scoring: np.zeros(len(scoring[-1])))
    monkeypatch.setattr(training, "count_characters", lambda tokenizer: np.ones(100, np.int64))
    monkeypatch.setattr(training, "Tokenizer", SimpleNamespace(from_str=str))
    trainer = trainer_that(train, stop_share=0.01)
    training.out_of_fold_scores(table, trainer)
    assert stopped == [[0, 1]] * training.FOLDS
    table["label"] = [0] * 39 + [1]
    line = error_of(training.out_of_fold_scores, table, trainer)
    assert line.startswith("params.yaml: train.out_of_fold_rows: too little ham or spam to train ")


def test_no_row_is_scored_by_a_network_that_has_seen_its_campaign(monkeypatch):
    table = pd.DataFrame({"campaign_key": [f"{n // 2}" for n in range(80)], "label": [0, 1] * 40})
    table["token_ids"] = [np.array([START_ID, n], np.int32) for n in range(80)]
    table.at[79, "token_ids"] = np.array([START_ID, 79, 79], np.int32)
    trained = []

    def train(rows, stop):
        trained.append({int(ids[1]) for part in (rows, stop) for ids in part.token_ids})

    def score(rows, network, size):
        seen = [int(ids[1]) for ids in rows.token_ids]
        assert not trained[-1] & {n for seen_one in seen for n in (seen_one, seen_one ^ 1)}
        return SimpleNamespace(y_score=np.array(seen) / 100)

    monkeypatch.setattr(training, "score_rows", score)
    monkeypatch.setattr(training, "count_characters", lambda tokenizer: np.ones(100, np.int64))
    monkeypatch.setattr(training, "Tokenizer", SimpleNamespace(from_str=str))
    scores = training.out_of_fold_scores(table, trainer_that(train))
    assert scores[:79] == pytest.approx([n / 100 for n in range(79)], abs=1e-6)
    assert np.isnan(scores[79])  # cut
    assert len(trained) == training.FOLDS
    assert len(training.out_of_fold_scores(table[:0], trainer_that(train))) == 0
    assert len(trained) == training.FOLDS


@pytest.mark.slow
def test_deep_path_learns_from_the_first_tokens_and_the_wide_path_from_all(monkeypatch):
    spec = json.loads(tokenizer_json(toy_problem.TEXT_TOKENIZER, 250))
    widths = []
    monkeypatch.setattr(
        training, "fit_wide_layers", lambda _, rows, __: widths.extend(i.shape[1] for i, _ in rows)
    )
    trainers = [
        training.Trainer(spec, toy_params(epochs=2, deep_tokens=tokens)) for tokens in (3, 100)
    ]
    curves = [
        trainer.train(rows, rows)
        for trainer, rows in zip(trainers, (TEXT_ROWS, TEXT_ROWS.cut(3)), strict=True)
    ]
    assert curves[0] == curves[1]
    assert equal_arrays(*(trainer.model.get_weights() for trainer in trainers))
    assert widths[0] > widths[-1] == 3
