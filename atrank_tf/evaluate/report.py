"""Formats what `evaluate` measured."""

from collections.abc import Iterator, Mapping
from typing import Any

from atrank_tf.evaluate import ranking_metrics

_HEAD = "AUC (95% interval) | GAUC | HR@10 | NDCG@10 | MRR | users |"
_RULE = "| --- | --- | --- | --- | --- | --- | --- | --- |"
_KINDS = {
    "untaken": "objects that the user did not take at that time",
    "untouched": "objects that the user never touched",
}
_LOGGED = {
    "logged": "the candidates that were logged at their time; AUC: all of their user's",
    "lists": "the candidates that were logged in their list",
}


def format_protocol(protocol: Mapping[str, Any]) -> str:
    """Formats what the numbers are measured by: the caption of a table.

    Example:

    >>> protocol = {"split": "test", "negatives": 99, "sampling": "uniform"}
    >>> print(format_protocol({**protocol, "kind": {"item": "untaken"}}))
    test targets; means over users of the means over their targets, which rank among
    item: 99 negatives drawn uniformly from objects that the user did not take at that time
    """
    number = protocol["negatives"]
    how = {
        "uniform": f"{number} negatives drawn uniformly from",
        "popularity": f"{number} negatives drawn by their number of training events from",
        "all": "all",
    }[protocol["sampling"]]
    queries = protocol.get("max_queries")
    of = f" of {queries} query time{'s' if queries != 1 else ''} of each user" if queries else ""
    lines = [
        f"{protocol['split']} targets{of}; means over users of the means over their targets, which "
        "rank among"
    ]
    for target, kind in protocol["kind"].items():
        among = _LOGGED.get(kind) or f"{how} {_KINDS[kind]}"
        lines.append(f"{target}: {among}")
    return "\n".join(lines)


def format_table(report: dict[str, Any]) -> str:
    """Formats what `evaluate` returned as a Markdown table, one line a target and model.

    Where some targets are repeats, or of users without a history, those have lines of their own.

    Example:

    >>> interval = {"value": 0.75, "low": 0.7, "high": 0.8}
    >>> summary = {"users": 9, **dict.fromkeys(ranking_metrics.NAMES, interval)}
    >>> targets = {"item": {**summary, "kinds": {"new": {**summary, "users": 4}}}}
    >>> report = {"name": "atrank", "targets": targets, "baselines": {}}
    >>> print("\\n".join(format_table(report).splitlines()[-2:]))
    | item | atrank | 0.7500 (0.7000 to 0.8000) | 0.7500 | 0.7500 | 0.7500 | 0.7500 | 9 |
    | item: new | atrank | 0.7500 (0.7000 to 0.8000) | 0.7500 | 0.7500 | 0.7500 | 0.7500 | 4 |
    """
    lines = [f"| targets | model | {_HEAD}", _RULE]
    for target, of_model in report["targets"].items():
        for kind in (None, *of_model["kinds"]):
            for result in _results(report):
                summary = result["targets"].get(target)
                if summary and kind:
                    summary = summary["kinds"].get(kind)
                if summary:
                    name = f"{target}: {kind}" if kind else target
                    lines.append(_line(name, result["name"], summary))
    return "\n".join(lines)


def format_slices(report: dict[str, Any], name: str) -> str:
    """Formats the targets divided by something as a Markdown table.

    Example:

    >>> interval = {"value": 0.75, "low": 0.7, "high": 0.8}
    >>> summary = {"users": 9, **dict.fromkeys(ranking_metrics.NAMES, interval)}
    >>> targets = {"item": {"slices": {"hour": {"08": summary}}}}
    >>> print(format_slices({"name": "bpr", "targets": targets, "baselines": {}}, "hour"))
    | item by hour | model | AUC (95% interval) | GAUC | HR@10 | NDCG@10 | MRR | users |
    | --- | --- | --- | --- | --- | --- | --- | --- |
    | 08 | bpr | 0.7500 (0.7000 to 0.8000) | 0.7500 | 0.7500 | 0.7500 | 0.7500 | 9 |
    """
    tables = []
    for target, of_model in report["targets"].items():
        if not of_model["slices"][name]:
            continue
        lines = [f"| {target} by {name} | model | {_HEAD}", _RULE]
        for part in of_model["slices"][name]:
            for result in _results(report):
                of_target = result["targets"].get(target, {"slices": {name: {}}})
                if part in of_target["slices"][name]:
                    summary = of_target["slices"][name][part]
                    lines.append(_line(part.replace("|", "/"), result["name"], summary))
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def format_differences(report: dict[str, Any]) -> str:
    """Formats how far the model is from each baseline, one line a target and baseline.

    Example:

    >>> interval = {"value": 0.02, "low": 0.01, "high": 0.03}
    >>> baseline = {"name": "bpr", "differences": {"item": {"auc": interval, "mrr": None}}}
    >>> report = {"name": "atrank", "targets": {"item": {}}, "baselines": {"runs/bpr": baseline}}
    >>> print(format_differences(report))
    item: atrank less bpr, paired by user: AUC +0.0200 (+0.0100 to +0.0300)
    """
    lines = []
    for target in report["targets"]:
        for baseline in report["baselines"].values():
            differences = baseline["differences"].get(target, {})
            parts = [
                f"{name.upper()} {ranking_metrics.format_interval(interval, '+')}"
                for name, interval in differences.items()
                if interval is not None
            ]
            if parts:
                lines.append(
                    f"{target}: {report['name']} less {baseline['name']}, paired by user: "
                    f"{', '.join(parts)}"
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


def _line(name: str, model: str, summary: Mapping[str, Any]) -> str:
    return f"| {' | '.join([name, model, *_cells(summary)])} |"


def _cells(summary: Mapping[str, Any]) -> list[str]:
    """The metrics of one target and model, as cells of the table."""
    if summary["auc"] is None:
        return ["nothing to compare", "", "", "", "", "0"]
    others = [summary[name] for name in ranking_metrics.NAMES[1:]]
    values = ["-" if interval is None else f"{interval['value']:.4f}" for interval in others]
    return [ranking_metrics.format_interval(summary["auc"]), *values, f"{summary['users']:,}"]
