"""The differentiable neural computer in NumPy: each equation of the paper for one message, slowly.

Source: Graves and others 2016, Hybrid computing using a neural network with dynamic external
memory, Nature 538, section Methods. Names follow the paper.
"""

# ruff: noqa: N803 # the paper's names of matrices and sizes are capital letters

import math

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    return np.exp(x) / np.sum(np.exp(x))


def oneplus(x):
    return 1 + math.log(1 + math.exp(x))


def cosine(u, v):
    """D(u, v); 0 for a vector of zeros, of which the paper says nothing."""
    lengths = np.linalg.norm(u) * np.linalg.norm(v)
    return float(u @ v / lengths) if lengths else 0.0


def content_weighting(M, k, beta):
    """C(M, k, β)."""
    return softmax(np.array([beta * cosine(k, row) for row in M]))


def retention(f, w_read):
    """ψ_t. Args: f: (R,); w_read: (R, N), of the step before."""
    psi = np.ones(w_read.shape[1])
    for i in range(len(f)):
        psi *= 1 - f[i] * w_read[i]
    return psi


def usage(u, w_write, psi):
    """u_t. Args: u, w_write: (N,), of the step before."""
    return (u + w_write - u * w_write) * psi


def allocation(u):
    """a_t."""
    phi = sorted(range(len(u)), key=lambda row: u[row])  # the free list
    a = np.zeros(len(u))
    for j in range(len(u)):
        a[phi[j]] = (1 - u[phi[j]]) * math.prod(u[phi[i]] for i in range(j))
    return a


def write_weighting(c, a, g_a, g_w):
    """w_t^w."""
    return g_w * (g_a * a + (1 - g_a) * c)


def memory(M, w_write, e, v):
    """M_t."""
    return M * (np.ones_like(M) - np.outer(w_write, e)) + np.outer(w_write, v)


def precedence(p, w_write):
    """p_t."""
    return (1 - sum(w_write)) * p + w_write


def links(L, p, w_write):
    """L_t. Args: p: (N,), of the step before."""
    after = np.zeros_like(L)
    for i in range(len(L)):
        for j in range(len(L)):
            if i != j:
                after[i, j] = (1 - w_write[i] - w_write[j]) * L[i, j] + w_write[i] * p[j]
    return after


def forward(L, w_read):
    """f_t^i, of one head."""
    return L @ w_read


def backward(L, w_read):
    """b_t^i, of one head."""
    return L.T @ w_read


def read_weighting(b, c, f, pi):
    """w_t^{r,i}, of one head."""
    return pi[0] * b + pi[1] * c + pi[2] * f


def parts_of_interface(xi, W, R):
    """The interface vector ξ_t, cut in the order of the paper, each part in its range."""
    numbers = iter(xi)

    def take(count):
        return np.array([next(numbers) for _ in range(count)])

    parts = {
        "k_read": np.array([take(W) for _ in range(R)]),
        "beta_read": np.array([oneplus(x) for x in take(R)]),
        "k_write": take(W),
        "beta_write": oneplus(take(1)[0]),
        "e": sigmoid(take(W)),
        "v": take(W),
        "f": sigmoid(take(R)),
        "g_a": sigmoid(take(1)[0]),
        "g_w": sigmoid(take(1)[0]),
        "pi": np.array([softmax(take(3)) for _ in range(R)]),
    }
    assert next(numbers, None) is None
    return parts


class Computer:
    """The whole computer, with given weights; its state is that of one message.

    Args:
        W_x, W_h, b: of the LSTM, whose gates are in the order input, forget, state, output.
        W_xi: from the LSTM to the interface vector.
        W_y: from the LSTM and the read vectors to the output.
    """

    def __init__(self, N, W, R, W_x, W_h, b, W_xi, W_y):
        self.W, self.R = W, R
        self.W_x, self.W_h, self.b, self.W_xi, self.W_y = W_x, W_h, b, W_xi, W_y
        self.h = self.s = np.zeros(len(W_h))
        self.M, self.L = np.zeros((N, W)), np.zeros((N, N))
        self.u = self.p = self.w_write = np.zeros(N)
        self.w_read, self.r = np.zeros((R, N)), np.zeros((R, W))

    def step(self, x):
        """The output y_t for the input x_t."""
        chi = np.concatenate([x, *self.r])  # the input and the read vectors of the step before
        gates = np.split(chi @ self.W_x + self.h @ self.W_h + self.b, 4)
        i, f, o = (sigmoid(gates[number]) for number in (0, 1, 3))
        self.s = f * self.s + i * np.tanh(gates[2])
        self.h = o * np.tanh(self.s)

        ask = parts_of_interface(self.h @ self.W_xi, self.W, self.R)
        self.u = usage(self.u, self.w_write, retention(ask["f"], self.w_read))
        c = content_weighting(self.M, ask["k_write"], ask["beta_write"])
        self.w_write = write_weighting(c, allocation(self.u), ask["g_a"], ask["g_w"])
        self.M = memory(self.M, self.w_write, ask["e"], ask["v"])
        self.L = links(self.L, self.p, self.w_write)
        self.p = precedence(self.p, self.w_write)
        self.w_read = np.array([self._read_weighting(ask, head) for head in range(self.R)])
        self.r = self.w_read @ self.M
        return np.concatenate([self.h, *self.r]) @ self.W_y

    def _read_weighting(self, ask, head):
        before = self.w_read[head]
        c = content_weighting(self.M, ask["k_read"][head], ask["beta_read"][head])
        pi = ask["pi"][head]
        return read_weighting(backward(self.L, before), c, forward(self.L, before), pi)
