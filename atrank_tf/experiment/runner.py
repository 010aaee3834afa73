"""The paper's experiments: models trained over seeds and measured on the same candidates."""

import dataclasses
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from atrank_tf.evaluate import ranking_metrics, slices
from atrank_tf.evaluate.ranking_metrics import PerUser
from atrank_tf.evaluate.scoring import Scoring
from atrank_tf.experiment.suites import SUITES, Budget, Entry
from atrank_tf.models.registry import model_class
from atrank_tf.run_directory import RunDirectory
from atrank_tf.train.build import has_lists
from atrank_tf.train.loop import train
from atrank_tf.train.settings import Settings
from data_pipeline.batches.options import BatchOptions
from data_pipeline.core import json_files
from data_pipeline.core.errors import DivergedError, UserError
from data_pipeline.dataset import TimelineData
from data_pipeline.manifest import Manifest
from data_pipeline.schema import Schema
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
        kinds: By target and kind, as `slices.kinds` has them, the metrics by user of those alone.

    Example:

    >>> users = PerUser(np.array([3]), np.array([1]), dict.fromkeys(METRICS, np.array([0.7])))
    >>> trial = Trial(Path("runs/bpr/1"), {"item": users}, 0.7, curve=[(30.0, 0.7)], costs={})
    >>> trial.users["item"].means["auc"]
    array([0.7])
    """

    directory: Path
    users: dict[str, PerUser]
    validation_auc: float | None
    curve: list[tuple[float, float]]
    costs: dict[str, float]
    kinds: dict[str, dict[str, PerUser]] = dataclasses.field(default_factory=dict)


class Result(NamedTuple):
    """What a suite measured of one entry.

    Attributes:
        entry: The entry, with the learning rate that was chosen.
        trials: One for each seed; none where one of them diverged.

    Example:

    >>> Result(Entry("bpr", Settings(model="bpr")), trials=[]).entry.label
    'bpr'
    """

    entry: Entry
    trials: list[Trial]


# By the label of an entry.
Results = dict[str, Result]


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
        What was measured, by the label of an entry.

    Raises:
        UserError: There is no prepared data, no such target or none in both training and test, a
            number of the budget is out of range, `output_dir` holds another suite or one with
            another budget, other targets or data, or every entry diverged.

    Example:

    >>> SUITES["floor"] = lambda schema: [Entry("popularity", Settings(model="popularity"))]
    >>> results = run("floor", str(toy_data()), "experiment", Budget(learning_rates=[]))
    >>> [list(trial.users) for trial in results["popularity"].trials]
    [['item', 'query']]
    >>> del SUITES["floor"]
    """
    entries = _entries(suite, data_dir, targets)
    changes: list[dict[str, Any]] = [{"learning_rate": rate} for rate in budget.learning_rates]
    for change in (*changes, {"max_seconds": budget.seconds}):  # Before anything is written.
        entries[0].settings.replace(**change)
    fingerprint = Manifest.load(data_dir).fingerprint
    directory = Path(output_dir)
    _begin(suite, budget, targets, fingerprint, directory / "suite.json")
    results = {}
    for number, entry in enumerate(entries, start=1):
        print(f"-- {suite} {number}/{len(entries)}: {entry.label}", file=sys.stderr, flush=True)
        results[entry.label] = _measured(entry, data_dir, directory, budget)
    if not any(result.trials for result in results.values()):
        raise UserError(f"suite {suite}: every entry diverged; choose smaller --learning_rates")
    return results


def _measured(entry: Entry, data_dir: str, directory: Path, budget: Budget) -> Result:
    """Chooses an entry's learning rate and trains it with each seed."""
    chosen = _tuned(entry, data_dir, directory / "tuning" / _name(entry), budget)
    seeds = budget.seeds if model_class(entry.settings.model).is_trained else 1
    runs = directory / "runs" / _name(entry)
    try:
        trials = [
            _trial(chosen.settings, data_dir, runs, seed, budget) for seed in range(1, seeds + 1)
        ]
    except DivergedError as error:
        print(f"-- {entry.label}: {error}; left out", file=sys.stderr)
        trials = []
    return Result(chosen, trials)


