"""Figures of experiments: their lines are the numbers that were measured."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from atrank_tf.evaluate.ranking_metrics import PerUser
from atrank_tf.experiment.figures import draw_curves, draw_density, line_styles
from atrank_tf.experiment.runner import Result, Results, Trial
from atrank_tf.experiment.suites import Entry
from atrank_tf.train.settings import Settings


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that a test draws, kept instead of written."""
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, _: drawn.append(figure))
    return drawn


def result(target: str, *curves: list[tuple[float, float]]) -> Result:
    trials = [Trial(Path(), {}, None, curve, {}) for curve in curves]
    return Result(Entry("", Settings(targets=[target])), trials)


def test_thirty_entries_have_lines_that_differ() -> None:
    styles = line_styles(map(str, range(31)))
    lines = [tuple(style.values()) for style in styles.values()]
    assert list(styles) == [*map(str, range(31))]
    assert len(set(lines[:30])) == 30
    assert lines[30] == lines[0]


def test_curves_are_those_of_the_trials_and_targets_have_panels(figures: list[Figure]) -> None:
    first, second = [(1.0, 0.6), (9.0, 0.7)], [(2.0, 0.5)]
    results: Results = {
        "a": result("item", first, second),
        "b": result("query", first),
        "c": result("item", []),
    }
    styles = line_styles(results)
    assert draw_curves(results, styles, Path("c.svg")) == Path("c.svg")
    item, query = figures[0].axes
    assert [axes.get_ylabel() for axes in (item, query)] == [
        "validation AUC of item",
        "validation AUC of query",
    ]
    curves = [[*zip(*line.get_data(), strict=True)] for line in item.get_lines()]
    assert curves == [first, second]
    assert item.get_legend_handles_labels()[1] == ["a"]  # Once, however many seeds; c has none.
    assert [line.get_color() for line in item.get_lines()] == [styles["a"]["color"]] * 2
    assert query.get_legend_handles_labels()[1] == ["b"]
    assert item.get_xscale() == "log"


def test_curves_of_nothing_have_no_legend(figures: list[Figure]) -> None:
    draw_curves({"a": result("item", [])}, line_styles(["a"]), Path("c.svg"))
    assert figures[0].axes[0].get_legend() is None


def test_density_has_means_and_errors_of_each_part(figures: list[Figure]) -> None:
    aucs = {"a": [0.5, 0.9, 1.0, np.nan], "b": [0.1, 0.2, 0.6, 0.7]}
    ids, ones = np.arange(4), np.ones(4, int)
    users = {label: PerUser(ids, ones, {"auc": np.array(auc)}) for label, auc in aucs.items()}
    density = {
        "1 to 4": np.array([True, True, False, False]),
        "5 to 8": np.array([False, False, True, False]),
        "9 to 9": np.array([False, False, False, True]),
    }
    path = draw_density(users, density, line_styles(users), "item", Path("d.svg"))
    assert path == Path("d.svg")
    (axes,) = figures[0].axes
    assert axes.get_ylabel() == "AUC of item"
    assert [label.get_text() for label in axes.get_xticklabels()] == list(density)
    parts: list[list[Any]] = [container.get_children() for container in axes.containers]
    first, second = parts
    np.testing.assert_allclose(np.array(first[0].get_ydata(), float), [0.7, 1.0, np.nan])
    np.testing.assert_allclose(np.array(second[0].get_ydata(), float), [0.15, 0.6, 0.7])
    assert (first[0].get_xdata() < second[0].get_xdata()).all()  # Side by side.
    low, high = first[-1].get_segments()[0][:, 1]
    np.testing.assert_allclose([low, high], [0.7 - 1.96 * 0.2 / 2**0.5, 0.7 + 1.96 * 0.2 / 2**0.5])
    assert [text.get_text() for text in figures[0].legends[0].get_texts()] == ["a", "b"]


def test_figures_are_written_as_svg(tmp_path: Path) -> None:
    results: Results = {"a": result("item", [(1.0, 0.6)])}
    assert "<svg" in draw_curves(results, line_styles(results), tmp_path / "c.svg").read_text()
