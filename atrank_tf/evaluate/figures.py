"""Figures of slices."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

_MOST_MODELS = 6


def write_slices(
    report: dict[str, Any], directory: str | Path, prefix: str = "slices"
) -> list[Path]:
    """Draws the AUC of each slice, a picture for each target and division.

    Args:
        report: What `evaluate` returned, with slices.
        directory: Where pictures go, as `PREFIX.TARGET.NAME.png`.
        prefix: What their names begin with.

    Returns:
        Their paths.

    Example:

    >>> summary = {"users": 9, "auc": {"value": 0.75, "low": 0.7, "high": 0.8}}
    >>> targets = {"item": {"slices": {"hour": {"08": summary, "09": summary}}}}
    >>> report = {"name": "bpr", "targets": targets, "baselines": {}}
    >>> [path.name for path in write_slices(report, tmp)]
    ['slices.item.hour.png']
    """
    paths = []
    for target, of_model in report["targets"].items():
        for name, parts in of_model["slices"].items():
            if parts:
                path = Path(directory) / f"{prefix}.{target}.{name}.png"
                _draw(report, target, name).savefig(path, dpi=150, bbox_inches="tight")
                paths.append(path)
    return paths


def _draw(report: dict[str, Any], target: str, name: str) -> Figure:
    """A line for each slice, a mark with its interval for each model."""
    results = [report, *report["baselines"].values()][:_MOST_MODELS]
    results = [result for result in results if target in result["targets"]]
    parts = list(report["targets"][target]["slices"][name])
    figure = Figure(figsize=(7, 1.2 + (0.22 + 0.12 * len(results)) * len(parts)))
    axes = figure.add_subplot()
    for i, result in enumerate(results):
        summaries = result["targets"][target]["slices"][name]
        places, values, below, above = [], [], [], []
        for place, part in enumerate(parts):
            interval = summaries.get(part, {}).get("auc")
            if interval:
                places.append(place + 0.8 * ((i + 0.5) / len(results) - 0.5))
                values.append(interval["value"])
                below.append(interval["value"] - interval["low"])
                above.append(interval["high"] - interval["value"])
        axes.errorbar(
            values, places, xerr=[below, above], fmt="o", ms=4, lw=1, label=result["name"]
        )
    users = report["targets"][target]["slices"][name]
    labels = [f"{part}  ({users[part]['users']:,} users)" for part in parts]
    axes.set_yticks(range(len(parts)), labels)
    axes.invert_yaxis()
    axes.set_xlabel("AUC, with 95% intervals over users")
    axes.set_title(f"{target} by {name}", loc="left")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="upper left",
        bbox_to_anchor=(0.92, 0.9),
        frameon=False,
    )
    return figure
