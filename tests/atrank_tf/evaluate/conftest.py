"""Two trained runs, to be compared."""

from pathlib import Path

import pytest

from atrank_tf.train.loop import train
from atrank_tf.train.settings import Settings


@pytest.fixture(scope="session")
def runs(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs")
    train(str(data_dir), str(path / "popularity"), Settings(model="popularity"))
    train(str(data_dir), str(path / "bpr"), Settings(model="bpr", loss="pointwise", epochs=1))
    return path
