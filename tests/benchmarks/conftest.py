"""Data as MovieLens has it."""

import numpy as np
import pandas as pd
import pytest

from data_pipeline import TimelineData
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Feature, Group, Schema


@pytest.fixture(scope="session")
def movies(tmp_path_factory: pytest.TempPathFactory) -> TimelineData:
    """One group of objects with one feature, as MovieLens has."""
    random = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data")
    events = {name: random.integers(0, n, 300) for name, n in (("user", 12), ("object", 40))}
    events["time"] = np.sort(random.integers(0, 10**7, 300)) // 1000 * 1000
    pd.DataFrame(events).drop_duplicates().to_csv(path / "e.csv", index=False)
    objects = {"object": range(40), "genre": ["a|b", "b", "", "c"] * 10}
    pd.DataFrame(objects).to_csv(path / "o.csv", index=False)
    genre = Feature("genre", multivalued=True, separator="|")
    schema = Schema((Group("item", objects="o.csv", features=(genre,)),), ("item",))
    prepare(schema, path / "data", [str(path / "e.csv")], base_dir=path)
    return TimelineData(path / "data")
