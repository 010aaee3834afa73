"""Attention of a run: over which queries it is averaged, and the case of one user."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from atrank_tf import ATRank, UserError
from atrank_tf.attention import maps as attention_maps
from atrank_tf.attention.averages import averages
from atrank_tf.attention.maps import case, find_query, from_run, object_names, user_index
from atrank_tf.attention.plots import draw_averages, draw_self_attention, draw_vanilla_attention
from atrank_tf.run_directory import RunDirectory
from data_pipeline.batches.options import BatchOptions
from data_pipeline.core import json_files
from data_pipeline.dataset import TimelineData
from data_pipeline.version import __version__
from tests.conftest import make_logs


def test_averages_are_over_queries_with_histories_of_all_lengths(
    trained_run: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(name: str) -> None:
        method = getattr(TimelineData, name)
        monkeypatch.setattr(
            TimelineData,
            name,
            lambda self, split, options: method(self, split, options.replace(max_tokens=4)),
        )

    def counted(_: ATRank, batches: tf.data.Dataset) -> list[int]:
        return [len(labels) for _, labels in batches]

    monkeypatch.setattr(attention_maps, "averages", counted)
    for name in ("batches", "count_batches"):
        small(name)
    _, sizes = from_run(RunDirectory(trained_run), str(data_dir))
    _, chosen = from_run(RunDirectory(trained_run), str(data_dir), num_batches=2)
    assert len(sizes) >= 4
    step = len(sizes) // 2
    assert chosen == sizes[step // 2 :: step]


def test_a_case_names_what_it_shows(model: ATRank, data: TimelineData, tmp_path: Path) -> None:
    names = object_names(data.directory / "objects", data.schema)
    query = find_query(data.batches("test", BatchOptions(num_negatives=2)))
    assert query is not None
    inputs, labels = query
    shown = case(model, inputs, labels, names)
    assert (shown.behaviors["days"] > 0).all()
    assert shown.behaviors["days"].is_monotonic_decreasing
    assert set(shown.behaviors["group"]) == {"item", "query"}
    assert set(shown.behaviors["object"]) <= {*map(str, range(100, 140)), *map(str, range(1, 9))}
    count = len(shown.behaviors)
    assert shown.self_attention.shape == (2, count, count)
    # Each behavior has the weights of its own object and time.
    history = inputs["history"]
    weights = model.attention(history, inputs["candidates"], inputs["query_time"])
    raw = [
        (names[group][row], (int(inputs["query_time"][0]) - time) / 86_400)
        for group, columns in history.items()
        for row, time in zip(columns["object"][0].numpy(), columns["time"][0].numpy(), strict=True)
    ]
    positions = [
        raw.index(behavior)
        for behavior in zip(shown.behaviors["object"], shown.behaviors["days"], strict=True)
    ]
    expected = weights["self_attention_0"].numpy()[:, 0][:, positions][:, :, positions]
    np.testing.assert_allclose(shown.self_attention, expected, atol=1e-6)
    vanilla = np.concatenate(
        [weights[t][:, 0, : rows.row_lengths()[0]] for t, rows in inputs["candidates"].items()],
        axis=1,
    )
    np.testing.assert_allclose(shown.vanilla_attention, vanilla[:, :, positions], atol=1e-6)
    sums = shown.vanilla_attention.sum(axis=2)
    np.testing.assert_allclose(sums, np.ones((2, len(shown.candidates))), atol=1e-5)
    # What the logs have of the user at that time is what a picture calls chosen.
    make_logs(tmp_path)
    events = pd.read_parquet(tmp_path / "events.parquet")
    user = pd.read_parquet(data.directory / "users.parquet")["user"][int(inputs["user"][0]) - 1]
    at = events[(events["user"] == user) & (events["time"] == int(inputs["query_time"][0]))]
    touched = set(zip(at["group"], at["object"].astype(str), strict=True))
    lines = list(shown.candidates.itertuples())
    assert [line.chosen for line in lines] == [(x.target, x.object) in touched for x in lines]
    assert 0 < shown.candidates["chosen"].sum() < len(lines)
    titles = [ax.get_title(loc="left") for ax in draw_vanilla_attention(shown).axes[: len(lines)]]
    assert ["not chosen" not in title for title in titles] == [line.chosen for line in lines]
    for draw in (draw_self_attention, draw_vanilla_attention):
        texts = {text.get_text() for text in draw(shown).legends[0].get_texts()}
        assert texts <= {"item: buy", "item: view", "item: unknown", "query", "query: unknown"}
    figure = draw_averages(averages(model, data.batches("test").take(1)), "item")
    assert figure.axes[0].get_xlabel() == "gap between reader and behavior"


def test_a_user_is_found_by_their_id(data: TimelineData) -> None:
    index = user_index(data.directory, "7")
    query = find_query(data.batches("test"), index)
    assert query is not None
    assert query[0]["user"].numpy().tolist() == [index]
    assert find_query(data.batches("test"), 10**6) is None
    with pytest.raises(UserError, match="user 'x': is in none of the logs"):
        user_index(data.directory, "x")


def test_other_models_have_no_such_attention(data_dir: Path, tmp_path: Path) -> None:
    settings = {"version": __version__, "model": "popularity"}
    json_files.write(tmp_path / "settings.json", json_files.sealed(settings))
    with pytest.raises(UserError, match="holds a popularity; attention is atrank's"):
        from_run(RunDirectory(tmp_path), str(data_dir))
