"""Evaluation: every model scores the same candidates, the metrics are computed once for all."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from atrank_tf.evaluate import ranking_metrics
from atrank_tf.evaluate.calibration import calibration
from atrank_tf.models import Ranker
from atrank_tf.run_directory import RunDirectory
from data_pipeline.batches.options import BatchOptions
from data_pipeline.core import json_files
from data_pipeline.core.errors import DivergedError, UserError
from data_pipeline.core.progress import Progress


class Scoring:
    """Scores all candidates of a dataset, encoding each history once.

    Args:
        model: The model.
        batches: What `TimelineData.batches` returned.

    Attributes:
        seconds: How long the model took for each batch that was scored, in turn; the first one
            made the graph ready.
        candidates: How many candidates each of them had.
    """

    def __init__(self, model: Ranker, batches: tf.data.Dataset) -> None:
        self._schema = model.schema
        self._batches = batches
        self._score = tf.function(model, input_signature=[batches.element_spec[0]], autograph=False)
        self.seconds: list[float] = []
        self.candidates: list[int] = []

    def run(self, progress: Progress | None = None) -> dict[str, ranking_metrics.Scored]:
        """Goes through the dataset once.

        Args:
            progress: What to tell of each batch, if anything.

        Returns:
            The scored candidates by target group.

        Raises:
            DivergedError: A score is NaN.
        """
        targets = self._schema.targets
        parts: dict[str, list[tuple[np.ndarray, ...]]] = {target: [] for target in targets}
        num_moments = 0
        for inputs, labels in self._batches:
            start = time.monotonic()
            logits = self._score(inputs).numpy()
            self.seconds.append(time.monotonic() - start)
            if np.isnan(logits).any():
                raise DivergedError("a score is nan: the model has diverged")
            self.candidates.append(len(logits))
            users = inputs["user"].numpy()
            first = 0
            for target in targets:
                rows = inputs["candidates"][target].value_rowids().numpy()
                mine = slice(first, first + len(rows))
                first += len(rows)
                parts[target].append(
                    (users[rows], rows + num_moments, labels.numpy()[mine], logits[mine])
                )
            num_moments += len(users)
            if progress:
                progress.advance(1)
        scored = {}
        for target, arrays in parts.items():
            columns = zip(*arrays, strict=True) if arrays else ([], [], [], [])
            user, moment, label, logit = (
                np.concatenate([np.empty(0, np.int64), *column]) for column in columns
            )
            labelled = bool(self._schema.group(target).impressions)
            scored[target] = ranking_metrics.Scored(user, moment, label, logit, labelled)
        return scored


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
        num_negatives: Negatives of each moment, where targets are not labelled.

    Returns:
        What it wrote to `model_dir/metrics.json`.

    Raises:
        UserError: A directory holds no prepared data or no trained model, or a model was
            trained on other data.
    """
    if num_negatives < 1:
        raise UserError(f"negatives is {num_negatives}: expected 1 or more")
    if len({model_dir, *baselines}) <= len(baselines):
        raise UserError(f"baselines: {model_dir} or a baseline is named twice")
    run = RunDirectory(model_dir)
    if not run.data(data_dir).num_targets(split):
        raise UserError(f"{data_dir}: there is no {split} target; see the schema's split")
    results = {}
    per_user = {}
    for directory in (model_dir, *baselines):
        data = RunDirectory(directory).data(data_dir)
        trained = RunDirectory(directory).settings()
        options = BatchOptions(num_negatives=num_negatives, max_history=trained["max_history"])
        num_batches = data.count_batches(split, options)
        model = RunDirectory(directory).load_best(data.manifest.fingerprint)
        progress = Progress(f"evaluating {directory}", "batches", num_batches)
        scored = Scoring(model, data.batches(split, options)).run(progress)
        per_user[directory] = {t: ranking_metrics.per_user(s) for t, s in scored.items()}
        results[directory] = {
            "model": trained["model"],
            "name": trained["model"],
            "targets": {t: ranking_metrics.summarize(m) for t, m in per_user[directory].items()},
        }
        if model.trainable_weights and trained["loss"] == "pointwise":
            results[directory]["calibration"] = {
                target: calibration(candidates, trained["num_negatives"])
                for target, candidates in scored.items()
            }
    models = [result["model"] for result in results.values()]
    for directory, result in results.items():
        if models.count(result["model"]) > 1:
            result["name"] += f" ({directory})"
    for directory in baselines:
        results[directory]["auc_difference"] = {
            target: ranking_metrics.difference(mine, per_user[directory][target])
            for target, mine in per_user[model_dir].items()
            if target in per_user[directory]
        }
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


def format_table(report: dict[str, Any]) -> str:
    """Formats what `evaluate` returned as a Markdown table, one line a target and model."""
    lines = [
        "| target | model | AUC (95% interval) | GAUC | HR@10 | NDCG@10 | MRR | users |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for target in report["targets"]:
        for result in (report, *report["baselines"].values()):
            if target not in result["targets"]:
                continue
            summary = result["targets"][target]
            auc = summary["auc"]
            cells = [target, result["name"]]
            if auc is None:
                cells += ["no targets", "", "", "", "", "0"]
            else:
                cells.append(ranking_metrics.format_interval(auc))
                cells += [f"{summary[name]['value']:.4f}" for name in ranking_metrics.NAMES[1:]]
                cells.append(f"{summary['users']:,}")
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def format_differences(report: dict[str, Any]) -> str:
    """Formats how far the model's AUC is from each baseline's, one line a target and baseline."""
    lines = []
    for target in report["targets"]:
        for baseline in report["baselines"].values():
            gap = baseline["auc_difference"].get(target)
            if gap is not None:
                lines.append(
                    f"{target}: AUC of {report['name']} less that of {baseline['name']}, paired "
                    f"by user: {ranking_metrics.format_interval(gap, '+')}"
                )
    return "\n".join(lines)


def format_calibration(report: dict[str, Any]) -> str:
    """Formats the calibration of each point-wise model, one line a target and model."""
    lines = []
    for result in (report, *report["baselines"].values()):
        for target, found in result.get("calibration", {}).items():
            if found is not None:
                lines.append(
                    f"{target}: calibration of {result['name']}: log-loss "
                    f"{found['log_loss']:.4f} (base rate {found['log_loss_of_base_rate']:.4f}), "
                    f"expected calibration error {found['ece']:.4f}"
                )
    return "\n".join(lines)
