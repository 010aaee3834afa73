"""Evaluation: every model scores the same candidates, the metrics are computed once for all."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from atrank_tf.evaluate import ranking_metrics, slices
from atrank_tf.evaluate.calibration import calibration
from atrank_tf.evaluate.ranking_metrics import NAMES, Positives, Scored
from atrank_tf.evaluate.scoring import Scoring
from atrank_tf.models import Ranker
from atrank_tf.run_directory import RunDirectory
from data_pipeline.batches.options import BatchOptions, Sampling
from data_pipeline.core import json_files
from data_pipeline.core.errors import UserError
from data_pipeline.core.progress import Progress
from data_pipeline.dataset import TimelineData
from data_pipeline.schema import Schema


def evaluate(
    data_dir: str,
    model_dir: str,
    baselines: Sequence[str] = (),
    split: str = "test",
    num_negatives: int | Literal["all"] = 99,
    sampling: Literal["uniform", "popularity"] = "uniform",
    slice_names: Sequence[str] = (),
    max_queries: int = 0,
) -> dict[str, Any]:
    """Measures trained models on held-out targets and writes what it found.

    Args:
        data_dir: Prepared data.
        model_dir: Run directory of the model; its best checkpoint is measured, with histories
            as long as it was trained with.
        baselines: Run directories of models to compare it with on the same candidates.
        split: "test" or "validation".
        num_negatives: Negatives of each query, where targets are not labelled; "all" for every
            object that was ever logged.
        sampling: How they are drawn: see `BatchOptions`.
        slice_names: What else to divide the targets by: see `slices.slices`.
        max_queries: Query times of each user, chosen at random; 0 for all.

    Returns:
        What it wrote to `file_name` in `model_dir`.

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
    if num_negatives != "all" and num_negatives < 1:
        raise UserError(f"negatives is {num_negatives}: expected 1 or more, or all")
    if num_negatives == "all" and sampling != "uniform":
        raise UserError(f"sampling is {sampling!r}: with all negatives nothing is drawn")
    protocol: dict[str, Any] = {
        "split": split,
        "negatives": num_negatives,
        "sampling": "all" if num_negatives == "all" else sampling,
        "max_queries": max_queries,
    }
    directories = [model_dir, *baselines]
    for directory in directories:
        if directories.count(directory) > 1:
            raise UserError(f"baselines: {directory} is named twice")
    run = RunDirectory(model_dir)
    data = run.data(data_dir)
    for directory in baselines:  # Before the first is measured.
        if not RunDirectory(directory).data(data_dir).num_targets(split):
            raise UserError(f"{directory}: there is no {split} target that it predicts")
    slices.check_names(list(slice_names), data.schema)
    if not data.num_targets(split):
        raise UserError(f"{data_dir}: there is no {split} target; see the schema's split")
    protocol["kind"] = {target: _kind(target, data.schema) for target in data.schema.target_names}
    measurements = {directory: _measure(directory, data_dir, protocol) for directory in directories}
    for directory in baselines:
        _tell_alike(measurements[directory].positives, measurements[model_dir].positives)
    results = {
        directory: _result(measurement, data, slice_names)
        for directory, measurement in measurements.items()
    }
    _name(results)
    for directory in baselines:
        results[directory]["differences"] = _differences(
            measurements[model_dir].positives, measurements[directory].positives
        )
    settings = run.settings()
    cautions = [
        line
        for target, positives in measurements[model_dir].positives.items()
        for line in slices.cautions(positives, target, data.schema, data.manifest.last_trained)
    ]
    report = {
        **results[model_dir],
        "protocol": protocol,
        "cautions": cautions,
        "baselines": {directory: results[directory] for directory in baselines},
        "data": {"directory": data_dir, "fingerprint": data.manifest.fingerprint},
        "seed": settings["seed"],
        "settings": settings,
        "training": run.training_cost(),
    }
    json_files.write(run.path / file_name(protocol), report)
    return report


def file_name(protocol: Mapping[str, Any]) -> str:
    """Returns the name of the file of a protocol: those of different ones stand side by side.

    Example:

    >>> file_name({"split": "test", "negatives": 99, "sampling": "uniform"})
    'metrics.json'
    >>> file_name({"split": "validation", "negatives": "all", "sampling": "all"})
    'metrics.validation.all.json'
    """
    split = "" if protocol["split"] == "test" else f".{protocol['split']}"
    sampling = "" if protocol["sampling"] == "uniform" else f".{protocol['sampling']}"
    number = "" if protocol["negatives"] in (99, "all") else f".{protocol['negatives']}"
    queries = f".{n}-queries" if (n := protocol.get("max_queries")) else ""
    return f"metrics{split}{sampling}{number}{queries}.json"


