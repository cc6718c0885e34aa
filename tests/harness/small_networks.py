"""Untrained small networks for tests."""

import keras

from pipeline.models.architectures import NetworkParams, build_network


def small_network(
    vocabulary_size: int, *, seed: int, model: str = "dense", scale: float = 1.0
) -> keras.Model:
    """An untrained network; a larger `scale` of its weights makes scores differ more."""
    keras.utils.set_random_seed(seed)
    params = NetworkParams(
        model=model,
        embedding_dim=5,
        units=4,
        dropout=0.0,
        token_dropout=0.0,
        wide_share=0.0,
        length_exponent=0.8,
        memory_rows=6,
        memory_width=3,
        read_heads=2,
    )
    network = build_network(["x"] * vocabulary_size, params)
    for weights in network.weights:
        weights.assign(weights * scale)
    return network
