"""The bias of each object: where training starts."""

import numpy as np
import pytest

from atrank_tf import ATRank
from data_pipeline.dataset import TimelineData


def test_popularity_is_where_training_starts(data: TimelineData) -> None:
    model = ATRank(data.schema, data.catalog)
    group = data.schema.group("item")
    rows = model.tokens.behaviors["item"].objects.embedding_indices.numpy()[group.num_oov :]
    bias = model.tokens.biases["item"].table.numpy()[:, 0]
    own = rows >= group.num_oov
    counts = data.catalog["item"]["train_counts"][group.num_oov :][own]
    assert np.corrcoef(bias[rows[own]], np.log(counts + 1))[0, 1] == pytest.approx(1, abs=1e-4)
