"""The report: its numbers are those of the trials."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from atrank_tf.evaluate import ranking_metrics
from atrank_tf.experiment import report as experiment_report
from atrank_tf.experiment import runner as experiments
from atrank_tf.experiment.page import write_page
from atrank_tf.run_directory import RunDirectory
from tests.atrank_tf.experiment.small_suite import BUDGET, ENTRIES


@pytest.mark.slow
def test_report(
    results: tuple[experiments.Results, Path], data_dir: Path, lengths: dict[int, int]
) -> None:
    trials_by_label, output = results
    parts = experiment_report.suite_sections("small", trials_by_label, lengths, BUDGET, output)
    parts += experiment_report.attention_sections(trials_by_label, str(data_dir), output)
    paths = write_page(parts, output)
    assert all(path.stat().st_size for path in paths)
    page = paths[0].read_text()
    assert page.count("data:image/svg+xml;base64,") == sum(bool(p.figure) for p in parts) >= 6
    assert 'src="http' not in page
    curves = (output / "curves.svg").read_text()  # Of item, and of popularity's item and query.
    assert 'id="axes_2"' in curves
    assert 'id="axes_3"' not in curves
    table = pd.read_csv(output / "item-metrics.csv").set_index("model")
    assert list(table.index) == [entry.label for entry in ENTRIES]
    auc = experiments.averaged(trials_by_label["popularity"][1], "item").means["auc"]
    assert table["auc"]["popularity"].startswith(f"{np.nanmean(auc):.4f} (")
    assert "+-" not in table["auc"]["popularity"]
    gaps = pd.read_csv(output / "item-paired-differences.csv").set_index("against")
    assert gaps["model"].tolist() == ["atrank small"] * 2
    gap = ranking_metrics.difference(
        experiments.averaged(trials_by_label["atrank small"][1], "item"),
        experiments.averaged(trials_by_label["popularity"][1], "item"),
    )
    assert gap is not None
    assert gaps["AUC difference"]["popularity"].startswith(f"{gap['value']:+.4f} (")
    assert "bpr one2one item" not in (output / "query-metrics.csv").read_text()
    costs = pd.read_csv(output / "auc-against-training-time.csv").set_index("model")
    assert costs["learning rate"].tolist() == ["0.004", "0.004", "-"]
    assert costs["behaviors read"].tolist() == ["100", "-", "-"]
    best = [
        json.loads((output / f"runs/atrank-small/{seed}/state.json").read_text())["best_auc"]
        for seed in (1, 2)
    ]
    assert costs["validation AUC"]["atrank small"] == pytest.approx(np.mean(best), abs=1e-4)
    weights = (
        RunDirectory(trials_by_label["atrank small"][1][0].directory).load_best().trainable_weights
    )
    assert costs["parameters"]["atrank small"] == f"{sum(map(np.size, weights)):,}"
    leads = pd.read_csv(output / "item-the-lead-by-density-of-history.csv").set_index("against")
    users, other_users = (
        experiments.averaged(trials_by_label[label][1], "item")
        for label in ("atrank small", "popularity")
    )
    for name, lead in leads.loc["popularity"].drop("model").items():
        low, high = map(int, str(name).split(" to "))
        part = [low <= lengths[user] <= high for user in users.user.tolist()]
        gap = np.nanmean(users.means["auc"][part] - other_users.means["auc"][part])
        assert str(lead).startswith(f"{gap:+.4f} (")