class _Measurement(NamedTuple):
    """What one model reached.

    Attributes:
        model: Its name in the registry.
        positives: By target the metrics of each positive.
        calibration: By target its calibration; None for a model that learns no probabilities.
    """

    model: str
    positives: dict[str, Positives]
    calibration: dict[str, dict[str, float] | None] | None


def _measure(directory: str, data_dir: str, protocol: Mapping[str, Any]) -> _Measurement:
    """Measures the best model of a run."""
    run = RunDirectory(directory)
    data = run.data(data_dir)
    settings = run.settings()
    model = run.load_best(data.manifest.fingerprint)
    sampling: Sampling = protocol["sampling"]
    options = BatchOptions(
        num_negatives=None if sampling == "all" else protocol["negatives"],
        sampling=sampling,
        max_history=settings["max_history"],
        max_queries=protocol["max_queries"],
    )
    num_batches = data.count_batches(protocol["split"], options)
    progress = Progress(f"evaluating {directory}", "batches", num_batches)
    scoring = Scoring(model, data.batches(protocol["split"], options), slices.facts)
    calibrations = None
    if sampling == "all":  # More candidates than memory holds.
        positives = scoring.positives(progress)
    else:
        scored = scoring.run(progress)
        positives = {
            target: ranking_metrics.per_positive(candidates)
            for target, candidates in scored.items()
        }
        # A logit is the log-odds among negatives that are drawn as those of training were.
        if sampling == "uniform":
            calibrations = _calibration(model, settings, scored)
    positives = {target: _in_order(of_target) for target, of_target in positives.items()}
    return _Measurement(settings["model"], positives, calibrations)


def _in_order(positives: Positives) -> Positives:
    """The positives in an order that is the same for all models, however batches were packed."""
    facts = positives.facts
    keys = (facts["action"], facts["object"], facts["time"], positives.user)
    return positives.subset(np.lexsort(keys))


def _tell_alike(positives: dict[str, Positives], of_model: Mapping[str, Positives]) -> None:
    """Divides a baseline's positives by what the model read of their histories.

    Another model may read less of them.
    """
    for target, of_target in positives.items():
        if target in of_model:
            facts = of_model[target].facts
            positives[target] = dataclasses.replace(of_target, facts=facts)


def _calibration(
    model: Ranker, settings: Mapping[str, Any], scored: Mapping[str, Scored]
) -> dict[str, dict[str, float] | None] | None:
    if not model.trainable_weights or settings["loss"] != "pointwise":
        return None
    return {
        target: calibration(candidates, settings["num_negatives"])
        for target, candidates in scored.items()
    }


def _result(
    measurement: _Measurement, data: TimelineData, slice_names: Sequence[str]
) -> dict[str, Any]:
    """What the report says of a model."""
    targets = {}
    for target, positives in measurement.positives.items():
        targets[target] = _summary(positives)
        targets[target]["kinds"] = {
            kind: _summary(positives.subset(mask)) for kind, mask in slices.kinds(positives).items()
        }
        targets[target]["slices"] = {
            name: {
                part: _summary(positives.subset(mask))
                for part, mask in slices.slices(name, positives, target, data).items()
            }
            for name in slice_names
        }
    result = {"model": measurement.model, "targets": targets}
    if measurement.calibration is not None:
        result["calibration"] = measurement.calibration
    return result


def _summary(positives: Positives) -> dict[str, Any]:
    return ranking_metrics.summarize(ranking_metrics.by_user(positives))


def _name(results: Mapping[str, dict[str, Any]]) -> None:
    """Names the models so that no two are called alike."""
    models = [result["model"] for result in results.values()]
    for directory, result in results.items():
        model = result["model"]
        result["name"] = model if models.count(model) == 1 else f"{model} ({directory})"


def _kind(target: str, schema: Schema) -> str:
    """What a target's candidates are: those of its list, logged ones, or the kind of negatives."""
    group = schema.target_group(target)
    if "list" in schema.place_columns(group.name):
        return "lists"
    return "logged" if group.impressions else group.negatives


def _differences(
    positives: Mapping[str, Positives], of_baseline: Mapping[str, Positives]
) -> dict[str, dict[str, dict[str, float] | None]]:
    """By target that both predict and metric, the model's less the baseline's."""
    differences = {}
    for target in positives:
        if target in of_baseline:
            first, second = (ranking_metrics.by_user(p[target]) for p in (positives, of_baseline))
            differences[target] = {
                name: ranking_metrics.difference(first, second, name) for name in NAMES
            }
    return differences
