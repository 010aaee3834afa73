"""The paper's experiments: models trained over seeds and measured on the same candidates."""

import dataclasses
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from atrank_tf.evaluate import ranking_metrics
from atrank_tf.evaluate.evaluation import Scoring
from atrank_tf.evaluate.ranking_metrics import PerUser
from atrank_tf.experiment.suites import SUITES, Budget, Entry
from atrank_tf.models.registry import model_class
from atrank_tf.run_directory import RunDirectory
from atrank_tf.train.loop import train
from atrank_tf.train.settings import Settings
from data_pipeline.batches.options import BatchOptions
from data_pipeline.core import json_files
from data_pipeline.core.errors import DivergedError, UserError
from data_pipeline.dataset import TimelineData
from data_pipeline.manifest import Manifest
from data_pipeline.version import __version__, check_version

METRICS = ("auc", "hr@10", "ndcg@10", "mrr")
# What a suite adds to the directory of a run.
_USERS, _COSTS, _DIVERGED = "users.npz", "costs.json", "diverged.txt"


@dataclasses.dataclass(frozen=True)
class Trial:
    """What one training gave.

    Attributes:
        directory: Its run directory.
        users: Each target's metrics by user.
        validation_auc: That of the model that was measured; None without validation targets.
        curve: Validation AUC after so many seconds of training.
        costs: Seconds of training, targets a second, parameters, microseconds to score a
            candidate.
    """

    directory: Path
    users: dict[str, PerUser]
    validation_auc: float | None
    curve: list[tuple[float, float]]
    costs: dict[str, float]


Results = dict[str, tuple[Entry, list[Trial]]]


def run(
    suite: str, data_dir: str, output_dir: str, budget: Budget, targets: Collection[str] = ()
) -> Results:
    """Trains and measures every entry of a suite; what is there already is not done again.

    Args:
        suite: A key of `SUITES`.
        data_dir: Prepared data.
        output_dir: Where runs are kept, in `runs/LABEL/SEED` and `tuning/LABEL/RATE`.
        budget: What each entry is given.
        targets: Groups to predict; empty for all that the data has.

    Returns:
        By label the entry, with the learning rate that was chosen, and its trials; none where
        one of them diverged.

    Raises:
        UserError: There is no prepared data, no such target or none in both training and test, a
            number of the budget is out of range, `output_dir` holds another suite or one with
            another budget, other targets or data, or every entry diverged.
    """
    entries = _entries(suite, data_dir, targets)
    given: list[dict[str, Any]] = [{"learning_rate": rate} for rate in budget.learning_rates]
    for setting in (*given, {"max_seconds": budget.seconds}):  # Before anything is written.
        entries[0].settings.replace(**setting)
    fingerprint = Manifest.load(data_dir).fingerprint
    _begin(suite, budget, targets, fingerprint, Path(output_dir) / "suite.json")
    results = {}
    for number, entry in enumerate(entries, start=1):
        print(f"-- {suite} {number}/{len(entries)}: {entry.label}", file=sys.stderr, flush=True)
        directory = Path(output_dir)
        chosen = _tuned(entry, data_dir, directory / "tuning" / _name(entry), budget)
        seeds = budget.seeds if model_class(entry.settings.model).is_trained else 1
        runs = directory / "runs" / _name(entry)
        try:
            trials = [
                _trial(chosen.settings, data_dir, runs, seed, budget)
                for seed in range(1, seeds + 1)
            ]
        except DivergedError as error:
            print(f"-- {entry.label}: {error}; left out", file=sys.stderr)
            trials = []
        results[entry.label] = (chosen, trials)
    if not any(trials for _, trials in results.values()):
        raise UserError(f"suite {suite}: every entry diverged; choose smaller --learning_rates")
    return results


