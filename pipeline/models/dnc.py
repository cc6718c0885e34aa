"""The differentiable neural computer: an LSTM that writes to, and reads from, a memory.

Source: Graves and others 2016, Hybrid computing using a neural network with dynamic external
memory, Nature 538. Each function below is one equation of its section Methods. In the shapes, n
are messages, N rows of the memory, W columns of it, and R read heads. A weighting is a vector of N
numbers of at least 0, whose sum is at most 1.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import keras
from keras import layers, ops

Tensor: TypeAlias = keras.KerasTensor
EPSILON = 1e-6  # keeps the gradients of a length and of a logarithm finite at 0


class MemoryState(NamedTuple):
    """What the computer keeps from one step to the next; all of it is 0 at the start."""

    hidden: Tensor  # (n, units), of the LSTM
    carry: Tensor  # (n, units), of the LSTM
    memory: Tensor  # (n, N, W)
    usage: Tensor  # (n, N), how much of each row is in use, in [0, 1]
    links: Tensor  # (n, N, N); [i, j] is the degree to which i was written next after j
    precedence: Tensor  # (n, N), weighting: the degree to which a row was written last
    write_weighting: Tensor  # (n, N)
    read_weightings: Tensor  # (n, R, N)
    read_vectors: Tensor  # (n, R * W), the rows that were read


class Interface(NamedTuple):
    """What the controller asks of the memory at one step: the interface vector, cut in parts."""

    read_keys: Tensor  # (n, R, W)
    read_strengths: Tensor  # (n, R), at least 1
    write_key: Tensor  # (n, 1, W)
    write_strength: Tensor  # (n, 1), at least 1
    erase: Tensor  # (n, W), in [0, 1]
    write_vector: Tensor  # (n, W)
    free_gates: Tensor  # (n, R), in [0, 1]
    allocation_gate: Tensor  # (n, 1), in [0, 1]
    write_gate: Tensor  # (n, 1), in [0, 1]
    read_modes: Tensor  # (n, R, 3), shares of backward, content and forward


@keras.saving.register_keras_serializable("spam_detector")
class DNCCell(layers.Layer):  # type: ignore[misc] # Keras has no types
    """One step of the computer, for `layers.RNN`: (n, features) to (n, output_size).

    With a mask, `layers.RNN` leaves the state and the output as they are at a padded step.

    Args:
        units: of the LSTM, the controller.
        memory_rows, memory_width: N and W.
        read_heads: R; there is one write head.
        output_size: numbers in the output of a step.
    """

    def __init__(
        self,
        units: int,
        memory_rows: int,
        memory_width: int,
        read_heads: int,
        output_size: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.memory_rows = memory_rows
        self.memory_width = memory_width
        self.read_heads = read_heads
        self.output_size = output_size
        self.controller = layers.LSTMCell(units, name="controller", dtype=self.dtype_policy)
        self.state_size = list(self._state_shapes())

    def _state_shapes(self) -> MemoryState:
        """The shape of each part of the state, without n."""
        rows, width, heads = self.memory_rows, self.memory_width, self.read_heads
        return MemoryState(
            hidden=(self.units,),
            carry=(self.units,),
            memory=(rows, width),
            usage=(rows,),
            links=(rows, rows),
            precedence=(rows,),
            write_weighting=(rows,),
            read_weightings=(heads, rows),
            read_vectors=(heads * width,),
        )

    def get_initial_state(self, batch_size: int) -> list[Tensor]:
        """An empty memory, of which nothing is in use."""
        shapes = self._state_shapes()
        return [ops.zeros((batch_size, *shape), self.compute_dtype) for shape in shapes]

    def build(self, shape: tuple[int | None, int]) -> None:
        """Adds the weights of the controller, of the interface and of the output."""
        read_numbers = self.read_heads * self.memory_width
        self.controller.build((shape[0], shape[-1] + read_numbers))
        interface_size = sum(interface_sizes(self.memory_width, self.read_heads))
        self.to_interface = self.add_weight((self.units, interface_size), name="to_interface")
        self.to_output = self.add_weight(
            (self.units + read_numbers, self.output_size), name="to_output"
        )

    def call(self, inputs: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The output of a step, and the state after it."""
        before = MemoryState(*states)
        hidden, (_, carry) = self.controller(
            ops.concatenate([inputs, before.read_vectors], -1), [before.hidden, before.carry]
        )
        interface = parse_interface(hidden @ self.to_interface, self.memory_width, self.read_heads)
        after = access_memory(before, interface)
        output = ops.concatenate([hidden, after.read_vectors], -1) @ self.to_output
        return output, list(after._replace(hidden=hidden, carry=carry))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "units": self.units,
            "memory_rows": self.memory_rows,
            "memory_width": self.memory_width,
            "read_heads": self.read_heads,
            "output_size": self.output_size,
        }


