"""Models whose attention is shown: small ones, and a trained one."""

from pathlib import Path

import pytest

from atrank_tf import ATRank
from atrank_tf.train.loop import train
from atrank_tf.train.settings import Settings
from data_pipeline.dataset import TimelineData
from tests.atrank_tf.sizes import TINY


@pytest.fixture(scope="session", params=["causal", "paper"])
def model(request: pytest.FixtureRequest, data: TimelineData) -> ATRank:
    return ATRank(data.schema, data.catalog, form=request.param, **TINY)


@pytest.fixture(scope="session")
def trained_run(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model of one group, which is quick to train."""
    path = tmp_path_factory.mktemp("run")
    settings = Settings(model_settings=TINY, epochs=1, groups=["query"], targets=["query"])
    train(str(data_dir), str(path), settings)
    return path
