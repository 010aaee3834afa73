"""Settings: every message that one out of range can bring."""

from pathlib import Path
from typing import Any

import pytest

from atrank_tf import UserError
from atrank_tf.train.loop import train
from tests.atrank_tf.train.settings import SETTINGS


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"model": "dnn"}, "model is 'dnn': expected one of atrank, bilstm, bilstm_attention, bpr"),
        ({"epochs": 0}, "epochs is 0: expected 1 or more"),
        ({"max_history": 0}, "max_history is 0: expected 1 or more"),
        ({"max_queries": -1}, "max_queries is -1: expected 0 or more"),
        (
            {"max_queries": 3, "rows": "windows"},
            "max_queries: for rows='queries'; windows hold all query times",
        ),
        ({"rows": "both"}, "rows is 'both': expected one of auto, queries, windows"),
        (
            {"model": "din", "model_settings": {}, "rows": "windows"},
            "rows is 'windows': the state of din is of one query time here, use 'queries'",
        ),
        ({"loss": "x"}, "loss is 'x': expected one of auto, pointwise, bpr, hinge"),
        ({"max_seconds": -1.0}, "max_seconds is -1.0: expected a number of 0 or more"),
        ({"groups": ["x"]}, "group 'x': expected one of item"),
        ({"targets": ["x"]}, "target 'x': expected one of item"),
        ({"target_weights": {"x": 1.0}}, "target_weights: 'x': expected one of item"),
        (
            {"target_weights": {"item": -1.0}},
            "target_weights.item is -1.0: expected a number of 0 or more",
        ),
        ({"model_settings": {"scores": "x"}}, "scores is 'x': expected one of scaled_dot, biline"),
        ({"model_settings": {"downstream": "x"}}, "downstream is 'x': expected one of dot, mlp"),
        (
            {"model_settings": {"form": "paper", "time": "x"}},
            "time is 'x': expected one of added, concatenated",
        ),
        ({"model_settings": {"time": "concatenated"}}, "only of form='paper'"),
        ({"model": "din", "model_settings": {"width": 0}}, "model 'din': width"),
        ({"tables": "x"}, "tables is 'x': expected one of adam, adagrad, sgd"),
        ({"precision": "half"}, "precision is 'half': expected one of float32, mixed_bfloat16"),
        ({"rest": "adagrad"}, "rest is 'adagrad': expected one of adam, sgd"),
        ({"seed": -1}, "seed is -1: expected 0 to 4294967295"),
        ({"decay": 1.1}, "decay is 1.1: expected a number above 0, up to 1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0: expected a number above 0"),
        ({"clip_norm": float("nan")}, "clip_norm is nan: expected a number above 0"),
        ({"model_settings": {"width": 10}}, r"model 'atrank': width \(10\) must be a multiple"),
        ({"model_settings": {"num_spaces": 0}}, "num_spaces is 0: expected 1 or more"),
        ({"model_settings": {"dropout": 1.0}}, "dropout is 1.0"),
        ({"model": "bpr", "model_settings": {"width": 0}}, "width is 0"),
    ],
)
def test_settings_out_of_range(
    items_dir: Path, tmp_path: Path, change: dict[str, Any], expected: str
) -> None:
    with pytest.raises(UserError, match=expected):
        train(str(items_dir), str(tmp_path), SETTINGS.replace(**change))
    assert not (tmp_path / "state.json").exists()
