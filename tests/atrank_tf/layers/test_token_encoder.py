"""The token encoder: what groups share."""

from pathlib import Path

import keras

from atrank_tf import ATRank
from data_pipeline.dataset import TimelineData
from tests.atrank_tf.sizes import SMALL


def test_a_shared_vocabulary_is_one_table(data: TimelineData) -> None:
    model = ATRank(data.schema, data.catalog, **SMALL)
    tables = [model.tokens.behaviors[name].objects.tables["category"] for name in ("item", "query")]
    assert tables[0] is tables[1]
    names = [w.path for w in model.trainable_weights if w.path == "category_table/table"]
    assert len(names) == 1


def test_a_loaded_model_shares_it_still(data: TimelineData, tmp_path: Path) -> None:
    model = ATRank(data.schema, data.catalog, **SMALL)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert len(loaded.weights) == len(model.weights)
    tables = [
        loaded.tokens.behaviors[name].objects.tables["category"] for name in ("item", "query")
    ]
    assert tables[0] is tables[1]
