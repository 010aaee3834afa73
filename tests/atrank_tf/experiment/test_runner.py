"""The runner: what a suite trains, and that it goes on where it was."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from atrank_tf.evaluate.evaluation import evaluate
from atrank_tf.evaluate.ranking_metrics import PerUser
from atrank_tf.experiment import report as experiment_report
from atrank_tf.experiment import runner as experiments
from atrank_tf.experiment.runner import METRICS, Trial
from atrank_tf.experiment.suites import SUITES, Budget
from atrank_tf.run_directory import RunDirectory
from atrank_tf.train import loop as training
from atrank_tf.train.settings import Settings
from data_pipeline.core.errors import DivergedError, UserError
from data_pipeline.dataset import TimelineData
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Group, Schema
from tests.atrank_tf.experiment.small_suite import BUDGET, ENTRIES
from tests.conftest import make_logs


@pytest.mark.slow
def test_trials(results: tuple[experiments.Results, Path], data_dir: Path) -> None:
    trials_by_label, output = results
    assert [len(trials) for _, trials in trials_by_label.values()] == [2, 2, 1]
    for _, trials in trials_by_label.values():
        assert {trial.directory.parent.parent for trial in trials} == {output / "runs"}
    _, (first, second) = trials_by_label["bpr one2one item"]
    assert [RunDirectory(t.directory).settings()["seed"] for t in (first, second)] == [1, 2]
    report = evaluate(str(data_dir), str(first.directory), num_negatives=BUDGET.negatives)
    expected = report["targets"]["item"]["auc"]["value"]
    assert np.nanmean(first.users["item"].means["auc"]) == pytest.approx(expected)


def test_the_learning_rate_that_validates_best_is_taken(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = []

    class EnoughError(Exception):
        pass

    def train(data_dir: str, model_dir: str, settings: Settings) -> dict[str, float | None]:
        trainings.append((settings.learning_rate, settings.max_seconds))
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
    assert trainings == [(0.1, 4.5), (0.2, 4.5), (0.3, 4.5), (0.4, 4.5), (0.2, 9.0)]


def test_what_diverges_is_left_out_and_reported(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lengths: dict[int, int]
) -> None:
    def train(data_dir: str, model_dir: str, settings: Settings) -> dict[str, float | None]:
        if settings.model != "popularity":
            raise DivergedError("the loss is nan")
        return training.train(data_dir, model_dir, settings)

    monkeypatch.setattr(experiments, "train", train)
    monkeypatch.setitem(SUITES, "small", lambda _: ENTRIES)
    trials_by_label = experiments.run("small", str(data_dir), str(tmp_path), BUDGET)
    assert [len(trials) for _, trials in trials_by_label.values()] == [0, 0, 1]
    # What diverged is not trained again, by whatever would train it now.
    monkeypatch.setattr(experiments, "train", training.train)
    trials_by_label = experiments.run("small", str(data_dir), str(tmp_path), BUDGET)
    assert [len(trials) for _, trials in trials_by_label.values()] == [0, 0, 1]
    summary, *parts = experiment_report.suite_sections(
        "small", trials_by_label, lengths, BUDGET, tmp_path
    )
    assert summary.text.endswith("Diverged, and left out: atrank small, bpr one2one item.")
    tables = [part.table for part in parts if part.title == "item: metrics"]
    assert tables[0] is not None
    assert tables[0]["model"].tolist() == ["popularity"]
    monkeypatch.setitem(SUITES, "small", lambda _: ENTRIES[:2])
    with pytest.raises(UserError, match="suite small: every entry diverged"):
        experiments.run("small", str(data_dir), str(tmp_path), BUDGET)


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
    shutil.copytree(data_dir, tmp_path / "data")
    other = dataclasses.replace(TimelineData(data_dir).manifest, fingerprint="other")
    other.save(tmp_path / "data")
    with pytest.raises(UserError, match=r"data_fingerprint='.*', not 'other'; choose another"):
        experiments.run("small", str(tmp_path / "data"), str(tmp_path), BUDGET)


def test_a_suite_of_another_version_is_refused(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "suite.json").write_text('{"suite": "single", "tuning_seconds": 60.0}')
    with pytest.raises(UserError, match=r"a version before 0\.2\.0, .*: choose another"):
        experiments.run("single", str(data_dir), str(tmp_path), BUDGET)


def test_a_suite_of_some_targets(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings: list[Settings] = []

    def diverge(data_dir: str, model_dir: str, settings: Settings) -> None:
        trainings.append(settings)
        raise DivergedError("the loss is not finite")

    monkeypatch.setattr(experiments, "train", diverge)
    with pytest.raises(UserError, match="every entry diverged"):
        experiments.run("multi", str(data_dir), str(tmp_path / "1"), BUDGET, ["query"])
    assert len(trainings) == 6
    assert all(settings.targets == ["query"] for settings in trainings)
    with pytest.raises(UserError, match="other"):
        experiments.run("multi", str(data_dir), str(tmp_path / "2"), BUDGET, ["other"])
    assert not (tmp_path / "2").exists()


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
    mean = experiments.averaged(trials, "item")
    np.testing.assert_allclose(mean.means["auc"], [0.4, 0.7])
    shifted = dataclasses.replace(
        trials[1], users={"item": dataclasses.replace(trials[1].users["item"], user=users + 1)}
    )
    with pytest.raises(UserError, match="item: the trials measured different users"):
        experiments.averaged([trials[0], shifted], "item")


def test_history_lengths_are_those_of_the_logs(
    data: TimelineData, lengths: dict[int, int], tmp_path: Path
) -> None:
    make_logs(tmp_path)
    events = pd.read_parquet(tmp_path / "events.parquet")
    users = pd.read_parquet(data.directory / "users.parquet")["user"]
    assert len(lengths) > 10
    for index, length in lengths.items():  # By default a user's last query is the test's.
        times = events.loc[events["user"] == users[index - 1], "time"]
        assert length == (times < times.max()).sum()
