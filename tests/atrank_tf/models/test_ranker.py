"""What every model is: a Keras model of two verbs."""

from pathlib import Path

import keras
import numpy as np
import pytest

from atrank_tf import BPR, ATRank, BPRLoss, PointwiseLoss, Popularity, RowSparse
from data_pipeline.batches.options import BatchOptions
from data_pipeline.dataset import TimelineData
from tests.atrank_tf.sizes import SMALL


def test_xla_is_declined(data: TimelineData) -> None:
    model = ATRank(data.schema, data.catalog, **SMALL)
    with pytest.warns(UserWarning, match="doesn't support `jit_compile=True`"):
        model.compile("sgd", PointwiseLoss(), jit_compile=True)
    assert model.jit_compile is False


@pytest.mark.parametrize("kind", [BPR, Popularity])
def test_baselines_are_keras_models(data: TimelineData, tmp_path: Path, kind: type) -> None:
    keras.utils.set_random_seed(1)
    model = kind(data.schema, data.catalog)
    model.compile(RowSparse(0.03), BPRLoss())
    if kind is BPR:
        losses = model.fit(data.batches("train", seed=1), epochs=3, verbose=0).history["loss"]
        assert losses[-1] < losses[0]
    test = data.batches("test", BatchOptions(num_negatives=5))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    expected = model.predict(test, verbose=0)
    np.testing.assert_array_equal(loaded.predict(test, verbose=0), expected)
    assert loaded.get_config() == model.get_config()