# ---- one step


def interface_sizes(width: int, heads: int) -> Interface:
    """How many numbers of the interface vector each part has: W R + 3 W + 5 R + 3 in all."""
    return Interface(
        read_keys=heads * width,
        read_strengths=heads,
        write_key=width,
        write_strength=1,
        erase=width,
        write_vector=width,
        free_gates=heads,
        allocation_gate=1,
        write_gate=1,
        read_modes=3 * heads,
    )


def parse_interface(vector: Tensor, width: int, heads: int) -> Interface:
    """The interface vector (n, W R + 3 W + 5 R + 3), cut and brought into the ranges of its parts.

    Gates and the erase vector by the sigmoid, strengths by oneplus, read modes by softmax.
    """
    sizes = interface_sizes(width, heads)
    ends = [sum(sizes[: part + 1]) for part in range(len(sizes) - 1)]
    raw = Interface(*ops.split(vector, ends, axis=-1))
    return Interface(
        read_keys=ops.reshape(raw.read_keys, (-1, heads, width)),
        read_strengths=oneplus(raw.read_strengths),
        write_key=ops.expand_dims(raw.write_key, 1),
        write_strength=oneplus(raw.write_strength),
        erase=ops.sigmoid(raw.erase),
        write_vector=raw.write_vector,
        free_gates=ops.sigmoid(raw.free_gates),
        allocation_gate=ops.sigmoid(raw.allocation_gate),
        write_gate=ops.sigmoid(raw.write_gate),
        read_modes=ops.softmax(ops.reshape(raw.read_modes, (-1, heads, 3))),
    )


def access_memory(before: MemoryState, interface: Interface) -> MemoryState:
    """The state after the memory was written and then read; that of the LSTM stays."""
    usage = next_usage(
        before.usage,
        before.write_weighting,
        memory_retention(interface.free_gates, before.read_weightings),
    )
    similar = content_weightings(before.memory, interface.write_key, interface.write_strength)
    written = next_write_weighting(
        similar[:, 0],
        allocation_weighting(usage),
        interface.allocation_gate,
        interface.write_gate,
    )
    memory = next_memory(before.memory, written, interface.erase, interface.write_vector)
    links = next_links(before.links, before.precedence, written)
    read = next_read_weightings(
        backward_weightings(links, before.read_weightings),
        content_weightings(memory, interface.read_keys, interface.read_strengths),
        forward_weightings(links, before.read_weightings),
        interface.read_modes,
    )
    heads, width = interface.read_keys.shape[1:]
    return before._replace(
        memory=memory,
        usage=usage,
        links=links,
        precedence=next_precedence(before.precedence, written),
        write_weighting=written,
        read_weightings=read,
        read_vectors=ops.reshape(read_rows(memory, read), (-1, heads * width)),
    )


# ---- the interface, and content-based addressing


def oneplus(numbers: Tensor) -> Tensor:
    """Numbers of at least 1, for strengths: oneplus(x) = 1 + log(1 + exp(x))."""
    return 1 + ops.softplus(numbers)


def content_weightings(memory: Tensor, keys: Tensor, strengths: Tensor) -> Tensor:
    """(n, heads, N): softmax of the cosine of key and row, times the strength.

    C(M, k, β)[i] = exp(D(k, M[i, ·]) β) / Σ_j exp(D(k, M[j, ·]) β).

    Args:
        memory: (n, N, W).
        keys: (n, heads, W).
        strengths: (n, heads).
    """
    cosines = _directions(keys) @ ops.swapaxes(_directions(memory), 1, 2)
    return ops.softmax(cosines * ops.expand_dims(strengths, -1))


def _directions(vectors: Tensor) -> Tensor:
    """The vectors of the last axis, scaled to length 1; a vector of zeros stays."""
    return vectors * ops.rsqrt(ops.sum(vectors * vectors, axis=-1, keepdims=True) + EPSILON)


# ---- dynamic memory allocation


def memory_retention(free_gates: Tensor, read_weightings: Tensor) -> Tensor:
    """(n, N): how much of each row is not freed by the heads that read it in the last step.

    ψ_t = Π_i (1 - f_t^i w_{t-1}^{r,i}).
    """
    kept = 1 - ops.expand_dims(free_gates, -1) * read_weightings
    retention = kept[:, 0]
    for head in range(1, kept.shape[1]):  # few; a product over an axis has a slow gradient
        retention = retention * kept[:, head]
    return retention


