"""The synthetic log follows its rule, and the ceiling is what the rule allows."""

from pathlib import Path

import pandas as pd
import pytest

from benchmarks import synthetic
from data_pipeline.core.errors import UserError
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Group, Schema


def test_the_rule_and_its_ceiling(tmp_path: Path) -> None:
    synthetic.write(tmp_path, num_users=150)
    events = pd.read_csv(tmp_path / "events.csv").sort_values(["user", "time"])
    before = events["object"].shift()
    coupons = events["group"] == "coupon"
    follows = events["object"][coupons] == before[coupons] % 200
    assert (events["group"].shift()[coupons] == "product").all()
    assert follows.mean() == pytest.approx(0.9, abs=0.05)
    schema = Schema.load(tmp_path)
    prepare(schema, tmp_path / "data", [str(tmp_path / "events.csv")], base_dir=tmp_path)
    auc = synthetic.ceiling(tmp_path / "data")
    # By the rule 1, else a half, but for what was drawn after all or is not known.
    assert auc["value"] == pytest.approx(0.95, abs=0.04)


def test_other_data_has_no_such_ceiling(tmp_path: Path) -> None:
    events = pd.DataFrame({"user": [1, 1, 1], "object": [1, 2, 3], "time": [1, 2, 3]})
    events.to_csv(tmp_path / "e.csv", index=False)
    prepare(Schema((Group("item"),), ("item",)), tmp_path / "data", [str(tmp_path / "e.csv")])
    with pytest.raises(UserError, match="holds no data of benchmarks"):
        synthetic.ceiling(tmp_path / "data")
