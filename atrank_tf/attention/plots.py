"""Pictures of attention, after the paper's case studies."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from matplotlib.colors import PowerNorm, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from atrank_tf.attention.averages import duration
from atrank_tf.attention.maps import Case

_COLUMNS = 2
_COLORS = ("#1f77b4", "#d95f02", "#1b7837", "#7570b3", "#a6761d", "#c51b7d", "#4d4d4d", "#008080")


def draw_self_attention(shown: Case) -> Figure:
    """Draws a map for each latent space: which behavior attends to which.

    Behaviors stand oldest first, named by object and by how long before the query they
    were; the color of a name stands for group and action.

    Example:

    >>> columns = {"group": ["item"], "action": ["buy"], "object": ["B7"], "days": [3.0]}
    >>> candidates = {"target": ["item"], "object": ["B9"], "logit": [0.5], "chosen": [True]}
    >>> weights = np.ones((4, 1, 1))
    >>> shown = Case(pd.DataFrame(columns), pd.DataFrame(candidates), weights, weights)
    >>> draw_self_attention(shown).axes[0].get_title()
    'latent space 1'
    """
    spaces, count, _ = shown.self_attention.shape
    rows = -(-spaces // _COLUMNS)
    size = 1.6 + 0.17 * max(count, 8)
    figure = Figure(figsize=(_COLUMNS * size + 1.4, rows * size + 1.6), layout="compressed")
    axes = figure.subplots(rows, _COLUMNS, sharex=True, sharey=True, squeeze=False).ravel()
    image: Any = None
    for space, (ax, weights) in enumerate(zip(axes, shown.self_attention, strict=False)):
        image = ax.imshow(weights, cmap="Greys", norm=_shades(shown.self_attention))
        ax.set_title(f"latent space {space + 1}", fontsize=10)
    for ax in axes[spaces:]:
        ax.axis("off")
    for number, ax in enumerate(axes[:spaces]):
        if number % _COLUMNS == 0:
            ax.set_ylabel("behavior that attends")
            _mark(ax.yaxis, shown)
        if number + _COLUMNS >= spaces:
            ax.set_xlabel("behavior attended to (object, time before the query)")
            ax.xaxis.set_tick_params(labelbottom=True)
            _mark(ax.xaxis, shown)
            ax.tick_params(axis="x", rotation=90)
    figure.suptitle("Self-attention within one user's history, oldest behavior first")
    figure.colorbar(image, ax=axes, shrink=0.6, label="attention weight (1 over the whole history)")
    _legend(figure, shown)
    return figure


def draw_vanilla_attention(shown: Case) -> Figure:
    """Draws for each candidate how much it attends to each behavior, in each latent space.

    Example:

    >>> columns = {"group": ["item"], "action": ["buy"], "object": ["B7"], "days": [3.0]}
    >>> candidates = {"target": ["item"], "object": ["B9"], "logit": [0.5], "chosen": [True]}
    >>> weights = np.ones((4, 1, 1))
    >>> shown = Case(pd.DataFrame(columns), pd.DataFrame(candidates), weights, weights)
    >>> draw_vanilla_attention(shown).axes[0].get_title(loc="left")
    'item B9, chosen, logit 0.50'
    """
    spaces, num_candidates, count = shown.vanilla_attention.shape
    width = 3.2 + 0.24 * max(count, 12)
    height = 2.2 + num_candidates * (0.5 + 0.22 * spaces)
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(num_candidates, 1, sharex=True, squeeze=False).ravel()
    image: Any = None
    for number, (ax, line) in enumerate(zip(axes, shown.candidates.itertuples(), strict=True)):
        image = ax.imshow(
            shown.vanilla_attention[:, number],
            cmap="Greys",
            aspect="auto",
            norm=_shades(shown.vanilla_attention),
        )
        chosen = "chosen" if line.chosen else "not chosen"
        title = f"{line.target} {_plain(line.object)}, {chosen}, logit {line.logit:.2f}"
        ax.set_title(title, fontsize=9, loc="left")
        ax.set_yticks(range(spaces), [f"space {k + 1}" for k in range(spaces)], fontsize=7)
    _mark(axes[-1].xaxis, shown)
    axes[-1].tick_params(axis="x", rotation=90)
    axes[-1].set_xlabel("behavior (object, time before the query), oldest first")
    figure.suptitle("What candidates read of the history")
    figure.colorbar(image, ax=axes, label="attention weight")
    _legend(figure, shown)
    return figure


def draw_averages(frame: pd.DataFrame, attention: str) -> Figure:
    """Draws mean attention by time gap, group and action, a line or bar for each space.

    Args:
        frame: What `averages` returned.
        attention: Which attention in it.

    Example:

    >>> line = {"attention": "item", "by": "gap", "value": "from 1 h", "space": 1, "lift": 1.2}
    >>> figure = draw_averages(pd.DataFrame([line, {**line, "value": "from 4 h"}]), "item")
    >>> figure.get_suptitle()
    'What item candidates read of the history, on average'
    """
    lines = frame[frame["attention"] == attention]
    kinds = [by for by in ("gap", "group", "action") if by == "gap" or _several(lines, by)]
    widths = [max(3, lines.loc[lines["by"] == by, "value"].nunique()) for by in kinds]
    figure = Figure(figsize=(2 + 0.55 * sum(widths), 4), layout="constrained")
    axes = figure.subplots(1, len(kinds), squeeze=False, width_ratios=widths).ravel()
    for ax, by in zip(axes, kinds, strict=True):
        table = lines[lines["by"] == by].pivot_table(
            index="value", columns="space", values="lift", sort=False
        )
        _draw_lifts(ax, table[sorted(table.columns)], by)
    axes[0].set_ylabel("attention (1 is even attention)")
    if attention.startswith("self_attention_"):
        read = f"behaviors read of each other in {attention}"
    else:
        read = f"{_plain(attention)} candidates read of the history"
    figure.suptitle(f"What {read}, on average")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    return figure


def draw(shown: Case, frame: pd.DataFrame) -> dict[str, Figure]:
    """Draws everything that `maps.from_run` returned; the figures by name.

    Example:

    >>> columns = {"group": ["item"], "action": ["buy"], "object": ["B7"], "days": [3.0]}
    >>> candidates = {"target": ["item"], "object": ["B9"], "logit": [0.5], "chosen": [True]}
    >>> weights = np.ones((4, 1, 1))
    >>> shown = Case(pd.DataFrame(columns), pd.DataFrame(candidates), weights, weights)
    >>> line = {"attention": "item", "by": "gap", "value": "from 1 h", "space": 1, "lift": 1.2}
    >>> list(draw(shown, pd.DataFrame([line])))
    ['self-attention', 'vanilla-attention', 'average-item']
    """
    figures = {
        "self-attention": draw_self_attention(shown),
        "vanilla-attention": draw_vanilla_attention(shown),
    }
    for attention in frame["attention"].unique():
        name = f"average-{attention}".replace("_", "-")
        figures[name] = draw_averages(frame, attention)
    return figures


def write(figures: dict[str, Figure], directory: Path) -> list[Path]:
    """Writes each figure as SVG and PNG; returns the paths.

    Example:

    >>> [path.name for path in write({"empty": Figure(figsize=(1, 1))}, tmp)]
    ['empty.svg', 'empty.png']
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in figures.items():
        for suffix in ("svg", "png"):
            paths.append(directory / f"{name}.{suffix}")
            figure.savefig(paths[-1], dpi=150)
    return paths


