"""Evaluation of runs: one report, the same candidates for all models."""

import json
from pathlib import Path

import pandas as pd
import pytest

from atrank_tf.evaluate.evaluation import evaluate
from atrank_tf.evaluate.report import format_calibration, format_differences, format_table
from atrank_tf.train.loop import train
from atrank_tf.train.settings import Settings
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
    assert report["split"] == "test"
    for result in (report, *report["baselines"].values()):
        for target in ("item", "query"):
            summary = result["targets"][target]
            for name in ("auc", "gauc", "hr@10", "ndcg@10", "mrr"):
                assert summary[name]["low"] <= summary[name]["value"] <= summary[name]["high"]
    baseline = report["baselines"][str(runs / "popularity")]
    for target, difference in baseline["auc_difference"].items():
        auc, baseline_auc = (r["targets"][target]["auc"]["value"] for r in (report, baseline))
        assert difference["value"] == pytest.approx(auc - baseline_auc)
    table = format_table(report).splitlines()
    assert len(table) == 2 + 2 * 2
    assert table[2].startswith("| item | bpr | 0.")
    assert table[3].startswith("| item | popularity | 0.")
    lines = format_differences(report).splitlines()
    gap = baseline["auc_difference"]["item"]["value"]
    assert lines[0].startswith(
        f"item: AUC of bpr less that of popularity, paired by user: {gap:+.4f} ("
    )
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


def test_runs_of_one_model_are_told_apart(data_dir: Path, runs: Path, tmp_path: Path) -> None:
    second = str(tmp_path / "other")
    train(str(data_dir), second, Settings(model="popularity"))
    first, bpr = str(runs / "popularity"), str(runs / "bpr")
    report = evaluate(str(data_dir), first, [second, bpr])
    names = [line.split(" | ")[1] for line in format_table(report).splitlines()[2:5]]
    assert names == [f"popularity ({first})", f"popularity ({second})", "bpr"]
    line = format_differences(report).splitlines()[0]
    assert line.startswith(
        f"item: AUC of popularity ({first}) less that of popularity ({second}), "
    )


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
    with pytest.raises(UserError, match="negatives is 0: expected 1 or more"):
        evaluate(data, popularity, num_negatives=0)
    events = pd.DataFrame({"user": [1, 1], "object": [1, 2], "time": [1, 2]})
    events.to_csv(tmp_path / "e.csv", index=False)
    late = Schema((Group("item"),), ("item",), split=Split("time", 8, 9))
    prepare(late, tmp_path / "late", [str(tmp_path / "e.csv")])
    with pytest.raises(UserError, match="there is no test target; see the schema's split"):
        evaluate(str(tmp_path / "late"), popularity)
    settings = json.loads((runs / "popularity/settings.json").read_text())
    (tmp_path / "settings.json").write_text(json.dumps({**settings, "data_fingerprint": "other"}))
    with pytest.raises(UserError, match="was trained on data with fingerprint other, not on this"):
        evaluate(data, str(tmp_path))
