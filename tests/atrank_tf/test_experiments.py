"""Experiments: what a suite trains, that it goes on where it was, and what its report says."""

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atrank_tf.evaluate import ranking_metrics
from atrank_tf.evaluate.evaluation import evaluate
from atrank_tf.evaluate.ranking_metrics import PerUser
from atrank_tf.experiment import report as experiment_report
from atrank_tf.experiment import runner as experiments
from atrank_tf.experiment.runner import METRICS, Trial
from atrank_tf.experiment.suites import SUITES, Budget, Entry
from atrank_tf.models.registry import model_names
from atrank_tf.run_directory import RunDirectory
from atrank_tf.train import loop as training
from atrank_tf.train.settings import Settings
from data_pipeline.core.errors import DivergedError, UserError
from data_pipeline.dataset import TimelineData
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Group, Schema
from data_pipeline.version import __version__
from tests.conftest import REPOSITORY, make_logs

SMALL = {"width": 8, "num_spaces": 2, "embedding_width": 8, "feature_width": 4}
BUDGET = Budget(seeds=2, seconds=0.3, learning_rates=[0.004], negatives=20)
ENTRIES = [
    Entry(
        "atrank small",
        Settings(model_settings=SMALL, groups=["item"], targets=["item"]),
        is_reference=True,
    ),
    Entry("bpr one2one item", Settings(model="bpr", groups=["item"], targets=["item"])),
    Entry("popularity", Settings(model="popularity")),
]


@pytest.mark.parametrize("suite", list(SUITES))
def test_the_entries_of_a_suite(suite: str, data: TimelineData) -> None:
    entries = SUITES[suite](data.schema)
    assert len({entry.label for entry in entries}) == len(entries)
    for entry in entries:
        settings = entry.settings.completed()
        data.schema.select(settings.groups, settings.targets)
    assert entries[0].settings.model == "atrank"
    models = {entry.settings.model for entry in entries}
    if suite == "single":
        assert models == set(model_names())
    if suite in ("multi", "density"):
        assert models >= {"atrank", "bpr", "bilstm", "bilstm_attention", "cnn"}


def trained(output: Path) -> dict[Path, int]:
    """When each checkpoint was written, of models that are trained at all."""
    paths = [path for path in output.rglob("*.keras") if "popularity" not in str(path)]
    return {path: path.stat().st_mtime_ns for path in paths}


