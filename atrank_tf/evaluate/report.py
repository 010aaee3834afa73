"""Formats what `evaluate` measured."""

from collections.abc import Iterator
from typing import Any

from atrank_tf.evaluate import ranking_metrics


def format_table(report: dict[str, Any]) -> str:
    """Formats what `evaluate` returned as a Markdown table, one line a target and model.

    Example:

    >>> interval = {"value": 0.75, "low": 0.7, "high": 0.8}
    >>> summary = {"users": 9, **dict.fromkeys(ranking_metrics.NAMES, interval)}
    >>> report = {"name": "atrank", "targets": {"item": summary}, "baselines": {}}
    >>> print(format_table(report).splitlines()[-1])
    | item | atrank | 0.7500 (0.7000 to 0.8000) | 0.7500 | 0.7500 | 0.7500 | 0.7500 | 9 |
    """
    lines = [
        "| target | model | AUC (95% interval) | GAUC | HR@10 | NDCG@10 | MRR | users |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for target in report["targets"]:
        for result in _results(report):
            if target in result["targets"]:
                cells = [target, result["name"], *_cells(result["targets"][target])]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def format_differences(report: dict[str, Any]) -> str:
    """Formats how far the model's AUC is from each baseline's, one line a target and baseline.

    Example:

    >>> difference = {"value": 0.02, "low": 0.01, "high": 0.03}
    >>> baseline = {"name": "bpr", "auc_difference": {"item": difference}}
    >>> report = {"name": "atrank", "targets": {"item": {}}, "baselines": {"runs/bpr": baseline}}
    >>> print(format_differences(report))
    item: AUC of atrank less that of bpr, paired by user: +0.0200 (+0.0100 to +0.0300)
    """
    lines = []
    for target in report["targets"]:
        for baseline in report["baselines"].values():
            difference = baseline["auc_difference"].get(target)
            if difference is not None:
                lines.append(
                    f"{target}: AUC of {report['name']} less that of {baseline['name']}, paired "
                    f"by user: {ranking_metrics.format_interval(difference, '+')}"
                )
    return "\n".join(lines)


def format_calibration(report: dict[str, Any]) -> str:
    """Formats the calibration of each point-wise model, one line a target and model.

    Example:

    >>> item = {"log_loss": 0.3, "log_loss_of_base_rate": 0.4, "ece": 0.01}
    >>> report = {"name": "atrank", "calibration": {"item": item}, "baselines": {}}
    >>> print(format_calibration(report))
    item: calibration of atrank: log-loss 0.3000 (base rate 0.4000),
    expected calibration error 0.0100
    """
    lines = []
    for result in _results(report):
        for target, calibration in result.get("calibration", {}).items():
            if calibration is not None:
                lines.append(
                    f"{target}: calibration of {result['name']}: log-loss "
                    f"{calibration['log_loss']:.4f} "
                    f"(base rate {calibration['log_loss_of_base_rate']:.4f}), "
                    f"expected calibration error {calibration['ece']:.4f}"
                )
    return "\n".join(lines)


def _results(report: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The result of the model, then those of its baselines."""
    yield report
    yield from report["baselines"].values()


def _cells(summary: dict[str, Any]) -> list[str]:
    """The metrics of one target and model, as cells of the table."""
    if summary["auc"] is None:
        return ["no targets", "", "", "", "", "0"]
    values = [f"{summary[name]['value']:.4f}" for name in ranking_metrics.NAMES[1:]]
    return [ranking_metrics.format_interval(summary["auc"]), *values, f"{summary['users']:,}"]
