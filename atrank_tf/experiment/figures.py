"""Figures of what experiments measured."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from atrank_tf.evaluate.ranking_metrics import PerUser
from atrank_tf.experiment.runner import Results
from atrank_tf.experiment.tables import known_aucs

# By label of an entry, arguments of matplotlib's lines.
Styles = dict[str, dict[str, Any]]


def line_styles(labels: Iterable[str]) -> Styles:
    """Returns a color and a kind of line for each entry: different ones for up to thirty.

    Example:

    >>> line_styles(["atrank", "bpr"])["bpr"]
    {'color': 'C1', 'linestyle': '-'}
    """
    return {
        label: {"color": f"C{number % 10}", "linestyle": ("-", "--", ":")[number // 10 % 3]}
        for number, label in enumerate(labels)
    }


def draw_density(
    users: dict[str, PerUser],
    density: dict[str, np.ndarray],
    styles: Styles,
    target: str,
    path: Path,
) -> Path:
    """Draws each entry's AUC in parts of the users, with 1.96 standard errors.

    Args:
        users: By label of an entry the metrics of each user.
        density: What `tables.density_parts` returned.
        styles: What `line_styles` returned.
        target: The target, for the label of the axis.
        path: The file to write.

    Returns:
        The path.

    Example:

    >>> users = PerUser(np.array([3, 8]), np.array([1, 1]), {"auc": np.array([0.5, 1.0])})
    >>> density = {"1 to 4": np.array([True, False]), "5 to 9": np.array([False, True])}
    >>> draw_density({"bpr": users}, density, line_styles(["bpr"]), "item", tmp / "d.svg").exists()
    True
    """
    figure = Figure(figsize=(8.5, 4.5), layout="constrained")
    axes = figure.subplots()
    positions = np.arange(len(density))
    shifts = np.linspace(-0.2, 0.2, len(users))  # Intervals stand side by side.
    for shift, (label, metrics) in zip(shifts, users.items(), strict=True):
        aucs = [known_aucs(metrics, in_part) for in_part in density.values()]
        means = [auc.mean() if len(auc) else np.nan for auc in aucs]
        errors = [1.96 * auc.std() / np.sqrt(len(auc)) if len(auc) else np.nan for auc in aucs]
        x = positions + shift
        axes.errorbar(x, means, errors, marker=".", capsize=2, label=label, **styles[label])
    axes.set(xlabel="behaviors before the last query of the test", ylabel=f"AUC of {target}")
    axes.set_xticks(positions, list(density))
    axes.grid(alpha=0.3)
    figure.legend(fontsize="small", loc="outside right upper")
    figure.savefig(path)
    return path


def draw_curves(results: Results, styles: Styles, path: Path) -> Path:
    """Draws how validation AUC rises with seconds of training, a line for each trial.

    Args:
        results: What `runner.run` returned.
        styles: What `line_styles` returned.
        path: The file to write.

    Returns:
        The path.

    Example:

    >>> from atrank_tf.experiment.runner import Result, Trial
    >>> from atrank_tf.experiment.suites import single
    >>> trial = Trial(Path("runs/1"), {}, 0.7, curve=[(1.0, 0.6), (9.0, 0.7)], costs={})
    >>> schema, _ = toy_schema_and_catalog()
    >>> results = {"atrank": Result(single(schema)[0], [trial])}
    >>> draw_curves(results, line_styles(results), tmp / "curves.svg").exists()
    True
    """
    targets = {label: " and ".join(entry.settings.targets) for label, (entry, _) in results.items()}
    panels = list(dict.fromkeys(targets.values()))  # AUCs of different targets are not compared.
    figure = Figure(figsize=(7, 4.5 * len(panels)), layout="constrained")
    axes_of = dict(zip(panels, figure.subplots(len(panels), squeeze=False)[:, 0], strict=True))
    for label, (_, trials) in results.items():
        for number, trial in enumerate(trials):
            if trial.curve:
                seconds, aucs = zip(*trial.curve, strict=True)
                name = label if number == 0 else None
                axes_of[targets[label]].plot(seconds, aucs, marker=".", label=name, **styles[label])
    for panel, axes in axes_of.items():
        axes.set(xlabel="seconds of training", ylabel=f"validation AUC of {panel}", xscale="log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize="small")
    figure.savefig(path)
    return path
