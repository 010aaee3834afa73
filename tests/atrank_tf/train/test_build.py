"""The model of a run: what goes together."""

from pathlib import Path

import pandas as pd
import pytest

from atrank_tf import UserError
from atrank_tf.train.loop import train
from atrank_tf.train.settings import Settings
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Group, Schema


def test_pairwise_losses_want_lists_of_labelled_targets(tmp_path: Path) -> None:
    events = pd.DataFrame({"user": [1, 1, 2], "object": [1, 2, 1], "time": [1, 2, 1]})
    events.to_csv(tmp_path / "e.csv", index=False)
    events.assign(label=[1, 0, 1]).to_csv(tmp_path / "shown.csv", index=False)
    schema = Schema((Group("item", impressions="shown.csv"),), ("item",))
    prepare(schema, tmp_path / "data", [str(tmp_path / "e.csv")], base_dir=tmp_path)
    with pytest.raises(UserError, match=r"candidates of item were logged without one: name the .*"):
        train(str(tmp_path / "data"), str(tmp_path / "run"), Settings(model="bpr"))
