"""Attention averaged by gap, group and action: against plain loops."""

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf import ATRank, UserError
from atrank_tf.attention.averages import averages, duration
from data_pipeline.batches.options import BatchOptions
from data_pipeline.dataset import TimelineData
from tests.atrank_tf.batches import QUERY_TIME, make_batch


def gap_bucket(model: ATRank, gap: int) -> str:
    """The name of the model's bucket of a gap in seconds."""
    bounds = [4**k for k in range(1, 16)] if model.is_causal else [86_400 << k for k in range(12)]
    if gap < 0:
        return "later"
    below = [bound for bound in bounds if bound <= gap]
    name, bound = ("from", below[-1]) if below else ("under", bounds[0])
    return f"{name} {duration(bound / 86_400)}"


@pytest.fixture(scope="module")
def batches(data: TimelineData) -> list[tuple[dict[str, Any], tf.Tensor]]:
    return list(data.batches("test", BatchOptions(num_negatives=2, max_tokens=300)).take(2))


def test_averages_are_what_loops_give(
    model: ATRank, batches: list[tuple[dict[str, Any], tf.Tensor]]
) -> None:
    expected: dict[tuple[str, str, int, str], list[float]] = defaultdict(list)

    def count(
        name: str, weights: np.ndarray, query_time: int, seen: list[tuple[int, str, str]]
    ) -> None:
        """Adds what one that attends gives to each behavior: weights [spaces, behaviors]."""
        visible = [
            j for j, (time, _, _) in enumerate(seen) if time < query_time or not model.is_causal
        ]
        for j in visible:
            time, group, action = seen[j]
            values = {"gap": gap_bucket(model, query_time - time), "group": group, "action": action}
            for space in (1, 2):
                lift = float(weights[space - 1, j]) * len(visible)
                for by, value in values.items():
                    expected[name, by, space, value].append(lift)

    for inputs, labels in batches:
        weights = model.attention(inputs["history"], inputs["candidates"], inputs["query_time"])
        positive, first = labels.numpy() > 0, 0
        for i, row in enumerate(inputs["candidates"]["item"].to_list()):
            seen = [
                (int(time), group, ("unknown", "buy", "view")[a] if group == "item" else "query")
                for group, history in inputs["history"].items()
                for time, a in zip(history["time"][i].numpy(), history["action"][i], strict=True)
            ]
            for chosen in np.flatnonzero(positive[first : first + len(row)]):
                count(
                    "item",
                    weights["item"][:, i, chosen].numpy(),
                    int(inputs["query_time"][i]),
                    seen,
                )
            first += len(row)
            for position, (time, _, _) in enumerate(seen):
                weights_of_behavior = weights["self_attention_0"][:, i, position].numpy()
                count("self_attention_0", weights_of_behavior, time, seen)
    frame = averages(model, batches)
    lines = frame[frame["attention"].isin(["item", "self_attention_0"])].itertuples()
    lines_by_key = {(line.attention, line.by, line.space, line.value): line for line in lines}
    assert set(lines_by_key) == set(expected)
    for key, lifts in expected.items():
        assert lines_by_key[key].pairs == len(lifts)
        assert lines_by_key[key].lift == pytest.approx(np.mean(lifts), rel=1e-3, abs=1e-6)
    for _, part in frame.groupby(["attention", "by", "space"]):
        assert (part["lift"] * part["pairs"]).sum() == pytest.approx(part["pairs"].sum(), rel=1e-3)


def test_averages_of_nothing(model: ATRank) -> None:
    with pytest.raises(UserError, match="queries with a history: these batches have none"):
        averages(model, [])
    example = {"query_time": QUERY_TIME, "history": {}, "candidates": {"item": [4, 5]}}
    batches = [(make_batch([example], model.schema), tf.constant([1.0, 0.0]))]
    with pytest.raises(UserError, match="queries with a history: these batches have none"):
        averages(model, batches)


def test_candidates_that_are_no_positives_do_not_count(model: ATRank) -> None:
    example = {
        "query_time": QUERY_TIME,
        "history": {"item": [(3, 1, QUERY_TIME - 10)]},
        "candidates": {"item": [4, 5, 6]},
    }
    batch = make_batch([example], model.schema)
    frame = averages(model, [(batch, tf.constant([0.0, 1.0, 1.0]))])
    lines = frame[(frame["attention"] == "item") & (frame["by"] == "action")]
    assert lines["value"].tolist() == ["buy", "buy"]
    assert lines["pairs"].tolist() == [2, 2]  # Of two positives and one behavior, in each space.
    np.testing.assert_allclose(lines[["weight", "lift"]], 1, rtol=1e-6)
    assert "query" not in set(frame["attention"])  # There is no candidate of it.


@pytest.mark.parametrize(
    ("days", "expected"),
    [(0.0, "0 s"), (16 / 86400, "16 s"), (1 / 24, "1 h"), (12.0, "12 d"), (730.0, "2 y")],
)
def test_durations(days: float, expected: str) -> None:
    assert duration(days) == expected
