"""The differentiable neural computer is that of the paper, equation by equation."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from keras import layers

from pipeline.models import dnc, keras_files, served_model
from pipeline.models.architectures import NetworkParams, build_network
from pipeline.models.dnc import DNCCell, MemoryState
from pipeline.models.training import make_deterministic
from pipeline.preprocessing.tokenizer import fit_tokenizer, tokenizer_json
from tests.harness import dnc_reference as paper
from tests.harness.labelled_messages import TEXTS

MESSAGES, ROWS, WIDTH, HEADS = 3, 5, 4, 2  # n, N, W, R
UNITS, FEATURES, OUTPUTS = 6, 7, 8
SIZES = {"memory_rows": ROWS, "memory_width": WIDTH, "read_heads": HEADS}
INTERFACE_SIZE = WIDTH * HEADS + 3 * WIDTH + 5 * HEADS + 3
CLOSE = {"rel": 1e-9, "abs": 1e-9}


@pytest.fixture
def exact(monkeypatch):
    """The equations without what keeps gradients finite at 0."""
    monkeypatch.setattr(dnc, "EPSILON", 1e-15)


@pytest.fixture
def random():
    return np.random.default_rng(1)


def weightings(random, *shape):
    """Random weightings whose sums are below 1."""
    return random.dirichlet(np.ones(shape[-1]), shape[:-1]) * random.uniform(0.3, 1)


def new_layer(dtype="float64", sizes=SIZES, **options):
    """A layer whose weights are large enough to open and to close its gates."""
    keras.utils.set_random_seed(2)
    cell = DNCCell(UNITS, **sizes, output_size=OUTPUTS, dtype=dtype)
    layer = layers.RNN(cell, dtype=dtype, **options)
    layer.build((None, None, FEATURES))
    for weight in cell.weights:
        weight.assign(weight * 3)
    return layer


# ---- each equation


def test_interface_vector_is_cut_in_the_papers_order(random):
    vectors = random.normal(0, 3, (MESSAGES, INTERFACE_SIZE))
    cut = dnc.parse_interface(vectors, WIDTH, HEADS)
    for row, vector in enumerate(vectors):
        expected = paper.parts_of_interface(vector, WIDTH, HEADS)
        for part, values in zip(cut, expected.values(), strict=True):
            assert part[row].numpy().ravel() == pytest.approx(np.ravel(values), **CLOSE)


def test_content_weighting_is_a_softmax_of_cosines(exact, random):
    memory = random.normal(size=(MESSAGES, ROWS, WIDTH))
    memory[0, 3] = 0  # a row that was never written
    keys = random.normal(size=(MESSAGES, HEADS, WIDTH))
    strengths = random.uniform(1, 20, (MESSAGES, HEADS))
    found = dnc.content_weightings(memory, keys, strengths).numpy()
    for row, head in np.ndindex(MESSAGES, HEADS):
        expected = paper.content_weighting(memory[row], keys[row, head], strengths[row, head])
        assert found[row, head] == pytest.approx(expected, **CLOSE)


def test_usage_grows_by_writing_and_falls_by_freeing(random):
    usage = random.uniform(size=(MESSAGES, ROWS))
    written = weightings(random, MESSAGES, ROWS)
    read = weightings(random, MESSAGES, HEADS, ROWS)
    gates = random.uniform(size=(MESSAGES, HEADS))
    retention = dnc.memory_retention(gates, read)
    after = dnc.next_usage(usage, written, retention).numpy()
    for row in range(MESSAGES):
        expected = paper.retention(gates[row], read[row])
        assert retention[row].numpy() == pytest.approx(expected, **CLOSE)
        expected = paper.usage(usage[row], written[row], expected)
        assert after[row] == pytest.approx(expected, **CLOSE)


@pytest.mark.parametrize(
    ("usage", "allocation"),
    [
        ([0.5, 0.25, 1.0, 0.75], [0.125, 0.75, 0.0, 0.03125]),  # .5 * .25, .75, 0, .25 * .5 * .25
        ([0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]),  # of equal rows the first is taken
        ([0.5, 0.5, 0.5, 0.5], [0.5, 0.25, 0.125, 0.0625]),
        ([1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]),  # a full memory has no place
    ],
)
def test_allocation_takes_the_least_used_row_first(exact, usage, allocation):
    assert paper.allocation(usage) == pytest.approx(allocation)
    found = dnc.allocation_weighting(np.array([usage, usage[::-1]])).numpy()
    assert found[0] == pytest.approx(allocation, **CLOSE)
    assert found[1] == pytest.approx(paper.allocation(usage[::-1]), **CLOSE)


def test_allocation_is_that_of_the_sorted_list(exact, random):
    usage = random.uniform(size=(20, ROWS)).round(1)  # with ties
    for row, found in zip(usage, dnc.allocation_weighting(usage).numpy(), strict=True):
        assert found == pytest.approx(paper.allocation(row), **CLOSE)


def test_write_weighting_is_gated_between_content_and_allocation(random):
    similar, allocated = weightings(random, 2, MESSAGES, ROWS)
    of_allocation, of_writing = random.uniform(size=(2, MESSAGES, 1))
    found = dnc.next_write_weighting(similar, allocated, of_allocation, of_writing)
    for row in range(MESSAGES):
        gates = of_allocation[row], of_writing[row]
        expected = paper.write_weighting(similar[row], allocated[row], *gates)
        assert found[row] == pytest.approx(expected, **CLOSE)


def test_memory_is_erased_then_written(random):
    memory = random.normal(size=(MESSAGES, ROWS, WIDTH))
    written = weightings(random, MESSAGES, ROWS)
    erase = random.uniform(size=(MESSAGES, WIDTH))
    vectors = random.normal(size=(MESSAGES, WIDTH))
    found = dnc.next_memory(memory, written, erase, vectors).numpy()
    for row in range(MESSAGES):
        expected = paper.memory(memory[row], written[row], erase[row], vectors[row])
        assert found[row] == pytest.approx(expected, **CLOSE)


def test_precedence_and_links_follow_the_order_of_writes(random):
    links = random.uniform(size=(MESSAGES, ROWS, ROWS)) * (1 - np.eye(ROWS)) / ROWS
    precedence, written = weightings(random, 2, MESSAGES, ROWS)
    found = dnc.next_links(links, precedence, written).numpy()
    after = dnc.next_precedence(precedence, written).numpy()
    for row in range(MESSAGES):
        expected = paper.links(links[row], precedence[row], written[row])
        assert found[row] == pytest.approx(expected, **CLOSE)
        assert after[row] == pytest.approx(paper.precedence(precedence[row], written[row]))


def test_links_lead_forwards_and_backwards(random):
    links = random.uniform(size=(MESSAGES, ROWS, ROWS)) / ROWS
    read = weightings(random, MESSAGES, HEADS, ROWS)
    forward = np.asarray(dnc.forward_weightings(links, read))
    backward = np.asarray(dnc.backward_weightings(links, read))
    for row, head in np.ndindex(MESSAGES, HEADS):
        of_paper = paper.forward(links[row], read[row, head])
        assert forward[row, head] == pytest.approx(of_paper, **CLOSE)
        of_paper = paper.backward(links[row], read[row, head])
        assert backward[row, head] == pytest.approx(of_paper, **CLOSE)


def test_links_remember_the_order_of_three_writes():
    links, precedence = np.zeros((1, ROWS, ROWS)), np.zeros((1, ROWS))
    for place in (3, 0, 4):
        written = np.eye(ROWS)[[place]]
        links = dnc.next_links(links, precedence, written).numpy()
        precedence = dnc.next_precedence(precedence, written).numpy()
    at_0 = np.eye(ROWS)[None, [0]]
    assert np.ravel(dnc.forward_weightings(links, at_0)).tolist() == [0, 0, 0, 0, 1]
    assert np.ravel(dnc.backward_weightings(links, at_0)).tolist() == [0, 0, 0, 1, 0]


def test_read_modes_mix_backward_content_and_forward(random):
    backward, similar, forward = weightings(random, 3, MESSAGES, HEADS, ROWS)
    modes = weightings(random, MESSAGES, HEADS, 3)
    memory = random.normal(size=(MESSAGES, ROWS, WIDTH))
    found = dnc.next_read_weightings(backward, similar, forward, modes)
    vectors = dnc.read_rows(memory, found)
    for at in np.ndindex(MESSAGES, HEADS):
        expected = paper.read_weighting(backward[at], similar[at], forward[at], modes[at])
        assert found[at] == pytest.approx(expected, **CLOSE)
        assert vectors[at] == pytest.approx(memory[at[0]].T @ expected, **CLOSE)


def test_whole_computer_is_the_papers(exact, random):
    layer = new_layer(return_sequences=True, return_state=True)
    steps = random.normal(size=(MESSAGES, 6, FEATURES))
    outputs, *state = layer(steps)
    weights = [weight.numpy() for weight in ordered_weights(layer.cell)]
    assert weights[0].shape == (FEATURES + HEADS * WIDTH, 4 * UNITS)
    for row in range(MESSAGES):
        computer = paper.Computer(ROWS, WIDTH, HEADS, *weights)
        expected = np.array([computer.step(x) for x in steps[row]])
        assert outputs[row].numpy() == pytest.approx(expected, **CLOSE)
        after = MemoryState(*(part[row].numpy() for part in state))
        # rows that were used alike are exchangeable: rounding decides which of them comes first
        for found, wanted in ((after.memory, computer.M), (after.usage, computer.u)):
            assert np.sort(found, axis=0) == pytest.approx(np.sort(wanted, axis=0), **CLOSE)
        in_order = np.sort(computer.L, axis=None)
        assert np.sort(after.links, axis=None) == pytest.approx(in_order, **CLOSE)


def ordered_weights(cell):
    controller = cell.controller
    of_controller = controller.kernel, controller.recurrent_kernel, controller.bias
    return [*of_controller, cell.to_interface, cell.to_output]


@pytest.mark.slow
def test_epsilon_changes_outputs_little(monkeypatch, random):
    steps = random.normal(size=(MESSAGES, 6, FEATURES))
    layer = new_layer()
    rounded = layer(steps).numpy()
    monkeypatch.setattr(dnc, "EPSILON", 1e-15)
    assert rounded == pytest.approx(layer(steps).numpy(), abs=1e-3)


# ---- gradients


@pytest.mark.slow
def test_gradients_are_the_numerical_ones(random):
    """Along random directions of the input and of each weight."""
    layer = new_layer(sizes={"memory_rows": 3, "memory_width": 2, "read_heads": 2})
    weights = ordered_weights(layer.cell)
    steps = random.normal(size=(2, 4, FEATURES))
    values = [tf.constant(value) for value in (steps, *(weight.numpy() for weight in weights))]

    @tf.function
    def loss(steps, *values):
        with keras.StatelessScope(list(zip(weights, values, strict=True))):
            return tf.reduce_sum(tf.sin(layer(steps)))

    with tf.GradientTape() as tape:
        tape.watch(values)
        total = loss(*values)
    for number, gradient in enumerate(tape.gradient(total, values)):
        for _ in range(3):
            change = random.normal(size=gradient.shape) * 1e-6
            higher, lower = (
                loss(*values[:number], values[number] + sign * change, *values[number + 1 :])
                for sign in (1, -1)
            )
            along = float(tf.reduce_sum(gradient * change))
            assert along == pytest.approx(float(higher - lower) / 2, rel=1e-4, abs=1e-10)


def test_gradient_of_an_empty_memory_is_finite():
    usage = tf.zeros((1, ROWS), tf.float64)
    memory, keys = tf.zeros((1, ROWS, WIDTH), tf.float64), tf.zeros((1, 1, WIDTH), tf.float64)
    with tf.GradientTape() as tape:
        tape.watch([usage, memory, keys])
        similar = dnc.content_weightings(memory, keys, tf.ones((1, 1), tf.float64))
        total = tf.reduce_sum(similar**2) + dnc.allocation_weighting(usage)[0, 1]
    of_usage, *others = tape.gradient(total, [usage, memory, keys])
    assert of_usage[0].numpy() == pytest.approx([1, 0, 0, 0, 0], abs=1e-5)  # a[1] = (1 - u[1]) u[0]
    assert all(np.isfinite(gradient).all() for gradient in others)


# ---- invariants

WEIGHTINGS = ("precedence", "write_weighting", "read_weightings")
ROUNDING = 1e-5
CELL = DNCCell(UNITS, **SIZES, output_size=OUTPUTS)


@tf.function
def states_after(vectors, *start):
    """The states after steps with these interface vectors, (t, n, numbers)."""
    state, states = MemoryState(*start), []
    for vector in tf.unstack(vectors):
        state = dnc.access_memory(state, dnc.parse_interface(vector, WIDTH, HEADS))
        states.append(state)
    return states


@pytest.mark.slow
@settings(max_examples=60)
@given(arrays.arrays(np.float32, (5, 2, INTERFACE_SIZE), elements=st.floats(-60, 60, width=32)))
def test_weightings_usage_and_links_keep_the_papers_bounds(vectors):
    start = CELL.get_initial_state(batch_size=2)
    for state in states_after(tf.constant(vectors), *start):
        for name in WEIGHTINGS:
            weighting = getattr(state, name).numpy()
            assert weighting.min() >= -ROUNDING
            assert weighting.sum(axis=-1).max() <= 1 + ROUNDING
        assert 0 <= state.usage.numpy().min() <= state.usage.numpy().max() <= 1
        links = state.links.numpy()
        assert links.min() >= -ROUNDING
        assert max(links.sum(axis=1).max(), links.sum(axis=2).max()) <= 1 + ROUNDING
        assert np.diagonal(links, axis1=1, axis2=2).tolist() == [[0] * ROWS] * 2
        assert np.isfinite(state.memory.numpy()).all()


@given(arrays.arrays(np.float32, (3, ROWS), elements=st.floats(0, 1, width=32)))
def test_allocation_is_a_weighting(usage):
    allocation = dnc.allocation_weighting(usage).numpy()
    assert allocation.min() >= 0
    assert allocation.sum(axis=1).max() <= 1 + ROUNDING


# ---- a Keras layer


def test_padded_step_changes_neither_state_nor_output(random):
    layer = new_layer("float32", return_sequences=True, return_state=True)
    steps = random.normal(size=(MESSAGES, 4, FEATURES)).astype(np.float32)
    outputs, *state = layer(steps)
    padded = np.full((MESSAGES, 7, FEATURES), 9.0, np.float32)
    real = np.array([False, True, True, False, True, True, False])
    padded[:, real] = steps
    padded_outputs, *padded_state = layer(padded, mask=np.tile(real, (MESSAGES, 1)))
    assert padded_outputs.numpy()[:, real].tolist() == outputs.numpy().tolist()
    assert padded_outputs[:, 3].numpy().tolist() == padded_outputs[:, 2].numpy().tolist()
    assert padded_outputs[:, 0].numpy().tolist() == np.zeros((MESSAGES, OUTPUTS)).tolist()
    for part, expected in zip(padded_state, state, strict=True):
        assert part.numpy().tolist() == expected.numpy().tolist()


def sequence_network():
    """(n, t, FEATURES) to (n, t, OUTPUTS)."""
    keras.utils.set_random_seed(3)
    cell = DNCCell(UNITS, **SIZES, output_size=OUTPUTS)
    steps = layers.Input((None, FEATURES))
    return keras.Model(steps, layers.RNN(cell, return_sequences=True)(steps))


def test_outputs_survive_save_load_and_export(tmp_path, random, monkeypatch):
    model = sequence_network()
    steps = random.normal(size=(MESSAGES, 6, FEATURES)).astype(np.float32)
    outputs = model(steps).numpy()
    assert outputs.shape == (MESSAGES, 6, OUTPUTS)
    keras_files.save(model, tmp_path / "model.keras")
    monkeypatch.delitem(keras.saving.get_custom_objects(), "spam_detector>DNCCell")
    loaded = keras_files.load(tmp_path / "model.keras")
    assert loaded(steps).numpy().tolist() == outputs.tolist()
    keras_files.export(loaded, tmp_path / "saved")
    saved = tf.saved_model.load(tmp_path / "saved")
    for rows, length in ((slice(None), 6), (slice(1, None), 2)):
        served = saved.serve(tf.constant(steps[rows, :length])).numpy()
        assert served == pytest.approx(outputs[rows, :length], abs=1e-6)


@pytest.mark.slow
def test_served_network_scores_as_the_trained_one(tmp_path):
    tokenizer = fit_tokenizer(TEXTS, vocabulary_size=320, sequence_length=100)
    sizes = {"embedding_dim": 6, "units": UNITS, "dropout": 0, "token_dropout": 0}
    sizes |= {"wide_share": 0, "length_exponent": 1}
    vocabulary = ["x"] * tokenizer.get_vocab_size()
    network = build_network(vocabulary, NetworkParams(model="dnc", **sizes, **SIZES))
    keras_files.export(network, tmp_path / "network")
    (tmp_path / "tokenizer.json").write_text(tokenizer_json(tokenizer, 250), encoding="utf-8")
    detector = served_model.SpamDetector().load(tmp_path / "tokenizer.json", tmp_path / "network")
    texts = [text[:60] for text in TEXTS[:5]]
    expected = [network(np.array([tokenizer.encode(text).ids])).numpy()[0, 0] for text in texts]
    assert detector.scores(texts) == pytest.approx(expected, abs=1e-5)
    assert np.std(expected) > 1e-4


@pytest.mark.slow
def test_equal_seeds_train_equal_weights(random):
    steps = random.normal(size=(MESSAGES, 5, FEATURES)).astype(np.float32)
    targets = random.normal(size=(MESSAGES, 5, OUTPUTS)).astype(np.float32)

    def trained():
        make_deterministic(3)
        model = sequence_network()
        model.compile("adam", "mse")
        model.fit(steps, targets, epochs=3, verbose=0)
        return [weights.tolist() for weights in model.get_weights()]

    assert trained() == trained()


# ---- it learns

BITS, LONGEST, STEPS = 3, 4, 500  # of the copy task; Graves and others 2014


def copy_batch(random, size=32):
    """(n, 2 t + 1, BITS + 1): t random vectors, a mark, empty steps; and the vectors alone."""
    length = int(random.integers(1, LONGEST + 1))
    bits = random.integers(0, 2, (size, length, BITS)).astype(np.float32)
    steps = np.zeros((size, 2 * length + 1, BITS + 1), np.float32)
    steps[:, :length, :BITS] = 2 * bits - 1
    steps[:, length, BITS] = 1
    return steps, bits


@pytest.mark.slow
def test_copy_task_is_learned():
    keras.utils.set_random_seed(1)
    random = np.random.default_rng(1)
    steps = layers.Input((None, BITS + 1))
    cell = DNCCell(24, memory_rows=6, memory_width=8, read_heads=1, output_size=BITS)
    model = keras.Model(steps, layers.RNN(cell, return_sequences=True)(steps))
    optimizer = keras.optimizers.Adam(0.03, clipnorm=1.0)
    optimizer.build(model.trainable_variables)

    @tf.function(reduce_retracing=True)
    def train_step(inputs, bits):
        """Returns the share of wrong bits."""
        with tf.GradientTape() as tape:
            logits = model(inputs)[:, -tf.shape(bits)[1] :]
            loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(bits, logits))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return tf.reduce_mean(tf.cast((logits > 0) != (bits > 0), tf.float32))

    errors = [float(train_step(*copy_batch(random))) for _ in range(STEPS)]
    assert errors[0] > 0.3
    assert np.mean(errors[-50:]) < 0.05