def write_report(
    shown: Case, frame: pd.DataFrame, directory: Path, tensorboard: Path
) -> list[Path]:
    """Draws and writes everything that `maps.from_run` returned.

    Args:
        shown: The case.
        frame: The averages.
        directory: Where `averages.csv` and the figures go.
        tensorboard: Where the figures go as images for TensorBoard.

    Returns:
        The files in `directory`.

    Example:

    >>> columns = {"group": ["item"], "action": ["buy"], "object": ["B7"], "days": [3.0]}
    >>> candidates = {"target": ["item"], "object": ["B9"], "logit": [0.5], "chosen": [True]}
    >>> weights = np.ones((4, 1, 1))
    >>> shown = Case(pd.DataFrame(columns), pd.DataFrame(candidates), weights, weights)
    >>> line = {"attention": "item", "by": "gap", "value": "from 1 h", "space": 1, "lift": 1.2}
    >>> paths = write_report(shown, pd.DataFrame([line]), tmp / "attention", tmp / "tensorboard")
    >>> [path.name for path in paths][:3]
    ['averages.csv', 'self-attention.svg', 'self-attention.png']
    """
    figures = draw(shown, frame)
    paths = write(figures, directory)
    frame.to_csv(directory / "averages.csv", index=False)
    to_tensorboard(figures, tensorboard)
    return [directory / "averages.csv", *paths]


