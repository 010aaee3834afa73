"""Which negatives are drawn: all of them, or by popularity."""

from pathlib import Path

import numpy as np
import pytest

from data_pipeline.batches.options import BatchOptions, Sampling
from data_pipeline.core.errors import UserError
from tests.data_pipeline.batches.eager import EagerData


def negatives_of(data_dir: Path, split: str, sampling: Sampling) -> list[tuple[list, list]]:
    """Of each query the positives and the negatives of items."""
    options = BatchOptions(
        sampling=sampling, num_negatives=7, look_ups=False, rows="queries", max_tokens=10**6
    )
    rows = []
    for inputs, labels in EagerData(data_dir).batches(split, options):
        objects = inputs["candidates"]["item"]
        is_positive = objects.with_flat_values(labels[: len(objects.flat_values)] > 0).to_list()
        for row, of_row in zip(objects.to_list(), is_positive, strict=True):
            parts = [[o for o, p in zip(row, of_row, strict=True) if p == kind] for kind in (1, 0)]
            rows.append((parts[0], parts[1]))
    return [row for row in rows if row[0]]


def test_all_is_every_logged_object_that_was_not_taken_then(data_dir: Path) -> None:
    group = EagerData(data_dir).schema.group("item")
    pool = set(range(group.num_oov, group.num_oov + group.num_logged))
    rows = negatives_of(data_dir, "test", "all")
    assert len(rows) > 5
    for positives, negatives in rows:
        assert len(negatives) == len(set(negatives))
        assert set(negatives) == pool - set(positives)


def test_the_popular_are_drawn_more_often(data_dir: Path) -> None:
    rows = negatives_of(data_dir, "test", "popularity")
    for positives, negatives in rows:
        assert not set(positives) & set(negatives)
        assert len(negatives) == 7
    drawn = np.array([o for _, negatives in rows for o in negatives])
    counts = EagerData(data_dir).catalog["item"]["train_counts"]
    assert counts[drawn].min() > 0  # What training never saw is not drawn.
    assert counts[drawn].mean() > 1.5 * counts[counts > 0].mean()
    assert rows == negatives_of(data_dir, "test", "popularity")


@pytest.mark.parametrize("sampling", ["all", "popularity"])
def test_training_draws_uniformly(sampling: Sampling) -> None:
    with pytest.raises(UserError, match=f"sampling is '{sampling}': for evaluation alone"):
        BatchOptions(sampling=sampling).resolved("train", ["item"])