def _begin(
    suite: str, budget: Budget, targets: Collection[str], fingerprint: str, path: Path
) -> None:
    """Keeps what a suite was begun with; more seeds may be asked of it later."""
    wanted = {"version": __version__, "suite": suite, **budget.to_dict()}
    wanted |= {"targets": sorted(targets), "data_fingerprint": fingerprint}
    if path.exists():
        held = json_files.read(path)
        check_version(held.get("version"), str(path.parent), "choose another --output_dir")
        json_files.check_same(
            held,
            wanted,
            ("seeds", "version"),
            f"{path.parent}: holds a suite",
            "choose another --output_dir",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    json_files.write(path, wanted)


def _entries(suite: str, data_dir: str, wanted: Collection[str]) -> list[Entry]:
    """The suite's entries, of the targets that lie in training and in test."""
    schema = TimelineData(data_dir, [], wanted).schema
    targets = []
    for target in schema.targets:
        data = TimelineData(data_dir, [], [target])
        if data.num_targets("train") and data.num_targets("test"):
            targets.append(target)
        else:
            print(f"-- {target}: not both in training and test, left out", file=sys.stderr)
    if not targets:
        raise UserError(f"{data_dir}: no targets lie in both training and test")
    entries = []
    for entry in SUITES[suite](schema.select([], targets)):
        settings = entry.settings
        predicted = settings.targets or targets
        settings = settings.replace(targets=predicted)
        is_labelled = any(schema.group(target).impressions for target in predicted)
        if is_labelled and settings.completed().loss != "pointwise":
            if settings.loss != "auto":
                print(f"-- {entry.label}: targets are labelled, left out", file=sys.stderr)
                continue
            settings = settings.replace(loss="pointwise")
        entries.append(dataclasses.replace(entry, settings=settings))
    return entries


def averaged(trials: list[Trial], target: str) -> PerUser:
    """Returns each user's metrics averaged over the trials, which measured the same users."""
    first, *others = (trial.users[target] for trial in trials)
    if any(not np.array_equal(first.user, other.user) for other in others):
        raise UserError(f"{target}: the trials measured different users; was the data changed?")
    means = {
        name: np.mean([trial.users[target].means[name] for trial in trials], axis=0)
        for name in METRICS
    }
    return PerUser(first.user, first.positives, means)


def history_lengths(data: TimelineData, max_history: int) -> dict[int, int]:
    """Returns how many behaviors stand before each user's last test moment, by user index."""
    lengths: dict[int, int] = {}
    options = BatchOptions(num_negatives=1, max_history=max_history)
    for inputs, _ in data.batches("test", options):
        counts = sum(h["object"].row_lengths().numpy() for h in inputs["history"].values())
        for user, count in zip(inputs["user"].numpy().tolist(), counts.tolist(), strict=True):
            lengths[user] = max(count, lengths.get(user, 0))
    return lengths


def _name(entry: Entry) -> str:
    return entry.label.replace("'", "").replace(",", "").replace(" ", "-")


def _tuned(entry: Entry, data_dir: str, directory: Path, budget: Budget) -> Entry:
    """The entry with the learning rate that reached the best validation AUC."""
    rates = budget.learning_rates
    if not model_class(entry.settings.model).is_trained or not rates:
        return entry
    found = dict.fromkeys(rates, -1.0)
    if len(rates) > 1:
        data = TimelineData(data_dir, entry.settings.groups, entry.settings.targets)
        if not data.num_targets("validation"):
            print(f"-- {entry.label}: nothing to tune on, its own rate", file=sys.stderr)
            return entry
        for rate in rates:
            settings = entry.settings.replace(
                learning_rate=rate, max_seconds=budget.tuning_seconds, epochs=1000
            )
            try:
                state = _trained(settings, data_dir, directory / str(rate))
                found[rate] = state["best_auc"] or 0.0
            except DivergedError:
                pass
    best = max(found, key=lambda rate: found[rate])
    return dataclasses.replace(entry, settings=entry.settings.replace(learning_rate=best))


def _trained(settings: Settings, data_dir: str, path: Path) -> dict[str, Any]:
    """What `train` returns; a run that once diverged does so again at once."""
    mark = path / _DIVERGED
    if mark.exists():
        raise DivergedError(mark.read_text(encoding="utf-8"))
    try:
        return train(data_dir, str(path), settings)
    except DivergedError as error:
        path.mkdir(parents=True, exist_ok=True)
        mark.write_text(str(error), encoding="utf-8")
        raise


def _trial(settings: Settings, data_dir: str, directory: Path, seed: int, budget: Budget) -> Trial:
    settings = settings.replace(seed=seed, max_seconds=budget.seconds, epochs=1000)
    path = directory / str(seed)
    state = _trained(settings, data_dir, path)
    if not (path / _COSTS).exists():
        _measure(path, data_dir, budget.negatives)
    with np.load(path / _USERS) as arrays:
        targets = {name.split("/")[0] for name in arrays.files}
        users = {
            target: PerUser(
                arrays[f"{target}/user"],
                arrays[f"{target}/positives"],
                {name: arrays[f"{target}/{name}"] for name in METRICS},
            )
            for target in sorted(targets)
        }
    curve = [(seconds, auc) for seconds, auc in state["curve"] if auc is not None]
    return Trial(path, users, state["best_auc"], curve, json_files.read(path / _COSTS))


def _measure(path: Path, data_dir: str, negatives: int) -> None:
    """Measures the best model of a run on the test's moments, and what it costs."""
    run = RunDirectory(path)
    data = run.data(data_dir)
    model = run.load_best(data.manifest.fingerprint)
    max_history = run.settings()["max_history"]
    options = BatchOptions(num_negatives=negatives, max_history=max_history)
    scoring = Scoring(model, data.batches("test", options))
    scored = scoring.run()
    if len(scoring.seconds) == 1:  # The first batch makes the graph ready, and is not timed.
        scoring.run()
    arrays: dict[str, Any] = {}
    for target, candidates in scored.items():
        metrics = ranking_metrics.per_user(candidates)
        arrays |= {f"{target}/user": metrics.user, f"{target}/positives": metrics.positives}
        arrays |= {f"{target}/{name}": metrics.means[name] for name in METRICS}
    np.savez(path / _USERS, **arrays)
    training = run.training_cost()
    seconds = sum(scoring.seconds[1:]) / max(1, sum(scoring.candidates[1:]))
    json_files.write(  # Last: where it is, the users' metrics are whole.
        path / _COSTS,
        {
            "parameters": int(sum(np.prod(w.shape) for w in model.trainable_weights)),
            "seconds": training["seconds"],
            "targets_per_second": training["targets_per_second"],
            "scoring_microseconds": 1e6 * seconds,
        },
    )
