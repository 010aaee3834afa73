"""The bi-LSTM against its equations in NumPy, with and without attention."""

from typing import Any

import numpy as np
import pytest

from data_pipeline.dataset import TimelineData
from tests.atrank_tf.batches import QUERY_TIME
from tests.atrank_tf.models.baselines.examples import EVENTS, example, logits, small_model, vectors
from tests.atrank_tf.reference import Reference


@pytest.mark.parametrize("name", ["bilstm", "bilstm_attention"])
def test_bilstm_scores_by_its_equations(data: TimelineData, name: str) -> None:
    model = small_model(name, data)
    tokens, q, bias = vectors(model, sorted(EVENTS, key=lambda event: event[2]), 9)
    forward = recur(tokens, model.recurrent.forward_layer)
    backward = recur(tokens[::-1], model.recurrent.backward_layer)
    kernel, shift = model.project.kernel.numpy(), model.project.bias.numpy()
    if name == "bilstm":
        e = np.concatenate([forward[-1], backward[-1]]) @ kernel + shift
    else:
        states = np.concatenate([forward, backward[::-1]], axis=1) @ kernel + shift
        e = Reference(model).block(q, QUERY_TIME, [(s, 0) for s in states], model.vanilla_attention)
    (scores,) = logits(model, [example(EVENTS, [])])
    assert scores[1] == pytest.approx(e @ q / np.sqrt(8) + bias, rel=1e-4)


def recur(tokens: np.ndarray, layer: Any) -> np.ndarray:
    """The states of an LSTM, Hochreiter & Schmidhuber 1997 with the forget gate."""
    kernel, recurrent, bias = layer.get_weights()
    state = cell = np.zeros(len(recurrent))
    states = []
    for token in tokens:
        i, f, c, o = np.split(token @ kernel + state @ recurrent + bias, 4)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(c)
        state = sigmoid(o) * np.tanh(cell)
        states.append(state)
    return np.array(states)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