def _begin(
    suite: str, budget: Budget, targets: Collection[str], fingerprint: str, path: Path
) -> None:
    """Writes what a suite is begun with, or checks that it goes on so; seeds may be added."""
    settings = {"version": __version__, "suite": suite, **budget.to_dict()}
    settings |= {"targets": sorted(targets), "data_fingerprint": fingerprint}
    if path.exists():
        previous = json_files.read(path)
        check_version(previous.get("version"), str(path.parent), "choose another --output_dir")
        json_files.check_same(
            previous,
            settings,
            ("seeds", "version"),
            f"{path.parent}: holds a suite",
            "choose another --output_dir",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    json_files.write(path, settings)


def _entries(suite: str, data_dir: str, targets: Collection[str]) -> list[Entry]:
    """The suite's entries, of the targets that lie in training and in test."""
    known = TimelineData(data_dir).schema
    schema = known.select([], targets)
    usable = _usable_targets(schema, data_dir)
    entries = []
    for entry in SUITES[suite](schema.select([], usable)):
        settings = entry.settings
        settings = settings.replace(targets=settings.targets or usable)
        can_pair = all(has_lists(known, target) for target in settings.targets)
        if not can_pair and settings.completed().loss != "pointwise":
            if settings.loss != "auto":
                print(f"-- {entry.label}: targets are of no lists, left out", file=sys.stderr)
                continue
            settings = settings.replace(loss="pointwise")
        entries.append(dataclasses.replace(entry, settings=settings))
    return entries


def _usable_targets(schema: Schema, data_dir: str) -> list[str]:
    """The targets of a schema that lie in training and in test."""
    usable = []
    for target in schema.target_names:
        data = TimelineData(data_dir, [], [target])
        if data.num_targets("train") and data.num_targets("test"):
            usable.append(target)
        else:
            print(f"-- {target}: not both in training and test, left out", file=sys.stderr)
    if not usable:
        raise UserError(f"{data_dir}: no targets lie in both training and test")
    return usable


def averaged(trials: list[Trial], target: str) -> PerUser:
    """Returns each user's metrics averaged over the trials, which measured the same users.

    Example:

    >>> trials = []
    >>> for auc in (0.5, 0.75):
    ...     means = dict.fromkeys(METRICS, np.array([auc]))
    ...     users = {"item": PerUser(np.array([3]), np.array([1]), means)}
    ...     trials.append(Trial(Path("runs/bpr/1"), users, None, [], {}))
    >>> averaged(trials, "item").means["auc"]
    array([0.625])
    """
    first, *others = (trial.users[target] for trial in trials)
    if any(not np.array_equal(first.user, other.user) for other in others):
        raise UserError(f"{target}: the trials measured different users; was the data changed?")
    means = {
        name: np.mean([trial.users[target].means[name] for trial in trials], axis=0)
        for name in METRICS
    }
    return PerUser(first.user, first.positives, means)


def history_lengths(data: TimelineData, max_history: int) -> dict[int, int]:
    """Returns how many behaviors stand before each user's last test query, by user index.

    Example:

    >>> lengths = history_lengths(TimelineData(toy_data()), max_history=1000)
    >>> max(lengths.values()) > 10
    True
    """
    lengths: dict[int, int] = {}
    options = BatchOptions(num_negatives=1, max_history=max_history, look_ups=False)
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
    best_aucs = dict.fromkeys(rates, -1.0)
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
                best_aucs[rate] = state["best_auc"] or 0.0
            except DivergedError:
                pass
    best = max(best_aucs, key=lambda rate: best_aucs[rate])
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
        measured = {
            prefix: PerUser(
                arrays[f"{prefix}/user"],
                arrays[f"{prefix}/positives"],
                {name: arrays[f"{prefix}/{name}"] for name in METRICS},
            )
            for prefix in sorted({name.rpartition("/")[0] for name in arrays.files})
        }
    users = {prefix: of_all for prefix, of_all in measured.items() if "/" not in prefix}
    kinds: dict[str, dict[str, PerUser]] = {target: {} for target in users}
    for prefix, of_kind in measured.items():
        target, _, kind = prefix.partition("/")
        if kind:
            kinds[target][kind] = of_kind
    curve = [(seconds, auc) for seconds, auc in state["curve"] if auc is not None]
    return Trial(path, users, state["best_auc"], curve, json_files.read(path / _COSTS), kinds)


def _measure(path: Path, data_dir: str, negatives: int) -> None:
    """Measures the best model of a run on the test's queries, and what it costs."""
    run = RunDirectory(path)
    data = run.data(data_dir)
    model = run.load_best(data.manifest.fingerprint)
    max_history = run.settings()["max_history"]
    options = BatchOptions(num_negatives=negatives, max_history=max_history)
    scoring = Scoring(model, data.batches("test", options), slices.facts)
    scored = scoring.run()
    if len(scoring.seconds) == 1:  # The first batch makes the graph ready, and is not timed.
        scoring.run()
    arrays: dict[str, Any] = {}
    for target, candidates in scored.items():
        positives = ranking_metrics.per_positive(candidates)
        parts = {target: positives} | {
            f"{target}/{kind}": positives.subset(mask)
            for kind, mask in slices.kinds(positives).items()
        }
        for prefix, part in parts.items():
            metrics = ranking_metrics.by_user(part)
            arrays |= {f"{prefix}/user": metrics.user, f"{prefix}/positives": metrics.positives}
            arrays |= {f"{prefix}/{name}": metrics.means[name] for name in METRICS}
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