@pytest.fixture(scope="module")
def results(
    data_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[experiments.Results, Path]:
    output = tmp_path_factory.mktemp("suite")

    def interrupted(data_dir: str, model_dir: str, settings: Settings) -> dict[str, Any]:
        if settings.model == "bpr":
            raise KeyboardInterrupt
        return training.train(data_dir, model_dir, settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SUITES, "small", lambda _: ENTRIES)
        patch.setattr(experiments, "train", interrupted)
        with pytest.raises(KeyboardInterrupt):
            experiments.run("small", str(data_dir), str(output), BUDGET)
        before = trained(output)
        patch.setattr(experiments, "train", training.train)
        first = experiments.run("small", str(data_dir), str(output), BUDGET)
        states = trained(output)
        again = experiments.run("small", str(data_dir), str(output), BUDGET)
    assert before
    assert before.items() < states.items()
    assert trained(output) == states
    for label, (entry, trials) in first.items():
        assert again[label][0] == entry
        for one, other in zip(trials, again[label][1], strict=True):
            assert one.curve == [tuple(point) for point in other.curve]
            for target, users in one.users.items():
                np.testing.assert_array_equal(users.means["auc"], other.users[target].means["auc"])
    return again, output


def test_trials(results: tuple[experiments.Results, Path], data_dir: Path) -> None:
    found, output = results
    assert [len(trials) for _, trials in found.values()] == [2, 2, 1]
    for _, trials in found.values():
        assert {trial.directory.parent.parent for trial in trials} == {output / "runs"}
    _, (trial, other) = found["bpr one2one item"]
    assert [RunDirectory(t.directory).settings()["seed"] for t in (trial, other)] == [1, 2]
    report = evaluate(str(data_dir), str(trial.directory), num_negatives=BUDGET.negatives)
    expected = report["targets"]["item"]["auc"]["value"]
    assert np.nanmean(trial.users["item"].means["auc"]) == pytest.approx(expected)


def test_the_learning_rate_that_validates_best_is_taken(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class EnoughError(Exception):
        pass

    def train(data_dir: str, model_dir: str, settings: Settings) -> dict[str, float | None]:
        asked.append((settings.learning_rate, settings.max_seconds))
        if settings.max_seconds == 9.0:
            raise EnoughError
        if settings.learning_rate == 0.4:
            raise DivergedError
        return {"best_auc": {0.1: 0.6, 0.2: 0.8, 0.3: None}[settings.learning_rate]}

    monkeypatch.setattr(experiments, "train", train)
    monkeypatch.setitem(SUITES, "small", lambda _: ENTRIES)
    with pytest.raises(EnoughError):
        experiments.run(
            "small",
            str(data_dir),
            str(tmp_path),
            Budget(seeds=1, seconds=9.0, learning_rates=[0.1, 0.2, 0.3, 0.4]),
        )
    assert asked == [(0.1, 4.5), (0.2, 4.5), (0.3, 4.5), (0.4, 4.5), (0.2, 9.0)]


def test_what_diverges_is_left_out_and_told(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: TimelineData
) -> None:
    def train(data_dir: str, model_dir: str, settings: Settings) -> dict[str, float | None]:
        if settings.model != "popularity":
            raise DivergedError("the loss is nan")
        return training.train(data_dir, model_dir, settings)

    monkeypatch.setattr(experiments, "train", train)
    monkeypatch.setitem(SUITES, "small", lambda _: ENTRIES)
    found = experiments.run("small", str(data_dir), str(tmp_path), BUDGET)
    assert [len(trials) for _, trials in found.values()] == [0, 0, 1]
    # What diverged is not trained again, by whatever would train it query_time.
    monkeypatch.setattr(experiments, "train", training.train)
    found = experiments.run("small", str(data_dir), str(tmp_path), BUDGET)
    assert [len(trials) for _, trials in found.values()] == [0, 0, 1]
    lengths = experiments.history_lengths(data, 1000)
    told, *parts = experiment_report.sections("small", found, lengths, BUDGET, tmp_path)
    assert told.text.endswith("Diverged, and left out: atrank small, bpr one2one item.")
    tables = [part.table for part in parts if part.title == "item: metrics"]
    assert tables[0] is not None
    assert tables[0]["model"].tolist() == ["popularity"]
    monkeypatch.setitem(SUITES, "small", lambda _: ENTRIES[:2])
    with pytest.raises(UserError, match="suite small: every entry diverged"):
        experiments.run("small", str(data_dir), str(tmp_path), BUDGET)


def test_a_bad_budget_is_refused() -> None:
    for rate in (-0.001, float("nan")):
        with pytest.raises(UserError, match=r"learning_rates\.1 is .*: expected a number above 0"):
            BUDGET.replace(learning_rates=[0.1, rate])
    with pytest.raises(UserError, match="seconds is nan: expected a number above 0"):
        BUDGET.replace(seconds=float("nan"))
    with pytest.raises(UserError, match="negatives is 0: expected 1 or more"):
        BUDGET.replace(negatives=0)


def test_every_reference_is_compared_with_those_below_it(data: TimelineData) -> None:
    entries = SUITES["multi"](data.schema)
    assert [entry.label for entry in entries if entry.is_reference] == [
        "atrank all2all",
        "atrank all2one item",
        "atrank one2one item",
        "atrank all2one query",
        "atrank one2one query",
    ]
    for suite in ("single", "density", "ablation"):
        assert [e.is_reference for e in SUITES[suite](data.schema)].index(True) == 0
        assert sum(e.is_reference for e in SUITES[suite](data.schema)) == 1


def test_a_directory_holds_one_suite(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class BegunError(Exception):
        pass

    def train(data_dir: str, model_dir: str, settings: Settings) -> None:
        raise BegunError

    monkeypatch.setattr(experiments, "train", train)
    monkeypatch.setitem(SUITES, "small", lambda _: ENTRIES)
    for seeds in (1, 2):  # More seeds may be asked of it later.
        with pytest.raises(BegunError):
            experiments.run("small", str(data_dir), str(tmp_path), BUDGET.replace(seeds=seeds))
    longer = BUDGET.replace(seconds=5.0)
    with pytest.raises(
        UserError, match=r"holds a suite with seconds=0\.3, not 5\.0; choose another"
    ):
        experiments.run("small", str(data_dir), str(tmp_path), longer)
    with pytest.raises(UserError, match=r"holds a suite with targets=\[\], not \['query'\]"):
        experiments.run("small", str(data_dir), str(tmp_path), BUDGET, ["query"])
    manifest = (data_dir / "manifest.json").read_text()
    shutil.copytree(data_dir, tmp_path / "data")
    (tmp_path / "data/manifest.json").write_text(
        manifest.replace(TimelineData(data_dir).manifest.fingerprint, "other")
    )
    with pytest.raises(UserError, match=r"data_fingerprint='.*', not 'other'; choose another"):
        experiments.run("small", str(tmp_path / "data"), str(tmp_path), BUDGET)


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ("0.001,0.01", "negatives=2, not 3"),
        ("", "learning_rates=[0.001, 0.01], not []"),
    ],
)
def test_flags_make_the_budget(
    command: Callable[..., subprocess.CompletedProcess[str]],
    data_dir: Path,
    tmp_path: Path,
    rates: str,
    expected: str,
) -> None:
    held = {
        "version": __version__,
        "suite": "density",
        "seeds": 5,
        "seconds": 7.0,
        "learning_rates": [0.001, 0.01],
        "negatives": 2,
        "targets": ["query"],
        "data_fingerprint": TimelineData(data_dir).manifest.fingerprint,
    }
    (tmp_path / "suite.json").write_text(json.dumps(held))
    done = command(
        "atrank_tf.experiment",
        *(f"--data_dir={data_dir}", f"--output_dir={tmp_path}", "--suite=density"),
        *("--seconds=7", f"--learning_rates={rates}", "--negatives=3", "--targets=query"),
    )
    assert done.returncode == 1
    assert f"holds a suite with {expected}; choose another" in done.stderr
    assert json.loads((tmp_path / "suite.json").read_text()) == held


def test_a_suite_of_another_version_is_refused(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "suite.json").write_text('{"suite": "single", "tuning_seconds": 60.0}')
    with pytest.raises(UserError, match=r"a version before 0\.2\.0, .*: choose another"):
        experiments.run("single", str(data_dir), str(tmp_path), BUDGET)


def test_a_suite_of_some_targets(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Settings] = []

    def diverge(data_dir: str, model_dir: str, settings: Settings) -> None:
        asked.append(settings)
        raise DivergedError("the loss is not finite")

    monkeypatch.setattr(experiments, "train", diverge)
    with pytest.raises(UserError, match="every entry diverged"):
        experiments.run("multi", str(data_dir), str(tmp_path / "1"), BUDGET, ["query"])
    assert len(asked) == 6
    assert all(settings.targets == ["query"] for settings in asked)
    with pytest.raises(UserError, match="other"):
        experiments.run("multi", str(data_dir), str(tmp_path / "2"), BUDGET, ["other"])
    assert not (tmp_path / "2").exists()


def test_report(results: tuple[experiments.Results, Path], data: TimelineData) -> None:
    found, output = results
    lengths = experiments.history_lengths(data, 1000)
    parts = experiment_report.sections("small", found, lengths, BUDGET, output)
    parts += experiment_report.attention(found, str(data.directory), output)
    paths = experiment_report.write(parts, output)
    assert all(path.stat().st_size for path in paths)
    page = paths[0].read_text()
    assert page.count("data:image/svg+xml;base64,") == sum(bool(p.figure) for p in parts) >= 6
    assert 'src="http' not in page
    curves = (output / "curves.svg").read_text()  # Of item, and of popularity's item and query.
    assert 'id="axes_2"' in curves
    assert 'id="axes_3"' not in curves
    table = pd.read_csv(output / "item-metrics.csv").set_index("model")
    assert list(table.index) == [entry.label for entry in ENTRIES]
    auc = experiments.averaged(found["popularity"][1], "item").means["auc"]
    assert table["auc"]["popularity"].startswith(f"{np.nanmean(auc):.4f} (")
    assert "+-" not in table["auc"]["popularity"]
    gaps = pd.read_csv(output / "item-paired-differences.csv").set_index("against")
    assert gaps["model"].tolist() == ["atrank small"] * 2
    gap = ranking_metrics.difference(
        experiments.averaged(found["atrank small"][1], "item"),
        experiments.averaged(found["popularity"][1], "item"),
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
    weights = RunDirectory(found["atrank small"][1][0].directory).load_best().trainable_weights
    assert costs["parameters"]["atrank small"] == f"{sum(map(np.size, weights)):,}"
    leads = pd.read_csv(output / "item-the-lead-by-density-of-history.csv").set_index("against")
    mine, others = (
        experiments.averaged(found[label][1], "item") for label in ("atrank small", "popularity")
    )
    for name, lead in leads.loc["popularity"].drop("model").items():
        low, high = map(int, str(name).split(" to "))
        part = [low <= lengths[user] <= high for user in mine.user.tolist()]
        gap = np.nanmean(mine.means["auc"][part] - others.means["auc"][part])
        assert str(lead).startswith(f"{gap:+.4f} (")


def test_command_line(results: tuple[experiments.Results, Path], data_dir: Path) -> None:
    _, output = results
    (output / "report.md").unlink(missing_ok=True)
    small = (
        "from tests.atrank_tf.test_experiments import *; SUITES['small'] = lambda _: ENTRIES;"
        "from atrank_tf.experiment.__main__ import main; main()"
    )
    budget = {"seeds": 2, "seconds": 0.3, "learning_rates": 0.004, "negatives": 20}
    flags = {"suite": "small", "data_dir": data_dir, "output_dir": output, **budget}
    done = subprocess.run(
        [sys.executable, "-c", small, *(f"--{name}={value}" for name, value in flags.items())],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = (output / "report.md").read_text()
    assert report in done.stdout
    assert f"wrote {output}/report.html, {output}/report.md, " in done.stdout
    assert f"next: open {output}/report.html in a browser" in done.stdout
    assert "## atrank small: vanilla attention" in report


def test_entries_without_targets_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = pd.DataFrame({"user": [1, 2], "object": [1, 2], "time": [1, 2]})
    events.to_csv(tmp_path / "e.csv", index=False)
    prepare(Schema((Group("item"),), ("item",)), tmp_path / "data", [str(tmp_path / "e.csv")])
    monkeypatch.setitem(SUITES, "small", lambda _: [ENTRIES[2]])
    with pytest.raises(UserError, match="no targets lie in both training and test"):
        experiments.run("small", str(tmp_path / "data"), str(tmp_path / "out"), BUDGET)


def test_seeds_are_averaged_user_by_user() -> None:
    users = np.array([3, 5])
    trials = [
        Trial(
            Path(),
            {"item": PerUser(users, np.array([1, 2]), dict.fromkeys(METRICS, np.array(values)))},
            None,
            [],
            {},
        )
        for values in ([0.2, 0.4], [0.6, 1.0])
    ]
    found = experiments.averaged(trials, "item")
    np.testing.assert_allclose(found.means["auc"], [0.4, 0.7])
    table = experiment_report.metrics({"a": trials, "b": trials[:1]}, "item").set_index("model")
    assert table["auc"]["a"].endswith(") +- 0.3536")
    assert table["gauc"]["a"].endswith(") +- 0.3771")
    assert table["auc"]["b"].endswith(")")
    other = dataclasses.replace(
        trials[1], users={"item": dataclasses.replace(trials[1].users["item"], user=users + 1)}
    )
    with pytest.raises(UserError, match="item: the trials measured different users"):
        experiments.averaged([trials[0], other], "item")


def test_history_lengths_are_those_of_the_logs(data: TimelineData, tmp_path: Path) -> None:
    make_logs(tmp_path)
    events = pd.read_parquet(tmp_path / "events.parquet")
    users = pd.read_parquet(data.directory / "users.parquet")["user"]
    lengths = experiments.history_lengths(data, 1000)
    assert len(lengths) > 10
    for row, length in lengths.items():  # By default a user's last moment is the test's.
        times = events.loc[events["user"] == users[row - 1], "time"]
        assert length == (times < times.max()).sum()


@given(counts=st.lists(st.integers(0, 6), min_size=1, max_size=12))
def test_density_parts_are_never_empty(counts: list[int]) -> None:
    users = np.arange(len(counts))
    parts = experiment_report.density_parts(users, dict(enumerate(counts)))
    assert all(part.any() for part in parts.values())
    assert sum(part.astype(int) for part in parts.values()).tolist() == [1] * len(counts)


def test_density_parts_hold_every_user_once(data: TimelineData) -> None:
    lengths = experiments.history_lengths(data, 1000)
    users = np.array(sorted(lengths))
    parts = experiment_report.density_parts(users, lengths)
    assert sum(part.astype(int) for part in parts.values()).tolist() == [1] * len(users)
    for name, part in parts.items():
        low, high = map(int, name.split(" to "))
        counts = [lengths[user] for user in users[part].tolist()]
        assert low <= min(counts) <= max(counts) <= high
    assert len(experiment_report.density_parts(users, dict.fromkeys(users.tolist(), 5))) == 1
