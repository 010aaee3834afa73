"""Evaluation of runs: one report, the same candidates for all models."""

import json
from pathlib import Path

import pandas as pd
import pytest

from atrank_tf.evaluate.evaluation import evaluate
from atrank_tf.evaluate.report import (
    format_calibration,
    format_differences,
    format_protocol,
    format_slices,
    format_table,
)
from atrank_tf.train.loop import train
from atrank_tf.train.settings import Settings
from data_pipeline.core import json_files
from data_pipeline.core.errors import UserError
from data_pipeline.dataset import TimelineData
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Group, Schema, Split


def test_report(data_dir: Path, runs: Path) -> None:
    report = evaluate(str(data_dir), str(runs / "bpr"), [str(runs / "popularity")])
    assert json.loads((runs / "bpr/metrics.json").read_text()) == report
    data = TimelineData(data_dir)
    assert report["data"]["fingerprint"] == data.manifest.fingerprint
    assert report["seed"] == 1
    assert report["settings"]["model"] == "bpr"
    assert report["training"]["targets_per_second"] > 0
    assert report["training"]["seconds"] > 0
    assert report["protocol"] == {
        "split": "test",
        "negatives": 99,
        "sampling": "uniform",
        "max_queries": 0,
        "kind": {"item": "untaken", "query": "untaken"},
    }
    for result in (report, *report["baselines"].values()):
        for target in ("item", "query"):
            summary = result["targets"][target]
            for name in ("auc", "gauc", "hr@10", "ndcg@10", "mrr"):
                assert summary[name]["low"] <= summary[name]["value"] <= summary[name]["high"]
    baseline = report["baselines"][str(runs / "popularity")]
    for target, differences in baseline["differences"].items():
        assert set(differences) == {"auc", "gauc", "hr@10", "ndcg@10", "mrr"}
        for name, difference in differences.items():
            value, other = (r["targets"][target][name]["value"] for r in (report, baseline))
            assert difference["value"] == pytest.approx(value - other)
            assert difference["low"] <= difference["value"] <= difference["high"]
    table = format_table(report).splitlines()
    assert table[2].startswith("| item | bpr | 0.")
    assert table[3].startswith("| item | popularity | 0.")
    assert table[4].startswith("| item: repeat | bpr | 0.")
    assert table[6].startswith("| item: new | bpr | 0.")
    kinds = report["targets"]["item"]["kinds"]
    positives = [kinds[kind]["positives"] for kind in ("repeat", "new")]
    assert sum(positives) == report["targets"]["item"]["positives"]
    assert min(positives) > 0
    lines = format_differences(report).splitlines()
    gap = baseline["differences"]["item"]["auc"]["value"]
    assert lines[0].startswith(f"item: bpr less popularity, paired by user: AUC {gap:+.4f} (")
    assert len(lines) == 2
    calibration = report["calibration"]["item"]
    assert 0 < calibration["log_loss"] < 1
    assert 0 <= calibration["ece"] < 0.2
    assert "calibration" not in baseline  # Popularity learns no probabilities.
    lines = format_calibration(report).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(
        f"item: calibration of bpr: log-loss {calibration['log_loss']:.4f} (base "
    )


def test_some_query_times_of_each_user_are_told(data_dir: Path, runs: Path) -> None:
    popularity = str(runs / "popularity")
    every = evaluate(str(data_dir), popularity, split="validation")
    some = evaluate(str(data_dir), popularity, split="validation", max_queries=1)
    assert some["targets"] == every["targets"]  # Of leave-last-out, which has one of each.
    assert (runs / "popularity/metrics.validation.1-queries.json").exists()
    caption = format_protocol(some["protocol"])
    assert caption.startswith("validation targets of 1 query time of each user; means over users")


def test_the_whole_catalogue_is_what_many_draws_come_to(data_dir: Path, runs: Path) -> None:
    popularity = str(runs / "popularity")
    protocols = {
        name: evaluate(str(data_dir), popularity, num_negatives=number, sampling=sampling)
        for name, number, sampling in (
            ("all", "all", "uniform"),
            ("many", 10_000, "uniform"),  # More than there are: all of them, once.
            ("popular", 2000, "popularity"),
        )
    }
    values = {name: report["targets"]["item"]["auc"]["value"] for name, report in protocols.items()}
    assert values["all"] == pytest.approx(values["many"], abs=1e-12)
    assert values["popular"] < values["all"] - 0.05  # Popular negatives are as good as targets.
    assert protocols["all"]["protocol"]["sampling"] == "all"
    assert "calibration" not in protocols["all"]
    for name in ("metrics.all.json", "metrics.popularity.2000.json", "metrics.10000.json"):
        assert (runs / "popularity" / name).exists()
    captions = [format_protocol(report["protocol"]) for report in protocols.values()]
    untaken = "objects that the user did not take at that time"
    assert [caption.splitlines()[1] for caption in captions] == [
        f"item: all {untaken}",
        f"item: 10000 negatives drawn uniformly from {untaken}",
        f"item: 2000 negatives drawn by their number of training events from {untaken}",
    ]