def to_tensorboard(figures: dict[str, Figure], directory: Path) -> None:
    """Writes the figures as images for TensorBoard.

    Example:

    >>> to_tensorboard({"empty": Figure(figsize=(1, 1))}, tmp)
    >>> len(list(tmp.glob("events.out.*")))
    1
    """
    writer = tf.summary.create_file_writer(str(directory))
    with writer.as_default(step=0):
        for name, figure in figures.items():
            png = io.BytesIO()
            figure.savefig(png, format="png", dpi=110)
            image = tf.image.decode_png(png.getvalue(), channels=3)
            tf.summary.image(f"attention/{name}", image[tf.newaxis])
    writer.close()


def _draw_lifts(ax: Any, table: pd.DataFrame, by: str) -> None:
    """Draws a line or bar for each space, which are the columns of the table."""
    x = np.arange(len(table))
    for number, space in enumerate(table.columns):
        color, label = _COLORS[number % len(_COLORS)], f"space {space}"
        if by == "gap":
            ax.plot(x, table[space], marker=".", color=color, label=label)
        else:
            width = 0.8 / len(table.columns)
            shift = (number - (len(table.columns) - 1) / 2) * width
            ax.bar(x + shift, table[space], width, color=color)
    ax.set_xticks(x, map(_plain, table.index), rotation=60, ha="right", fontsize=8)
    ax.axhline(1, color="black", linewidth=0.8, linestyle=":")
    ax.set_xlabel({"gap": "gap between reader and behavior"}.get(by, by))
    ax.grid(axis="y", alpha=0.3)


def _shades(weights: np.ndarray) -> PowerNorm:
    """Shades of the square root, so that small weights are seen beside large ones."""
    return PowerNorm(0.5, vmin=0, vmax=max(weights.max(), 1e-9))


def _several(frame: pd.DataFrame, by: str) -> bool:
    return frame.loc[frame["by"] == by, "value"].nunique() > 1


def _kind_colors(shown: Case) -> dict[tuple[str, str], str]:
    """A color for each group and action of the case."""
    pairs = sorted(set(zip(shown.behaviors["group"], shown.behaviors["action"], strict=True)))
    return {pair: to_hex(_COLORS[i % len(_COLORS)]) for i, pair in enumerate(pairs)}


def _mark(axis: Any, shown: Case) -> None:
    """Names the behaviors along an axis in the color of their group and action."""
    behaviors, colors = shown.behaviors, _kind_colors(shown)
    names = [
        f"{_plain(str(name)[:14])}, {duration(days)}"
        for name, days in zip(behaviors["object"], behaviors["days"], strict=True)
    ]
    axis.set_ticks(range(len(names)), names, fontsize=6)
    kinds = zip(behaviors["group"], behaviors["action"], strict=True)
    for label, kind in zip(axis.get_ticklabels(), kinds, strict=True):
        label.set_color(colors[kind])


def _plain(text: object) -> str:
    """Text in which a dollar is a dollar, not the beginning of a formula."""
    return str(text).replace("$", r"\$")


def _legend(figure: Figure, shown: Case) -> None:
    patches = [
        Patch(color=color, label=_plain(group if action == group else f"{group}: {action}"))
        for (group, action), color in _kind_colors(shown).items()
    ]
    figure.legend(handles=patches, loc="outside lower center", ncols=4, fontsize=8)
