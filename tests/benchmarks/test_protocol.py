"""The protocol: other libraries get the same data, and are measured alike."""

from pathlib import Path

import numpy as np
import pytest

from atrank_tf import ATRank
from atrank_tf.evaluate.scoring import Scoring
from atrank_tf.train.loop import mean_auc, user_aucs
from benchmarks.protocol import Protocol
from data_pipeline import BatchOptions, TimelineData
from tests.atrank_tf.sizes import SMALL


def test_other_libraries_get_the_same_data_and_are_measured_alike(
    movies: TimelineData, tmp_path: Path
) -> None:
    protocol = Protocol(movies, max_history=5)
    protocol.write(tmp_path / "protocol.npz")
    arrays = np.load(tmp_path / "protocol.npz")
    assert len(arrays["train_user"]) == movies.manifest.targets["train"]["item"]
    keys = list(zip(arrays["train_user"], arrays["train_time"], strict=True))
    assert keys == sorted(keys)
    assert np.diff(arrays["test_history_splits"]).max() == 5
    splits, values = arrays["item_feature_splits"], arrays["item_feature_rows"]
    assert len(splits) == arrays["num_items"] + 2
    assert splits[1] == 0
    assert values.min() >= 1
    assert values.max() <= arrays["num_feature_values"]

    model = ATRank(movies.schema, movies.catalog, **SMALL)
    scoring = Scoring(model, movies.batches("test", BatchOptions(max_history=5)))
    scores = np.concatenate(
        [model(inputs) for inputs, _ in movies.batches("test", BatchOptions(max_history=5))]
    )
    assert protocol.auc("test", scores) == pytest.approx(mean_auc(user_aucs(scoring)), abs=1e-6)
