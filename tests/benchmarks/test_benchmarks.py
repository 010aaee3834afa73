"""The benchmarks measure what they say: the naive form, the rivals' data, the report."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from atrank_tf import ATRank
from atrank_tf.evaluate.evaluation import Scoring
from atrank_tf.train.loop import mean_auc, user_aucs
from benchmarks import environments, profile_step, report
from benchmarks.flops import step_flops
from benchmarks.naive import NaiveATRank, naive_batches
from benchmarks.other_libraries import harness
from benchmarks.protocol import Protocol
from data_pipeline import BatchOptions, TimelineData
from data_pipeline.core.errors import UserError
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Feature, Group, Schema

SMALL = {"width": 16, "num_spaces": 4, "embedding_width": 8, "feature_width": 4, "dropout": 0.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TimelineData:
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


def test_the_naive_form_is_the_same_function(data: TimelineData) -> None:
    keras.utils.set_random_seed(1)
    naive = NaiveATRank(data.schema, data.catalog, form="paper", **SMALL)
    rows = 0
    for inputs, labels in naive_batches(data, max_history=100, seed=1).take(3):
        assert len(labels) <= 32
        lengths = inputs["history"]["item"]["object"].row_lengths().numpy()
        assert len(set(lengths.tolist())) > 1  # Random lengths together: padding.
        expected = ATRank.call(naive, inputs, training=False)
        np.testing.assert_allclose(naive(inputs, training=True), expected, atol=1e-5)
        rows += len(labels)
    assert rows == 96


def test_the_naive_form_trains_on_the_same_targets(data: TimelineData) -> None:
    found: Counter[tuple[int, int]] = Counter()
    for inputs, labels in naive_batches(data, max_history=100, seed=1):
        objects = inputs["candidates"]["item"].flat_values.numpy()
        positive = labels.numpy() > 0
        found.update(zip(inputs["user"].numpy()[positive], objects[positive], strict=True))
    expected: Counter[tuple[int, int]] = Counter()
    for inputs, labels in data.batches("train"):
        candidates = inputs["candidates"]["item"]
        users = inputs["user"].numpy()[candidates.value_rowids().numpy()]
        positive = labels.numpy() > 0
        expected.update(zip(users[positive], candidates.flat_values.numpy()[positive], strict=True))
    assert found == expected


def test_rivals_get_the_same_data_and_are_measured_alike(
    data: TimelineData, tmp_path: Path
) -> None:
    protocol = Protocol(data, max_history=5)
    protocol.write(tmp_path / "protocol.npz")
    arrays = np.load(tmp_path / "protocol.npz")
    assert len(arrays["train_user"]) == data.manifest.targets["train"]["item"]
    keys = list(zip(arrays["train_user"], arrays["train_time"], strict=True))
    assert keys == sorted(keys)
    assert np.diff(arrays["test_history_splits"]).max() == 5
    splits, values = arrays["item_feature_splits"], arrays["item_feature_rows"]
    assert len(splits) == arrays["num_items"] + 2
    assert splits[1] == 0
    assert values.min() >= 1
    assert values.max() <= arrays["num_feature_values"]

    model = ATRank(data.schema, data.catalog, **SMALL)
    scoring = Scoring(model, data.batches("test", BatchOptions(max_history=5)))
    scores = np.concatenate(
        [model(inputs) for inputs, _ in data.batches("test", BatchOptions(max_history=5))]
    )
    assert protocol.auc("test", scores) == pytest.approx(mean_auc(user_aucs(scoring)), abs=1e-6)


@pytest.mark.parametrize("causal", [True, False])
def test_work_of_a_step(data: TimelineData, causal: bool) -> None:
    model = ATRank(data.schema, data.catalog, form="causal" if causal else "paper", **SMALL)
    options = BatchOptions(
        rows="windows" if causal else "queries", num_negatives=1, max_tokens=10**6
    )
    ((inputs, _),) = data.batches("train" if causal else "test", options).take(1)
    t = inputs["history"]["item"]["object"].row_lengths().numpy().astype(float)
    q = inputs["candidates"]["item"].row_lengths().numpy()
    self_pairs, pairs = t * t, q * t
    if causal:  # Those that see each other, one by one.
        times = inputs["history"]["item"]["time"].to_list()
        asked = inputs["query_time"]["item"].to_list()
        self_pairs = np.array([sum(s < u for u in row for s in row) for row in times])
        pairs = np.array(
            [sum(s < u for u in now for s in row) for now, row in zip(asked, times, strict=True)]
        )
    products = {  # Multiplications and additions, by hand.
        "embed": (t + q) * (12 * 8 + 8 * 16),
        "query, key, value": (t + q) * 16 * 16 + 2 * t * 2 * 16 * 16,
        "attention": (self_pairs + pairs) * 2 * 16,
        "feed-forward": (t + q) * 2 * 16 * 4,
    }
    expected = 3 * 2 * sum(p.sum() for p in products.values())
    assert step_flops(model, inputs) == pytest.approx(expected)


def test_report(tmp_path: Path) -> None:
    def form(name: str, seed: int, *curve: tuple[float, float]) -> dict[str, Any]:
        return {
            "form": name,
            "max_history": 100,
            "seed": seed,
            "targets_per_second": 1000.0 if name == "naive" else 9000.0,
            "useful_token_share": 0.5,
            "flops": 2e9,
            "matmul_peak_flops": {"2048": 8e9},
            "seconds_to_first_step": 3.0,
            "scoring_seconds": 2.0,
            "peak_memory_bytes": 2**30,
            "curve": [{"seconds": s, "validation_auc": a, "test_auc": a - 0.01} for s, a in curve],
        }

    step = {"vary": "groups", "value": 1, "tables": "adam", "median_seconds": 0.01}
    step |= {"low_seconds": 0.009, "high_seconds": 0.02, "peak_memory_bytes": 2**30}
    rival = {"name": "DIN", "targets_per_second": 300.0, "peak_rss_bytes": 2**30}
    rival["curve"] = form("x", 1, (100, 0.85))["curve"]
    results = {
        "forms": [
            form("causal", 1, (2, 0.7), (5, 0.86), (9, 0.9)),
            form("causal", 2, (2, 0.85), (5, 0.8), (9, 0.8)),
            form("paper", 1, (2, 0.75), (5, 0.8), (9, 0.82)),
            form("naive", 1, (50, 0.7), (100, 0.85)),
        ],
        "profile": {
            "sizes": [{"max_tokens": 3072, "targets": 800.0, "seconds": 0.03}],
            "fixed_seconds": 0.01,
            "seconds_a_target": 25e-6,
            "parts": [
                {"name": "attention", "milliseconds": 7.0},
                {"name": "optimizer", "milliseconds": 3.0},
            ],
            "kinds": [
                {"name": "MatMul", "milliseconds": 7.0},
                {"name": "Mul", "milliseconds": 3.0},
            ],
        },
        "steps": [step, {**step, "value": 2, "median_seconds": 0.015}],
        "pipeline": [{"training": "paper", "pipeline": 5e4, "trained": 2e3, "ratio": 25.0}],
        "rivals": [rival],
    }
    text = report.text(json.loads(json.dumps(results)))
    head = "| causal | 100 | 1 | 9,000 | 9.0 | 50% | 2 of 8 (25%) | 3.0 s |"
    assert f"{head} 2.0 s | 0.9000 / 0.8900, 9 s |" in text
    assert "| 100 | 0.8500, 100 s, still rising | causal, 100 | 1 | 4.7 s | 21.1 |" in text
    assert "| 100 | 0.8500, 100 s, still rising | causal, 100 | 2 | 2.0 s | 49.8 |" in text
    assert "| 100 | 0.8500, 100 s, still rising | paper, 100 | 1 | not reached | - |" in text
    assert "| 3,072 | 800 | 30.0 ms | 33% |" in text
    assert "A step takes 10.0 ms, whatever its size, and 25 microseconds a target." in text
    assert "| optimizer | 3.00 ms | 30% |" in text
    assert "| MatMul | 7.00 ms | 70% |" in text
    assert "| groups | 2 | adam | 15.0 ms (9.0 to 20.0) | 1.50 | 1.00 GiB |" in text
    assert "| paper | 50,000 | 2,000 | 25.0 |" in text
    figures = report.draw(results, tmp_path)
    assert [path.name for path in figures] == ["time_to_auc.svg", "step_time.svg"]
    assert all("<svg" in path.read_text() for path in figures)
    assert "| DIN | 300 | 0.8500 / 0.8400, 100 s | 30.0 | 29.8 | 1.00 GiB |" in text


def test_a_profile_is_summed_by_part_and_by_kind() -> None:
    def operation(name: str, microseconds: float) -> dict[str, Any]:
        kind = name.rsplit("/", 1)[-1]
        full = f"StatefulPartitionedCall/{name}"
        return {"operation": full, "type": kind, "total_self_time": microseconds}

    operations = [
        operation("UnsortedSegmentSum", 4000.0),  # The sum of repeated rows.
        operation("row_sparse/Mul", 2000.0),
        operation("gradient_tape/at_rank_1/self_attention_0_1/attention_1/MatMul", 9000.0),
        operation("at_rank_1/self_attention_0_1/attention_norm_1/Mul", 1000.0),
        operation("at_rank_1/movie_behaviors_1/movie_objects_1/UnsortedSegmentSum", 500.0),
    ]
    assert profile_step.by(operations, 4, profile_step.part) == [
        {"name": "self-attention", "milliseconds": 2.25},
        {"name": "optimizer", "milliseconds": 1.5},
        {"name": "layer normalizations", "milliseconds": 0.25},
        {"name": "behaviors and candidates", "milliseconds": 0.125},
    ]
    kinds = profile_step.by(operations, 4, lambda o: o["type"])
    assert [kind["name"] for kind in kinds] == ["MatMul", "UnsortedSegmentSum", "Mul"]


def test_an_environment_is_made_once_and_again_when_it_changes(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements-nothing.txt"
    requirements.write_text("# Nothing.\n")
    python = environments.python_of(requirements, tmp_path / "envs")
    environments.call([str(python), "-c", "import sys; assert sys.prefix != sys.base_prefix"], "it")
    mine = tmp_path / "envs/nothing/mine"
    mine.touch()
    assert environments.python_of(requirements, tmp_path / "envs") == python
    assert mine.exists()
    requirements.write_text("# Still nothing.\n./is-not-there.whl\n")
    with pytest.raises(UserError, match=r"environment nothing failed \(1\): .*is-not-there"):
        environments.python_of(requirements, tmp_path / "envs")
    assert not mine.exists()


def test_rivals_are_scored_in_between_and_leave_whole_files(
    data: TimelineData, tmp_path: Path
) -> None:
    Protocol(data, max_history=5).write(tmp_path / "protocol.npz")
    arguments = [f"--protocol={tmp_path / 'protocol.npz'}", f"--output_dir={tmp_path / 'out'}"]
    options = harness.arguments("").parse_args([*arguments, "--epochs=2", "--seconds=1000"])
    protocol = harness.Protocol(options.protocol, max_history=5)
    recorder = harness.Recorder(
        options, protocol, 10, lambda split: np.zeros(len(protocol.candidates(split)[0]))
    )
    assert [recorder.trained(10) for _ in range(3)] == [False, False, True]  # One to warm up.
    recorder.write("mine", ("numpy",), {"batch_size": 3})
    result = json.loads((tmp_path / "out/result.json").read_text())
    assert [point["targets"] for point in result["curve"]] == [20]
    assert result["settings"]["batch_size"] == 3
    assert set(np.load(tmp_path / "out/scores.npz")) == {"validation_1", "test_1"}

    users = np.repeat(protocol.users[:1], 500)
    negatives = protocol.negatives(users, np.random.default_rng(0))
    mine = protocol.items[protocol.users == users[0]]
    assert set(negatives.tolist()) == set(range(1, protocol.num_trained + 1)) - set(mine.tolist())
