"""Evaluation: every model scores the same candidates, the metrics are computed once for all."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from atrank_tf.evaluate import ranking_metrics
from atrank_tf.evaluate.calibration import calibration
from atrank_tf.evaluate.ranking_metrics import PerUser, Scored
from atrank_tf.evaluate.scoring import Scoring
from atrank_tf.models import Ranker
from atrank_tf.run_directory import RunDirectory
from data_pipeline.batches.options import BatchOptions
from data_pipeline.core import json_files
from data_pipeline.core.errors import UserError
from data_pipeline.core.progress import Progress


def evaluate(
    data_dir: str,
    model_dir: str,
    baselines: Sequence[str] = (),
    split: str = "test",
    num_negatives: int = 99,
) -> dict[str, Any]:
    """Measures trained models on held-out targets and writes `metrics.json`.

    Args:
        data_dir: Prepared data.
        model_dir: Run directory of the model; its best checkpoint is measured, with histories
            as long as it was trained with.
        baselines: Run directories of models to compare it with on the same candidates.
        split: "test" or "validation".
        num_negatives: Negatives of each query, where targets are not labelled.

    Returns:
        What it wrote to `model_dir/metrics.json`.

    Raises:
        UserError: A directory holds no prepared data or no trained model, or a model was
            trained on other data.

    Example:

    >>> from atrank_tf.train.loop import train
    >>> from atrank_tf.train.settings import Settings
    >>> state = train(str(toy_data()), "runs/popularity", Settings(model="popularity"))
    >>> report = evaluate(str(toy_data()), "runs/popularity", num_negatives=9)
    >>> report["name"], list(report["targets"])
    ('popularity', ['item', 'query'])
    """
    if num_negatives < 1:
        raise UserError(f"negatives is {num_negatives}: expected 1 or more")
    directories = [model_dir, *baselines]
    for directory in directories:
        if directories.count(directory) > 1:
            raise UserError(f"baselines: {directory} is named twice")
    run = RunDirectory(model_dir)
    data = run.data(data_dir)
    for directory in baselines:  # Before the first is measured.
        RunDirectory(directory).settings()
    if not data.num_targets(split):
        raise UserError(f"{data_dir}: there is no {split} target; see the schema's split")
    measurements = {
        directory: _measure(directory, data_dir, split, num_negatives) for directory in directories
    }
    results = _results(measurements)
    for directory in baselines:
        results[directory]["auc_difference"] = _auc_differences(
            measurements[model_dir].users, measurements[directory].users
        )
    settings = run.settings()
    report = {
        **results[model_dir],
        "split": split,
        "negatives": num_negatives,
        "baselines": {directory: results[directory] for directory in baselines},
        "data": {"directory": data_dir, "fingerprint": data.manifest.fingerprint},
        "seed": settings["seed"],
        "settings": settings,
        "training": run.training_cost(),
    }
    json_files.write(run.path / "metrics.json", report)
    return report


class _Measurement(NamedTuple):
    """What one model reached.

    Attributes:
        model: Its name in the registry.
        users: By target the metrics of each user.
        calibration: By target its calibration; None for a model that learns no probabilities.
    """

    model: str
    users: dict[str, PerUser]
    calibration: dict[str, dict[str, float] | None] | None


def _measure(directory: str, data_dir: str, split: str, num_negatives: int) -> _Measurement:
    """Measures the best model of a run."""
    run = RunDirectory(directory)
    data = run.data(data_dir)
    settings = run.settings()
    model = run.load_best(data.manifest.fingerprint)
    options = BatchOptions(
        num_negatives=num_negatives,
        max_history=settings["max_history"],
        look_ups=model.look_ups is not None,
    )
    num_batches = data.count_batches(split, options)
    progress = Progress(f"evaluating {directory}", "batches", num_batches)
    scored = Scoring(model, data.batches(split, options)).run(progress)
    users = {target: ranking_metrics.per_user(candidates) for target, candidates in scored.items()}
    return _Measurement(settings["model"], users, _calibration(model, settings, scored))


def _calibration(
    model: Ranker, settings: Mapping[str, Any], scored: Mapping[str, Scored]
) -> dict[str, dict[str, float] | None] | None:
    if not model.trainable_weights or settings["loss"] != "pointwise":
        return None
    return {
        target: calibration(candidates, settings["num_negatives"])
        for target, candidates in scored.items()
    }


def _results(measurements: Mapping[str, _Measurement]) -> dict[str, dict[str, Any]]:
    """By run directory what the report says of a model, named so that no two are called alike."""
    models = [measurement.model for measurement in measurements.values()]
    results: dict[str, dict[str, Any]] = {}
    for directory, (model, users, calibrations) in measurements.items():
        results[directory] = {
            "model": model,
            "name": model if models.count(model) == 1 else f"{model} ({directory})",
            "targets": {name: ranking_metrics.summarize(m) for name, m in users.items()},
        }
        if calibrations is not None:
            results[directory]["calibration"] = calibrations
    return results


def _auc_differences(
    users: Mapping[str, PerUser], users_of_baseline: Mapping[str, PerUser]
) -> dict[str, dict[str, float] | None]:
    """By target that both predict, the model's AUC less the baseline's."""
    return {
        target: ranking_metrics.difference(metrics, users_of_baseline[target])
        for target, metrics in users.items()
        if target in users_of_baseline
    }
