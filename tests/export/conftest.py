"""A small model with random weights, exported once, and one session that runs it."""

import fcntl
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf import ATRank, Schema
from atrank_tf.run_directory import RunDirectory
from data_pipeline.dataset import TimelineData
from export import verify
from export.export_model import export_model
from export.protocol.request import Request, candidate_inputs, one_candidate_rows
from export.release import session
from export.serve.servable import Servable
from tests.conftest import DAY, START

Inputs = dict[str, np.ndarray]
Exported = tuple[Path, verify.Verification, Inputs, list[verify._Replay]]

QUERY_TIME = START + 400 * DAY
HISTORY = {
    "item": [
        {"object": 101, "action": "buy", "time": START + 5},
        {"object": 102, "action": "view", "time": START + 90 * DAY},
        {"object": 105, "action": "view", "time": START + 90 * DAY},
    ],
    "query": [{"object": 3, "time": START + 399 * DAY}],
}
REQUEST = {"time": QUERY_TIME, "history": HISTORY, "candidates": [101, 110, 133]}


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
    run.save(model, {"epoch": 1, "batch": 0, "seconds": 1.0, "targets_seen": 9}, is_best=True)
    return run


@pytest.fixture(scope="session")
def run(data: TimelineData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(data, tmp_path_factory.mktemp("run")).path


@pytest.fixture(scope="session")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Exported:
    """An export, what its verification found, the answers that it found it by, and the asked.

    It takes its time: all processes of a test run share one.
    """
    directory = tmp_path_factory.getbasetemp()
    shared = (directory if worker_id == "master" else directory.parent) / "exported"
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "exported.pickle").exists():
            (shared / "exported.pickle").write_bytes(pickle.dumps(_export(run, shared)))
    return pickle.loads((shared / "exported.pickle").read_bytes())


def _export(run: Path, directory: Path) -> Exported:
    found: Inputs = {}
    asked: list[verify._Replay] = []
    replays = verify._replays

    def keep(*arguments: Any) -> list[verify._Replay]:
        asked.extend(replays(*arguments))
        return asked

    def run_here(saved_model: Path, requests: dict[str, np.ndarray]) -> Inputs:
        # A process of its own, as `verify` has it, takes its time to start.
        nested: dict[str, session.Requests] = {}
        for path, value in requests.items():
            name, signature, key = path.split("/")
            nested.setdefault(name, {}).setdefault(signature, {})[key] = value
        found.update(session.run(str(saved_model), nested, optimize=False))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify, "_run_in_session", run_here)
        patch.setattr(verify, "_replays", keep)
        version, verification = export_model(run, directory / "atrank")
    return version, verification, found, asked


@pytest.fixture(scope="session")
def saved_model(exported: Exported) -> Path:
    return exported[0]


@pytest.fixture
def answers(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> Inputs:
    """What `verify` is given as the answers of an export: at first those of `saved_model`."""
    found = {name: values.copy() for name, values in exported[2].items()}
    monkeypatch.setattr(verify, "_run_in_session", lambda *_: found)
    monkeypatch.setattr(verify, "_replays", lambda *_: exported[3])
    return found


@pytest.fixture(scope="session")
def ask(saved_model: Path) -> Any:
    """Runs a signature in one session of the session loader."""
    servable = Servable(saved_model)
    yield servable.run
    servable.close()


@pytest.fixture(scope="session")
def score(ask: Any) -> Any:
    """Logits of the default signature."""
    return lambda inputs: ask("serving_default", inputs)["logit"]


def many_inputs(request: dict[str, Any], schema: Schema) -> Inputs:
    return candidate_inputs([Request.from_json(request)], schema)


def inputs_of(request: dict[str, Any], schema: Schema) -> Inputs:
    """The inputs of the point-wise signature."""
    return one_candidate_rows(many_inputs(request, schema))


def example(**features: list[Any]) -> bytes:
    def feature(values: list[Any]) -> tf.train.Feature:
        if all(isinstance(value, int) for value in values):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        texts = [value.encode() for value in values]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=texts))

    named = {name: feature(values) for name, values in features.items()}
    return tf.train.Example(features=tf.train.Features(feature=named)).SerializeToString()
