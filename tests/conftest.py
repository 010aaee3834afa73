"""A small heterogeneous data set, made once: two groups that share a vocabulary of features."""

import fcntl
import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path

# Before TensorFlow is imported, here and in the processes that tests start.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# There are more test processes than cores: threads of their own would only wait for each other.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from atrank_tf import ATRank
from atrank_tf.run_directory import RunDirectory
from data_pipeline.dataset import TimelineData
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Columns, Feature, Group, Schema, Vocabulary
from tests import processes
from tests.exports import Exported, make_export

# Tests run a graph a few times: to optimize it takes longer than it saves. The road from logs to
# scores is gone with optimized ones (test_end_to_end).
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})

REPOSITORY = Path(__file__).parent.parent

# Files whose tests share a fixture that takes its time: each line runs in one process, which makes
# the fixture once. Any other file may run in any.
_TOGETHER = (
    ("atrank_tf/attention/",),
    ("atrank_tf/evaluate/test_evaluation.py", "atrank_tf/evaluate/test_main.py"),
    ("atrank_tf/experiment/",),
    ("export/serve/", "export/test_client.py", "export/test_smoke.py"),
    ("export/graph/", "export/test_c.py", "export/test_score.py"),
)

# What takes minutes begins first, the longest before the others, so that none of it is left alone
# at the end: groups of `group_of`.
_LONG = (
    "test_end_to_end.py",
    "atrank_tf/train/test_loop.py",
    "data_pipeline/test_dataset.py",
    "atrank_tf/models/test_atrank.py",
    "atrank_tf/experiment/",
    "export/graph/",
    "export/serve/",
    "atrank_tf/models/test_history_ranker.py",
    "atrank_tf/attention/",
)
DAY = 86_400
START = 1_500_000_000


def group_of(nodeid: str) -> str:
    """What a test runs in one process with: those of its file, or of a line of `_TOGETHER`."""
    file, _, name = nodeid.removeprefix("tests/").partition("::")
    if file == "test_docstrings.py":  # One file for all: its tests are of many.
        return f"{file} {name.partition('[')[2].partition('.')[0].rstrip(']')}"
    return next((files[0] for files in _TOGETHER if file.startswith(files)), file)


# Groups by marks (`--dist loadgroup`) have no effect with pytest 9.2: xdist 3.8 writes them into an
# attribute of tests that pytest does not read any more, and gives each process single tests.
class GroupScheduling(LoadScopeScheduling):
    """Gives each process a group of tests at a time."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> GroupScheduling | None:
    is_chosen = config.getvalue("dist") == "loadscope"
    return GroupScheduling(config, log) if is_chosen else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {group: number for number, group in enumerate(_LONG)}
    items.sort(key=lambda item: rank.get(group_of(item.nodeid), len(_LONG)))


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


def make_run(data: TimelineData, path: Path) -> RunDirectory:
    """A run whose weights are far from zero, so that every input matters."""
    settings = {
        "model": "atrank",
        "model_settings": {},
        "max_history": 3,
        "data_dir": str(data.directory),
        "groups": [],
        "loss": "pointwise",
        "targets": [],
        "num_negatives": 1,
        "seed": 1,
    }
    run = RunDirectory(path)
    run.begin(settings, data.manifest.fingerprint, data.directory / "objects")
    model = ATRank(
        data.schema, data.catalog, width=16, num_spaces=4, embedding_width=8, feature_width=4
    )
    random = np.random.default_rng(3)
    for weight in model.trainable_weights:
        weight.assign(random.normal(0, 0.5, weight.shape))
    state = {"epoch": 1, "batch": 0, "best_epoch": 1, "seconds": 1.0, "targets_seen": 9}
    run.save(model, state, is_best=True)
    return run


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


@pytest.fixture(scope="session")
def run(data: TimelineData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(data, tmp_path_factory.mktemp("run")).path


@pytest.fixture(scope="session")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Exported:
    """An export, its verification, and the answers and replays that it was verified by.

    It takes its time: all processes of a test run share one.
    """
    directory = tmp_path_factory.getbasetemp()
    shared = (directory if worker_id == "master" else directory.parent) / "exported"
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "exported.pickle").exists():
            (shared / "exported.pickle").write_bytes(pickle.dumps(make_export(run, shared)))
    return pickle.loads((shared / "exported.pickle").read_bytes())


@pytest.fixture(scope="session")
def saved_model(exported: Exported) -> Path:
    return exported[0]


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a module of the package as a process of its own, in an empty directory."""

    def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return processes.run_module(module, arguments, tmp_path)

    return run