def test_models_that_read_less_are_divided_alike(
    data_dir: Path, runs: Path, tmp_path: Path
) -> None:
    short = str(tmp_path / "short")
    train(str(data_dir), short, Settings(model="popularity", max_history=1))
    report = evaluate(
        str(data_dir), str(runs / "popularity"), [short], num_negatives=9, slice_names=["history"]
    )
    own, other = (r["targets"]["item"] for r in (report, report["baselines"][short]))
    for table in ("kinds", "slices"):
        assert own[table] == other[table]
    assert own["auc"] == other["auc"]
    assert (runs / "popularity/metrics.9.json").exists()


def test_slices_divide_the_targets(data_dir: Path, runs: Path) -> None:
    names = ["action", "history", "hour", "category", "tag"]
    report = evaluate(str(data_dir), str(runs / "popularity"), slice_names=names)
    item = report["targets"]["item"]
    assert list(item["slices"]) == names
    for name in ("action", "history", "hour", "category"):  # A target has several tags, or none.
        positives = [part["positives"] for part in item["slices"][name].values()]
        assert sum(positives) == item["positives"]
        assert len(positives) > 1 or name == "history"
    assert set(item["slices"]["action"]) == {"buy", "view"}
    assert set(item["slices"]["category"]) == {f"c{i}" for i in range(5)}
    assert {"t1", "(none)"} <= set(item["slices"]["tag"])
    assert report["targets"]["query"]["slices"]["tag"] == {}
    table = format_slices(report, "action").splitlines()
    assert table[0].startswith("| item by action | model | AUC")
    assert table[2].startswith("| buy | popularity | 0.")
    assert report["cautions"][0].startswith("item: ")
    assert "lie before the last training target" in report["cautions"][0]


def test_runs_of_one_model_are_told_apart(data_dir: Path, runs: Path, tmp_path: Path) -> None:
    second = str(tmp_path / "other")
    train(str(data_dir), second, Settings(model="popularity"))
    first, bpr = str(runs / "popularity"), str(runs / "bpr")
    report = evaluate(str(data_dir), first, [second, bpr])
    names = [line.split(" | ")[1] for line in format_table(report).splitlines()[2:5]]
    assert names == [f"popularity ({first})", f"popularity ({second})", "bpr"]
    line = format_differences(report).splitlines()[0]
    assert line.startswith(f"item: popularity ({first}) less popularity ({second}), paired by ")


def test_mistakes(data_dir: Path, runs: Path, tmp_path: Path) -> None:
    data, popularity = str(data_dir), str(runs / "popularity")
    with pytest.raises(UserError, match="holds no trained model"):
        evaluate(data, str(tmp_path))
    metrics = runs / "popularity/metrics.json"
    metrics.unlink(missing_ok=True)
    with pytest.raises(UserError, match="holds no trained model"):
        evaluate(data, popularity, [str(tmp_path)])
    assert not metrics.exists()  # The mistake is found before anything is measured.
    with pytest.raises(UserError, match="is named twice"):
        evaluate(data, popularity, [popularity])
    with pytest.raises(UserError, match="negatives is 0: expected 1 or more, or all"):
        evaluate(data, popularity, num_negatives=0)
    with pytest.raises(UserError, match="sampling is 'popularity': with all negatives nothing is"):
        evaluate(data, popularity, num_negatives="all", sampling="popularity")
    with pytest.raises(UserError, match="slices: 'brand': expected one of action, history, hour,"):
        evaluate(data, popularity, slice_names=["brand"])
    events = pd.DataFrame({"user": [1, 1], "object": [1, 2], "time": [1, 2]})
    events.to_csv(tmp_path / "e.csv", index=False)
    late = Schema((Group("item"),), ("item",), split=Split("time", 8, 9))
    prepare(late, tmp_path / "late", [str(tmp_path / "e.csv")])
    with pytest.raises(UserError, match="there is no test target; see the schema's split"):
        evaluate(str(tmp_path / "late"), popularity)
    settings = json.loads((runs / "popularity/settings.json").read_text())
    del settings["checksum"]
    other = json_files.sealed({**settings, "data_fingerprint": "other"})
    json_files.write(tmp_path / "settings.json", other)
    with pytest.raises(UserError, match="was trained on data with fingerprint other, not on this"):
        evaluate(data, str(tmp_path))
