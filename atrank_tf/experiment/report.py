"""Tells what experiments found: tables in Markdown and CSV, figures, and one HTML page."""

import base64
import dataclasses
import html
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from atrank_tf.attention import maps as attention_maps
from atrank_tf.attention import plots as attention_plots
from atrank_tf.evaluate import ranking_metrics
from atrank_tf.evaluate.ranking_metrics import PerUser
from atrank_tf.experiment.runner import Results, Trial, averaged, history_lengths
from atrank_tf.experiment.suites import Budget
from atrank_tf.models.registry import model_class
from atrank_tf.run_directory import RunDirectory
from data_pipeline.core.errors import UserError
from data_pipeline.dataset import TimelineData

# Labels of entries that are compared, the first with the second.
Pairs = list[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the report: a heading, what it says, a table, a figure.

    Attributes:
        title: The heading.
        text: What to know about it.
        table: What was measured; None for none.
        figure: Path of an SVG file; None for none.
    """

    title: str
    text: str
    table: pd.DataFrame | None = None
    figure: Path | None = None


def sections(
    suite: str, results: Results, lengths: dict[int, int], budget: Budget, directory: Path
) -> list[Section]:
    """Returns the parts of a suite's report and draws its figures.

    Args:
        suite: Its name.
        results: What `experiments.run` returned.
        lengths: What `experiments.history_lengths` returned.
        budget: What each entry was given.
        directory: Where figures go.
    """
    diverged = [label for label, (_, trials) in results.items() if not trials]
    results = {label: found for label, found in results.items() if found[1]}
    targets = sorted(
        {
            name
            for _, trials in results.values()
            for name, users in trials[0].users.items()
            if len(users.user)
        }
    )
    left_out = f" Diverged, and left out: {', '.join(diverged)}." if diverged else ""
    styles = {label: _style(number) for number, label in enumerate(results)}
    parts = [
        Section(
            f"Suite {suite}",
            f"Each model trains {budget.seconds:g} s at most, with {budget.seeds} "
            f"seed{'s' if budget.seeds > 1 else ''} (what has nothing to train is measured once), "
            f"and is measured against {budget.negatives} "
            f"negative{'s' if budget.negatives > 1 else ''} of each moment, where targets are not "
            f"labelled; {_tuning(budget)}.{left_out}",
        )
    ]
    for target in targets:
        measured = {label: t for label, (_, t) in results.items() if target in t[0].users}
        users = {label: averaged(trials, target) for label, trials in measured.items()}
        labels = list(users)
        pairs = [
            (label, other)
            for place, label in enumerate(labels)
            if results[label][0].is_reference
            for other in labels[place + 1 :]
        ]
        density = density_parts(users[labels[0]].user, lengths)
        trained = {
            label: users[label]
            for label in labels
            if model_class(results[label][0].settings.model).is_trained
        }
        parts += [
            Section(
                f"{target}: metrics",
                "Means over users, with 95% bootstrap intervals over users, of each user's mean "
                "over seeds; +- is the standard deviation over seeds. GAUC weighs users by "
                "their number of positives.",
                metrics(measured, target),
            ),
            Section(
                f"{target}: paired differences",
                "AUC of the first less that of the second, paired by user, with 95% bootstrap "
                "intervals.",
                differences(users, pairs),
            ),
            Section(
                f"{target}: AUC by density of history",
                "Users in four parts of like size, by the number of behaviors before their last "
                "moment of the test, of which a model may read fewer (see the last table). "
                "The figure shows what is trained, with 1.96 standard errors.",
                by_density(users, density),
                _draw_density(trained, density, styles, target, directory / f"density-{target}.svg")
                if trained
                else None,
            ),
            Section(
                f"{target}: the lead by density of history",
                "AUC of the first less that of the second, paired by user, in these parts. "
                "The paper finds that ATRank's lead grows where behavior is dense.",
                leads_by_density(users, pairs, density),
            ),
        ]
    parts.append(
        Section(
            "AUC against training time",
            "Validation AUC after each epoch, and each quarter of the time within long ones, over "
            "seeds; validation itself is not counted. "
            "The learning rate falls and the best model is chosen by epochs, of which a fast "
            "model has more: what is compared is what seconds of training give. The validation "
            "AUC is that of the models that were measured, against 99 negatives, a mean over users "
            "and targets. A candidate's scoring is the time of the test's batches for each "
            "candidate in them, with the encoding of histories, on the machine that trained.",
            costs(results),
            _draw_curves(results, styles, directory / "curves.svg"),
        )
    )
    return parts


def write_report(
    suite: str, results: Results, budget: Budget, data_dir: str, output_dir: str
) -> tuple[list[Section], list[Path]]:
    """Writes a suite's report, with what the first entry attends to where it can be shown.

    Args:
        suite: Its name.
        results: What `runner.run` returned.
        budget: What each entry was given.
        data_dir: Prepared data.
        output_dir: Where the report goes.

    Returns:
        The parts of the report, and the files that were written.
    """
    output = Path(output_dir)
    first = next(iter(results.values()))[0].settings
    lengths = history_lengths(TimelineData(data_dir, first.groups, first.targets), 100_000)
    parts = sections(suite, results, lengths, budget, output)
    write(parts, output)  # Whatever becomes of the pictures.
    try:
        parts += attention(results, data_dir, output)
    except UserError as error:
        print(f"-- no pictures of attention: {error}", file=sys.stderr)
    return parts, write(parts, output)


def _tuning(budget: Budget) -> str:
    rates = budget.learning_rates
    if not rates:
        return "the learning rate is its default"
    if len(rates) == 1:
        return f"the learning rate is {rates[0]} for all"
    return (
        f"each learning rate of {', '.join(map(str, rates))} was tried for "
        f"{budget.tuning_seconds:g} s, and the one with the best validation AUC taken, where "
        "there are validation targets"
    )


def attention(results: Results, data_dir: str, directory: Path) -> list[Section]:
    """Returns pictures of what the first entry attends to, if it is an atrank.

    Args:
        results: What `experiments.run` returned.
        data_dir: Prepared data.
        directory: Where figures go.
    """
    label, (entry, trials) = next(iter(results.items()))
    if not trials or not hasattr(model_class(entry.settings.model), "attention"):
        return []
    run = RunDirectory(trials[0].directory)
    figures = attention_plots.draw(*attention_maps.from_run(run, data_dir))
    attention_plots.write(figures, directory)
    told = {
        "self-attention": "Each row is a behavior, and shows what it reads of the others in the "
        "first block; in the causal form of those strictly before it, so that the oldest read "
        "nothing.",
        "vanilla-attention": "What candidates read of the history, of each target the chosen ones "
        "first.",
    }
    average = "1 is what each behavior would get if all were read alike."
    return [
        Section(
            f"{label}: {name.replace('-', ' ')}",
            told.get(name, average),
            figure=directory / f"{name}.svg",
        )
        for name in figures
    ]


def metrics(measured: dict[str, list[Trial]], target: str) -> pd.DataFrame:
    """Returns a line of metrics for each entry."""
    rows = []
    for label, trials in measured.items():
        summary: dict[str, Any] = ranking_metrics.summarize(averaged(trials, target))
        row: dict[str, Any] = {"model": label}
        for name in ranking_metrics.NAMES:
            row[name] = "-"
            if summary[name]:
                row[name] = ranking_metrics.format_interval(summary[name])
                if len(trials) > 1:
                    each = [ranking_metrics.mean(t.users[target], name) for t in trials]
                    row[name] += f" +- {np.std(each, ddof=1):.4f}"
        row["users"] = summary["users"]
        rows.append(row)
    return pd.DataFrame(rows)


def differences(users: dict[str, PerUser], pairs: Pairs) -> pd.DataFrame:
    """Returns the paired difference of each of some pairs of entries."""
    rows = [
        {"model": label, "against": other, "AUC difference": _lead(users[label], users[other])}
        for label, other in pairs
    ]
    return pd.DataFrame(rows, columns=["model", "against", "AUC difference"])


def _lead(first: PerUser, other: PerUser) -> str:
    gap = ranking_metrics.difference(first, other)
    return ranking_metrics.format_interval(gap, "+") if gap else "-"


def by_density(users: dict[str, PerUser], density: dict[str, np.ndarray]) -> pd.DataFrame:
    """Returns each entry's AUC in parts of the users, as `density_parts` makes them."""
    rows = []
    for label, measured in users.items():
        row: dict[str, Any] = {"model": label}
        for name, mine in density.items():
            auc = _known(measured, mine)
            row[name] = f"{auc.mean():.4f}" if len(auc) else "-"
        rows.append(row)
    return pd.DataFrame(rows)


def _known(measured: PerUser, mine: np.ndarray) -> np.ndarray:
    auc = measured.means["auc"][mine]
    return auc[~np.isnan(auc)]


def leads_by_density(
    users: dict[str, PerUser], pairs: Pairs, density: dict[str, np.ndarray]
) -> pd.DataFrame:
    """Returns the paired difference of pairs of entries in parts of the users."""
    rows = [
        {"model": label, "against": other}
        | {
            name: _lead(users[label].of(mine), users[other].of(mine))
            for name, mine in density.items()
        }
        for label, other in pairs
    ]
    return pd.DataFrame(rows, columns=["model", "against", *density])


def costs(results: Results) -> pd.DataFrame:
    """Returns what each entry costs: what it reads, parameters, training, and scoring."""
    rows = []
    for label, (entry, trials) in results.items():
        mean = {k: float(np.mean([t.costs[k] for t in trials])) for k in trials[0].costs}
        aucs = [t.validation_auc for t in trials if t.validation_auc is not None]
        settings = entry.settings.completed()
        model = model_class(settings.model)
        rows.append(
            {
                "model": label,
                "learning rate": settings.learning_rate if model.is_trained else "-",
                "behaviors read": (settings.max_history if model.reads_history else "-"),
                "validation AUC": f"{np.mean(aucs):.4f}" if aucs else "-",
                "parameters": f"{mean['parameters']:,.0f}",
                "training": f"{mean['seconds']:.0f} s",
                "targets/s": f"{mean['targets_per_second']:,.0f}",
                "scoring a candidate": f"{mean['scoring_microseconds']:.1f} us",
            }
        )
    return pd.DataFrame(rows)


def density_parts(users: np.ndarray, lengths: dict[int, int]) -> dict[str, np.ndarray]:
    """Divides users into four parts of like size by their number of behaviors.

    Args:
        users: User rows, integers [users].
        lengths: What `experiments.history_lengths` returned.

    Returns:
        By the name of a part, "LOW to HIGH", who is in it: bool [users]. Fewer than four where
        many users have the same number.
    """
    counts = np.array([lengths.get(int(user), 0) for user in users])
    bounds = np.unique(np.quantile(counts, [0, 0.25, 0.5, 0.75], method="lower"))
    number = np.searchsorted(bounds, counts, side="right") - 1
    ends = [*(bounds[1:] - 1), counts.max()]
    return {
        f"{low} to {high}": number == i
        for i, (low, high) in enumerate(zip(bounds, ends, strict=True))
    }


def _draw_density(
    users: dict[str, PerUser],
    density: dict[str, np.ndarray],
    styles: dict[str, dict[str, Any]],
    target: str,
    path: Path,
) -> Path:
    figure = Figure(figsize=(8.5, 4.5), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(density))
    beside = np.linspace(-0.2, 0.2, len(users))  # Intervals stand side by side.
    for aside, (label, measured) in zip(beside, users.items(), strict=True):
        aucs = [_known(measured, mine) for mine in density.values()]
        means = [auc.mean() if len(auc) else np.nan for auc in aucs]
        errors = [1.96 * auc.std() / np.sqrt(len(auc)) if len(auc) else np.nan for auc in aucs]
        x = places + aside
        axes.errorbar(x, means, errors, marker=".", capsize=2, label=label, **styles[label])
    axes.set(xlabel="behaviors before the last moment of the test", ylabel=f"AUC of {target}")
    axes.set_xticks(places, list(density))
    axes.grid(alpha=0.3)
    figure.legend(fontsize="small", loc="outside right upper")
    figure.savefig(path)
    return path


def _style(number: int) -> dict[str, Any]:
    """A color and a line of its own for each of thirty entries."""
    return {"color": f"C{number % 10}", "linestyle": ("-", "--", ":")[number // 10 % 3]}


def _draw_curves(results: Results, styles: dict[str, dict[str, Any]], path: Path) -> Path:
    predicted = {label: " and ".join(e.settings.targets) for label, (e, _) in results.items()}
    panels = list(dict.fromkeys(predicted.values()))  # AUCs of different targets are not compared.
    figure = Figure(figsize=(7, 4.5 * len(panels)), layout="constrained")
    rows = dict(zip(panels, figure.subplots(len(panels), squeeze=False)[:, 0], strict=True))
    for label, (_, trials) in results.items():
        for place, trial in enumerate(trials):
            if trial.curve:
                seconds, aucs = zip(*trial.curve, strict=True)
                name = label if place == 0 else None
                axes = rows[predicted[label]]
                axes.plot(seconds, aucs, marker=".", label=name, **styles[label])
    for targets, axes in rows.items():
        axes.set(xlabel="seconds of training", ylabel=f"validation AUC of {targets}", xscale="log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize="small")
    figure.savefig(path)
    return path


def markdown(parts: Sequence[Section]) -> str:
    """Returns the tables as Markdown."""
    lines = []
    for part in parts:
        lines += [f"## {part.title}", "", part.text, ""]
        if part.table is not None:
            head = list(part.table.columns)
            rows = part.table.to_numpy().tolist()
            lines += [
                f"| {' | '.join(map(str, row))} |" for row in (head, ["---"] * len(head), *rows)
            ]
            lines.append("")
    return "\n".join(lines)


def page(parts: Sequence[Section]) -> str:
    """Returns one HTML page that needs no other file."""
    body = []
    for part in parts:
        body.append(f"<h2>{html.escape(part.title)}</h2><p>{html.escape(part.text)}</p>")
        if part.table is not None:
            body.append(part.table.to_html(index=False, border=0))
        if part.figure is not None:
            image = base64.b64encode(part.figure.read_bytes()).decode()
            title = html.escape(part.title)
            body.append(f'<img alt="{title}" src="data:image/svg+xml;base64,{image}">')
    style = (
        "body{font:16px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em}"
        "table{border-collapse:collapse;font-size:.85em}td,th{padding:.3em .8em;text-align:left;"
        "border-bottom:1px solid #ddd}img{max-width:100%}"
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>ATRank experiments'
        f"</title><style>{style}</style></head><body>{''.join(body)}</body></html>\n"
    )


def write(parts: Sequence[Section], directory: Path) -> list[Path]:
    """Writes `report.html`, `report.md` and a CSV file for each table; returns their paths."""
    paths = [directory / "report.html", directory / "report.md"]
    paths[0].write_text(page(parts), encoding="utf-8")
    paths[1].write_text(markdown(parts), encoding="utf-8")
    for part in parts:
        if part.table is not None:
            name = part.title.replace(": ", "-").replace(" ", "-").lower()
            paths.append(directory / f"{name}.csv")
            part.table.to_csv(paths[-1], index=False)
    return paths
