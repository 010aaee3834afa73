"""SASRec against its equations in NumPy, and one state for every query time."""

import numpy as np
import pytest
import tensorflow as tf

from data_pipeline import ragged
from data_pipeline.dataset import TimelineData
from tests.atrank_tf.batches import make_batch
from tests.atrank_tf.models.baselines.examples import (
    EVENTS,
    QUERIES,
    attend,
    example,
    logits,
    norm,
    small_model,
    vectors,
)


def test_a_state_of_sasrec_serves_every_query_time(data: TimelineData) -> None:
    model = small_model("sasrec", data)
    query_times = sorted(time + offset for _, _, time in EVENTS + QUERIES for offset in (0, 1))
    batch = make_batch([example(EVENTS)], data.schema)
    state = model.encode(batch["history"], batch["query_time"])
    objects = ragged.from_row_lengths(
        tf.fill([len(query_times)], tf.constant(4, tf.int64)), [len(query_times)]
    )
    candidate_times = {"item": objects.with_flat_values(tf.constant(query_times, tf.int64))}
    scores = model.score(state, {"item": objects}, candidate_times)["item"].to_list()[0]
    for query_time, score in zip(query_times, scores, strict=True):
        items, queries = ([e for e in events if e[2] < query_time] for events in (EVENTS, QUERIES))
        (expected,) = logits(model, [{**example(items, queries), "query_time": query_time}])
        assert score == pytest.approx(expected[0], abs=1e-5)


def test_sasrec_scores_by_its_equations(data: TimelineData) -> None:
    model = small_model("sasrec", data)
    x, q, bias = vectors(model, sorted(EVENTS, key=lambda event: event[2]), 9)
    x = x + model.positions.table.numpy()[: len(x)]
    for block in model.blocks:
        x = x + attend(norm(x, block.norms[0]), block.attention, np.tri(len(x)), keys=x)
        inner = norm(x, block.norms[1]) @ block.inner.kernel.numpy() + block.inner.bias.numpy()
        x = x + np.maximum(inner, 0) @ block.outer.kernel.numpy() + block.outer.bias.numpy()
    e = norm(x, model.norm)[-1]
    (scores,) = logits(model, [example(EVENTS, [])])
    assert scores[1] == pytest.approx(e @ q / np.sqrt(8) + bias, rel=1e-4)