def next_usage(usage: Tensor, write_weighting: Tensor, retention: Tensor) -> Tensor:
    """(n, N): a row is in use if it was, or was written in the last step, and was not freed.

    u_t = (u_{t-1} + w_{t-1}^w - u_{t-1} ∘ w_{t-1}^w) ∘ ψ_t.
    """
    used = (usage + write_weighting - usage * write_weighting) * retention
    return ops.clip(used, 0, 1)  # rounding can leave the range; the logarithm below may not


def allocation_weighting(usage: Tensor) -> Tensor:
    """(n, N): where to write anew; the rows share it in the order φ of their usage.

    a_t[φ_t[j]] = (1 - u_t[φ_t[j]]) Π_{i < j} u_t[φ_t[i]], φ_t: rows by usage, least used first.

    The product is the exponential of a sum over all rows that come before in that order. That
    needs neither a sort nor a gather. As in the paper, the order itself has no gradient.
    """
    rows = ops.arange(usage.shape[-1])
    of_row, of_other = ops.expand_dims(usage, 2), ops.expand_dims(usage, 1)
    stands_before = ops.where(rows[:, None] > rows, of_other <= of_row, of_other < of_row)
    logarithms = ops.log(EPSILON + (1 - EPSILON) * usage)
    sums = ops.cast(stands_before, usage.dtype) @ ops.expand_dims(logarithms, -1)
    return (1 - usage) * ops.exp(sums[:, :, 0])


# ---- writing


def next_write_weighting(
    similar: Tensor, allocated: Tensor, allocation_gate: Tensor, write_gate: Tensor
) -> Tensor:
    """(n, N): w_t^w = g_t^w (g_t^a a_t + (1 - g_t^a) c_t^w)."""
    return write_gate * (allocation_gate * allocated + (1 - allocation_gate) * similar)


def next_memory(
    memory: Tensor, write_weighting: Tensor, erase: Tensor, write_vector: Tensor
) -> Tensor:
    """(n, N, W): M_t = M_{t-1} ∘ (E - w_t^w e_t^T) + w_t^w v_t^T, where all of E is 1."""
    weights = ops.expand_dims(write_weighting, 2)
    kept = 1 - weights * ops.expand_dims(erase, 1)
    return memory * kept + weights * ops.expand_dims(write_vector, 1)


# ---- temporal links


def next_precedence(precedence: Tensor, write_weighting: Tensor) -> Tensor:
    """(n, N): p_t = (1 - Σ_i w_t^w[i]) p_{t-1} + w_t^w."""
    total = ops.sum(write_weighting, axis=-1, keepdims=True)
    return (1 - total) * precedence + write_weighting


def next_links(links: Tensor, precedence: Tensor, write_weighting: Tensor) -> Tensor:
    """(n, N, N): L_t[i, j] = (1 - w_t^w[i] - w_t^w[j]) L_{t-1}[i, j] + w_t^w[i] p_{t-1}[j].

    No row follows itself: L_t[i, i] = 0.

    Args:
        precedence: p_{t-1}, before this step's write.
    """
    to = ops.expand_dims(write_weighting, 2)
    kept = (1 - to - ops.expand_dims(write_weighting, 1)) * links
    others = 1 - ops.eye(links.shape[-1], dtype=links.dtype)
    return (kept + to * ops.expand_dims(precedence, 1)) * others


def forward_weightings(links: Tensor, read_weightings: Tensor) -> Tensor:
    """(n, R, N): the rows written after those read last, f_t^i = L_t w_{t-1}^{r,i}."""
    return read_weightings @ ops.swapaxes(links, 1, 2)


def backward_weightings(links: Tensor, read_weightings: Tensor) -> Tensor:
    """(n, R, N): the rows written before those read last, b_t^i = L_t^T w_{t-1}^{r,i}."""
    return read_weightings @ links


# ---- reading


def next_read_weightings(
    backward: Tensor, similar: Tensor, forward: Tensor, modes: Tensor
) -> Tensor:
    """(n, R, N): w_t^{r,i} = π_t^i[1] b_t^i + π_t^i[2] c_t^{r,i} + π_t^i[3] f_t^i."""
    return modes[:, :, :1] * backward + modes[:, :, 1:2] * similar + modes[:, :, 2:] * forward


def read_rows(memory: Tensor, read_weightings: Tensor) -> Tensor:
    """(n, R, W): the read vectors, r_t^i = M_t^T w_t^{r,i}."""
    return read_weightings @ memory
