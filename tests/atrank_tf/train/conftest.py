"""Data that is trained on fast."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Group, Schema


@pytest.fixture(scope="session")
def items_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One group of objects that have an id alone: little to trace, quick to train."""
    random = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data")
    events = {name: random.integers(0, n, 800) for name, n in (("user", 30), ("object", 40))}
    events["time"] = np.arange(800) * 10_000
    pd.DataFrame(events).to_csv(path / "e.csv", index=False)
    prepare(Schema((Group("item"),), ("item",)), path / "data", [str(path / "e.csv")])
    return path / "data"
