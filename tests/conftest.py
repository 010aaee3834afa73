"""A small heterogeneous data set, made once: two groups that share a vocabulary of features."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

# Before TensorFlow is imported, here and in the processes that tests start.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from data_pipeline.dataset import TimelineData
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Columns, Feature, Group, Schema, Vocabulary
from tests import processes

# Tests run a graph a few times: to optimize it takes longer than it saves. The whole road of
# commands is gone with optimized ones (test_road).
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})

REPOSITORY = Path(__file__).parent.parent

# Modules that take minutes begin first, the longest before the others, so that none of them is
# left alone at the end.
_LONG = (
    "test_road",
    "test_training",
    "test_experiments",
    "test_dataset",
    "test_export",
    "test_atrank",
    "test_serve",
    "test_attention",
)
DAY = 86_400
START = 1_500_000_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {name: number for number, name in enumerate(_LONG)}
    items.sort(key=lambda item: place.get(item.path.stem, len(_LONG)))


def make_logs(directory: Path, seed: int = 0, num_users: int = 24, num_events: int = 600) -> Schema:
    """Writes random purchases and searches and describes them."""
    random = np.random.default_rng(seed)
    groups = random.choice(["item", "query"], num_events, p=[0.8, 0.2])
    events = pd.DataFrame(
        {
            "user": random.integers(1, num_users + 1, num_events),
            "group": groups,
            "object": np.where(
                groups == "item",
                random.zipf(1.3, num_events) % 40 + 100,
                random.integers(1, 9, num_events),
            ),
            "action": np.where(groups == "item", random.choice(["buy", "view"], num_events), ""),
            "time": START + random.integers(0, 300 * DAY // 600, num_events) * 600,
        }
    ).drop_duplicates()
    events.to_parquet(directory / "events.parquet")
    items = pd.DataFrame({"object": np.arange(100, 140)})
    items["category"] = [f"c{i % 5}" for i in items["object"]]
    items["tags"] = [["t1"] * (i % 3 == 0) + [f"t{i % 4}"] * (i % 2) for i in items["object"]]
    items.to_parquet(directory / "items.parquet")
    queries = pd.DataFrame({"object": np.arange(1, 9)})
    queries["category"] = [f"c{i % 5}" for i in queries["object"]]
    queries.to_parquet(directory / "queries.parquet")
    return Schema(
        groups=(
            Group(
                "item",
                actions=("buy", "view"),
                features=(Feature("category"), Feature("tag", column="tags", multivalued=True)),
                objects="items.parquet",
            ),
            Group("query", features=(Feature("category"),), objects="queries.parquet"),
        ),
        targets=("item", "query"),
        vocabularies=(Vocabulary("item", min_count=2, num_oov=2),),
        columns=Columns(action="action", group="group"),
    )


def tensorboard_tags(run: Path) -> set[str]:
    """What the TensorBoard logs of a run directory hold."""
    return {
        value.tag
        for path in (run / "tensorboard").iterdir()
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
        for value in tf.compat.v1.Event.FromString(record).summary.value
    }


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("logs")
    schema = make_logs(source)
    output = tmp_path_factory.mktemp("prepared") / "data"
    prepare(schema, output, [str(source / "events.parquet")], base_dir=source)
    return output


@pytest.fixture(scope="session")
def data(data_dir: Path) -> TimelineData:
    return TimelineData(data_dir)


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a module of the package as a process of its own, in an empty directory."""

    def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return processes.run_module(module, arguments, tmp_path)

    return run
