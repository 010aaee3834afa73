"""The arithmetic of a step, counted by hand."""

import numpy as np
import pytest

from atrank_tf import ATRank
from benchmarks.flops import step_flops
from data_pipeline import BatchOptions, TimelineData
from tests.atrank_tf.sizes import SMALL


@pytest.mark.parametrize("causal", [True, False])
def test_work_of_a_step(movies: TimelineData, causal: bool) -> None:
    model = ATRank(movies.schema, movies.catalog, form="causal" if causal else "paper", **SMALL)
    options = BatchOptions(
        rows="windows" if causal else "queries", num_negatives=1, max_tokens=10**6
    )
    ((inputs, _),) = movies.batches("train" if causal else "test", options).take(1)
    t = inputs["history"]["item"]["object"].row_lengths().numpy().astype(float)
    q = inputs["candidates"]["item"].row_lengths().numpy()
    self_pairs, pairs = t * t, q * t
    if causal:  # Those that see each other, one by one.
        times = inputs["history"]["item"]["time"].to_list()
        query_times = inputs["query_time"]["item"].to_list()
        self_pairs = np.array([sum(s < u for u in row for s in row) for row in times])
        pairs = np.array(
            [
                sum(s < u for u in candidate_times for s in row)
                for candidate_times, row in zip(query_times, times, strict=True)
            ]
        )
    products = {  # Multiplications and additions, by hand.
        "embed": (t + q) * (12 * 8 + 8 * 16),
        "query, key, value": (t + q) * 16 * 16 + 2 * t * 2 * 16 * 16,
        "attention": (self_pairs + pairs) * 2 * 16,
        "feed-forward": (t + q) * 2 * 16 * 4,
    }
    expected = 3 * 2 * sum(p.sum() for p in products.values())
    assert step_flops(model, inputs) == pytest.approx(expected)
