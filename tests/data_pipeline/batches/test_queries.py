"""Rows of queries: which query times, and what their candidates depend on."""

from typing import Any

import pandas as pd
import pytest

from data_pipeline.dataset import TimelineData
from tests.data_pipeline.examples import query_examples


@pytest.mark.slow
def test_evaluation_candidates_depend_on_nothing_but_the_query_time(data: TimelineData) -> None:
    def candidates(**options: Any) -> dict[tuple, Any]:
        return {
            (m["user"], m["query_time"]): m["candidates"]
            for m in query_examples(data, "test", **options)
        }

    first = candidates()
    assert candidates(max_history=2, max_tokens=100) == first
    assert candidates(max_queries=10) == first


def test_max_queries_are_chosen_anew_each_epoch(data: TimelineData) -> None:
    chosen = []
    for epoch in (0, 1):
        queries = [
            (m["user"], m["query_time"])
            for m in query_examples(data, "train", max_queries=2, epoch=epoch)
        ]
        counts = pd.Series([user for user, _ in queries]).value_counts()
        assert counts.max() == 2
        chosen.append(set(queries))
    assert chosen[0] != chosen[1]
