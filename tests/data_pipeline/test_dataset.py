"""Batches cut out of timelines, compared with plain Python over the logs they came from."""

import dataclasses
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.batches.options import BatchOptions
from data_pipeline.core.errors import UserError
from data_pipeline.dataset import TimelineData
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Group, Schema, Split, Vocabulary
from data_pipeline.version import __version__
from tests.conftest import START, make_logs

Moment = dict[str, Any]


def moments(data: TimelineData, split: str, **options: Any) -> Iterator[Moment]:
    """Every example of a dataset as plain Python values, with raw ids."""
    users = pq.read_table(data.directory / "users.parquet")["user"].to_pylist()
    ids = {
        g.name: [None] * g.num_oov
        + pq.read_table(data.directory / f"objects/{g.name}.parquet")["object"].to_pylist()
        for g in data.schema.groups
    }
    draw = {name: options.pop(name) for name in ("seed", "epoch") if name in options}
    for inputs, labels in data.batches(split, BatchOptions(**options), **draw):
        labels, first = labels.numpy(), 0
        candidates: list[dict[str, list[tuple[Any, float]]]] = [{} for _ in inputs["user"]]
        for target in data.schema.targets:
            for i, row in enumerate(inputs["candidates"][target].to_list()):
                mine = labels[first : first + len(row)].tolist()
                first += len(row)
                candidates[i][target] = [
                    (ids[target][o], y) for o, y in zip(row, mine, strict=True)
                ]
        assert first == len(labels)
        histories = {
            group: [
                [(ids[group][o], a, t) for o, a, t in zip(*events, strict=True)]
                for events in zip(
                    *(history[name].to_list() for name in ("object", "action", "time")),
                    strict=True,
                )
            ]
            for group, history in inputs["history"].items()
        }
        for i, (user, query_time) in enumerate(
            zip(inputs["user"].numpy(), inputs["query_time"].numpy().tolist(), strict=True)
        ):
            yield {
                "user": users[user - 1],
                "query_time": query_time,
                "history": {group: rows[i] for group, rows in histories.items()},
                "candidates": candidates[i],
            }


def positives(moment: Moment, target: str = "item") -> list[Any]:
    return [o for o, y in moment["candidates"][target] if y]


def negatives(moment: Moment, target: str = "item") -> list[Any]:
    return [o for o, y in moment["candidates"][target] if not y]


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    source = tmp_path_factory.mktemp("logs")
    make_logs(source)
    return pd.read_parquet(source / "events.parquet")


def bounds(logs: pd.DataFrame) -> dict[int, tuple[int, int]]:
    """Leave-last-out: when validation and test begin for each user."""
    found = {}
    for user, mine in logs.groupby("user"):
        times = sorted(set(mine["time"]))
        found[user] = (times[-2] if len(times) > 2 else times[-1], times[-1])
    return found


@pytest.mark.parametrize("max_history", [3, 1000])
def test_examples_are_what_the_logs_say(
    data: TimelineData, logs: pd.DataFrame, max_history: int
) -> None:
    splits = bounds(logs)
    seen = 0
    for split in ("train", "validation", "test"):
        for moment in moments(data, split, max_history=max_history, seed=1):
            mine = logs[logs["user"] == moment["user"]]
            query_time, (validation, test) = moment["query_time"], splits[moment["user"]]
            expected_split = (
                "train"
                if query_time < validation
                else "validation"
                if query_time < test
                else "test"
            )
            assert split == expected_split
            for name, events in moment["history"].items():
                past = mine[(mine["group"] == name) & (mine["time"] < query_time)]
                assert len(events) == min(max_history, len(past))
                actions = {"buy": 1, "view": 2, "": 1}
                rows = sorted(zip(past["time"], past["object"], strict=True))[-max_history:]
                assert [t for _, _, t in events] == [t for t, _ in rows]
                every = {
                    (o, actions[a], t)
                    for o, a, t in zip(past["object"], past["action"], past["time"], strict=True)
                }
                assert set(events) <= every
            for target in ("item", "query"):
                wanted = mine[(mine["group"] == target) & (mine["time"] == query_time)]
                assert sorted(positives(moment, target)) == sorted(wanted["object"])
                seen += len(wanted)
    assert seen == len(logs)


def test_negatives_are_untouched_and_as_many_as_asked(
    data: TimelineData, logs: pd.DataFrame
) -> None:
    touched = logs.groupby(["user", "group"])["object"].agg(set)
    for split, count in (("train", 2), ("test", 7)):
        for moment in moments(data, split, num_negatives=count, seed=1):
            for target in ("item", "query"):
                wanted = positives(moment, target)
                found = negatives(moment, target)
                if not wanted:
                    assert not found
                    continue
                seen = touched.get((moment["user"], target), set())
                if split == "train":  # What a user touches later must not be given away.
                    mine = logs[(logs["user"] == moment["user"]) & (logs["group"] == target)]
                    before = mine["time"] < bounds(logs)[moment["user"]][0]
                    seen = set(mine["object"][before])
                assert not set(found) & seen
                if split == "train":
                    assert len(found) == count * len(wanted)
                else:  # Each object once, all of them where there are not as many as asked.
                    known = set(logs[logs["group"] == target]["object"])
                    assert len(set(found)) == len(found) == min(count, len(known - seen))


def test_no_feature_tells_of_the_target_or_later(tmp_path: Path, logs: pd.DataFrame) -> None:
    """Whatever happens from a moment on, its example has the same features."""
    cut = int(np.quantile(logs["time"], 0.7))
    split = Split("time", cut, cut)
    random = np.random.default_rng(5)
    features = []
    for name in ("as it was", "another future"):
        source = tmp_path / name
        source.mkdir()
        schema = dataclasses.replace(make_logs(source), split=split, user_id_type="int")
        events = logs.copy()
        if name == "another future":
            later = events["time"] >= cut
            is_item = later & (events["group"] == "item")
            events.loc[is_item, "object"] = random.integers(100, 140, is_item.sum())
            events.loc[is_item, "action"] = random.choice(["buy", "view"], is_item.sum())
            events = events.drop_duplicates()
        events.to_parquet(source / "events.parquet")
        prepare(schema, source / "out", [str(source / "events.parquet")], base_dir=source)
        data = TimelineData(source / "out")
        trained = [
            *moments(data, "train", seed=1, epoch=0),
            *windows(data, seed=1, epoch=0, max_history=10),
        ]
        first = {  # What each user's first moment after the cut shows of the past.
            m["user"]: m["history"]
            for m in sorted(moments(data, "test"), key=lambda m: -m["query_time"])
        }
        tables = {
            name: data.catalog[name]["train_counts"][: data.schema.group(name).num_trained]
            for name in ("item", "query")
        }
        vocabularies = {v.name: v.num_embeddings for v in data.schema.vocabularies}
        features.append((trained, first, tables, vocabularies))
    (trained, first, tables, vocabularies), (trained2, first2, tables2, vocabularies2) = features
    assert trained == trained2
    assert first == first2
    assert vocabularies == vocabularies2
    for name, counts in tables.items():
        np.testing.assert_array_equal(counts, tables2[name])


def as_bytes(dataset: Iterable[Any]) -> list[bytes]:
    return [
        b"".join(t.numpy().tobytes() for t in tf.nest.flatten(batch, expand_composites=True))
        for batch in dataset
    ]


def test_the_same_seed_gives_the_same_batches(data: TimelineData) -> None:
    first = as_bytes(data.batches("train", BatchOptions(max_tokens=400), seed=3, epoch=2))
    assert as_bytes(data.batches("train", BatchOptions(max_tokens=400), seed=3, epoch=2)) == first
    assert as_bytes(data.batches("train", BatchOptions(max_tokens=400), seed=4, epoch=2)) != first
    assert as_bytes(data.batches("train", BatchOptions(max_tokens=400), seed=3, epoch=3)) != first


def test_epochs_in_a_row_are_those_that_batches_gives_one_by_one(data: TimelineData) -> None:
    stream = list(data.epochs(2, 4, BatchOptions(max_tokens=400), seed=3))
    assert [int(epoch) for epoch, *_ in stream] == sorted(int(epoch) for epoch, *_ in stream)
    for epoch in (2, 3):
        found = [tuple(batch) for number, *batch in stream if number == epoch]
        assert as_bytes(found) == as_bytes(
            data.batches("train", BatchOptions(max_tokens=400), seed=3, epoch=epoch)
        )


@pytest.mark.parametrize("rows", ["queries", "windows"])
def test_batches_of_one_target_group_have_the_same_candidates(
    data: TimelineData, rows: str
) -> None:
    def drawn(single_target: bool) -> tuple[list[set[str]], list[tuple]]:
        options = BatchOptions(rows=rows, single_target=single_target, max_tokens=400)
        kinds, found = [], []
        for inputs, _ in data.batches("train", options, seed=3, epoch=0):
            kinds.append(
                {t for t, rows in inputs["candidates"].items() if rows.flat_values.shape[0]}
            )
            for target, objects in inputs["candidates"].items():
                times = (
                    inputs["query_time"][target]
                    if options.rows == "windows"
                    else inputs["query_time"][:, tf.newaxis]
                )
                for user, mine, query_time in zip(inputs["user"], objects, times, strict=True):
                    pairs = tf.stack(
                        [tf.broadcast_to(query_time, mine.shape), mine], axis=1
                    ).numpy()
                    found += [(target, int(user), *pair) for pair in pairs.tolist()]
        return kinds, found

    kinds, single = drawn(True)
    assert {frozenset(kind) for kind in kinds} == {frozenset({"item"}), frozenset({"query"})}
    assert sum(a != b for a, b in itertools.pairwise(kinds)) > 2  # Mixed.
    if rows == "windows":  # Windows differ, and where one begins nothing is trained.
        assert {(t, u) for t, u, *_ in single} == {(t, u) for t, u, *_ in drawn(False)[1]}
    else:
        assert sorted(single) == sorted(drawn(False)[1])


def test_fewer_groups_and_targets(data: TimelineData, data_dir: Path) -> None:
    one2one = TimelineData(data_dir, ["query"], ["query"])
    all2one = TimelineData(data_dir, targets=["query"])
    assert [v.name for v in one2one.schema.vocabularies] == ["query", "category"]
    assert one2one.num_targets("test") == data.manifest.targets["test"]["query"]
    everything = {(m["user"], m["query_time"]): m["candidates"] for m in moments(data, "test")}
    for chosen, groups in ((one2one, {"query"}), (all2one, {"item", "query"})):
        (inputs, _), *_ = chosen.batches("test")
        assert set(inputs["history"]) == groups
        for moment in moments(chosen, "test"):  # What else is read or predicted changes nothing.
            wanted = everything[moment["user"], moment["query_time"]]["query"]
            assert moment["candidates"] == {"query": wanted}


def test_weights_of_targets(data: TimelineData) -> None:
    for inputs, labels, weights in data.batches(
        "train", BatchOptions(target_weights={"query": 0.25})
    ):
        number = [inputs["candidates"][t].flat_values.shape[0] for t in ("item", "query")]
        np.testing.assert_array_equal(weights, np.repeat([1, 0.25], number))
        assert weights.shape == labels.shape


@pytest.mark.parametrize(
    ("groups", "targets", "expected"),
    [
        (["item", "x"], [], "group 'x': expected one of item, query"),
        ([], ["x"], "target 'x': expected one of item, query"),
        (["item"], ["query"], "target 'query' must be among the groups read: item"),
    ],
)
def test_groups_and_targets_that_there_are_not(
    data_dir: Path, groups: list[str], targets: list[str], expected: str
) -> None:
    with pytest.raises(UserError, match=expected):
        TimelineData(data_dir, groups, targets)


def test_each_iteration_is_a_new_epoch(data: TimelineData) -> None:
    dataset = data.batches("train", BatchOptions(max_tokens=400), seed=3)
    first, second = as_bytes(dataset), as_bytes(dataset)
    assert sorted(first) != sorted(second)
    again = data.batches("train", BatchOptions(max_tokens=400), seed=3)
    assert [as_bytes(again), as_bytes(again)] == [first, second]

    def drawn(epoch: int) -> dict[tuple, list]:
        found = moments(data, "train", seed=3, epoch=epoch)
        return {(m["user"], m["query_time"]): negatives(m) for m in found}

    one, other = drawn(0), drawn(1)
    assert set(one) == set(other)
    assert sum(one[key] != other[key] for key in one) > len(one) / 2


def test_evaluation_candidates_hang_on_nothing_but_the_moment(data: TimelineData) -> None:
    def candidates(**options: Any) -> dict[tuple, Any]:
        return {
            (m["user"], m["query_time"]): m["candidates"] for m in moments(data, "test", **options)
        }

    first = candidates()
    assert candidates(max_history=2, max_tokens=100) == first
    assert candidates(max_queries=10) == first


def test_batches_keep_to_the_budget_and_gather_like_lengths(data: TimelineData) -> None:
    padding = tokens = 0
    for inputs, _ in data.batches("train", BatchOptions(max_tokens=600), seed=1):
        lengths = sum(h["object"].row_lengths() for h in inputs["history"].values())
        counts = sum(c.row_lengths() for c in inputs["candidates"].values())
        total = int(tf.reduce_sum(lengths) + tf.reduce_sum(counts))
        largest = int(tf.reduce_max(lengths + counts))
        assert total < 600 + largest
        padding += int(tf.reduce_max(lengths)) * len(lengths)
        tokens += int(tf.reduce_sum(lengths))
    assert tokens > 0.7 * padding


Event = tuple[int, str, int]  # time, group, raw id


def windows(data: TimelineData, **options: Any) -> Iterator[dict[str, Any]]:
    """Every row of training on all positions: its events, and its candidates by moment."""
    users = pq.read_table(data.directory / "users.parquet")["user"].to_pylist()
    ids = {
        g.name: [None] * g.num_oov
        + pq.read_table(data.directory / f"objects/{g.name}.parquet")["object"].to_pylist()
        for g in data.schema.groups
    }
    draw = {name: options.pop(name) for name in ("seed", "epoch") if name in options}
    for inputs, labels in data.batches("train", BatchOptions(rows="windows", **options), **draw):
        labels, first = labels.numpy(), 0
        rows = [
            {"user": users[user - 1], "events": [], "candidates": {}}
            for user in inputs["user"].numpy()
        ]
        for name, history in inputs["history"].items():
            for row, objects, times in zip(
                rows, history["object"].to_list(), history["time"].to_list(), strict=True
            ):
                row["events"] += [
                    (t, name, ids[name][o]) for t, o in zip(times, objects, strict=True)
                ]
        for target, candidates in inputs["candidates"].items():
            for row, objects, times in zip(
                rows, candidates.to_list(), inputs["query_time"][target].to_list(), strict=True
            ):
                mine = labels[first : first + len(objects)].tolist()
                first += len(objects)
                for o, t, y in zip(objects, times, mine, strict=True):
                    row["candidates"].setdefault((t, target), []).append((ids[target][o], y))
        assert first == len(labels)
        yield from rows


def check_stretches(
    data: TimelineData, timelines: dict[int, list[Event]], max_history: int
) -> None:
    """Each training target comes once, and sees what it should of each group."""
    found: dict[int, list[Event]] = {user: [] for user in timelines}
    size = max(1, max_history // 2)
    for row in windows(data, max_history=max_history, seed=1, max_tokens=600):
        mine = [(t, group, o) for (t, group), c in row["candidates"].items() for o, y in c if y]
        assert 0 < len(mine) <= size
        found[row["user"]] += mine
        for group in data.schema.groups:
            timeline = [e for e in timelines[row["user"]] if e[1] == group.name]
            events = [e for e in row["events"] if e[1] == group.name]
            assert len(set(events)) == len(events)
            assert set(events) <= set(timeline)
            for target in mine:
                past = [e[0] for e in timeline if e[0] < target[0]]
                visible = sorted(e[0] for e in events if e[0] < target[0])
                assert visible == past[len(past) - len(visible) :]
                wanted = max_history if target[0] == max(mine)[0] else max_history - size
                assert len(visible) >= min(len(past), wanted)
    for user, timeline in timelines.items():
        assert sorted(found[user]) == [e for e in timeline if e[1] in data.schema.targets]


@pytest.mark.parametrize("targets", [("item", "query"), ("query",)])
@pytest.mark.parametrize("max_history", [1, 6, 1000])
def test_stretches_have_each_target_once_and_histories_for_all(
    data: TimelineData, logs: pd.DataFrame, max_history: int, targets: tuple[str, ...]
) -> None:
    timelines: dict[int, list[Event]] = {}
    for user, mine in logs.groupby("user"):
        before = mine[mine["time"] < bounds(logs)[user][0]]
        timelines[user] = sorted(
            zip(before["time"], before["group"], before["object"], strict=True)
        )
    data = TimelineData(data.directory)
    data.schema = dataclasses.replace(data.schema, targets=targets)
    check_stretches(data, timelines, max_history)


def test_stretches_where_many_events_share_a_moment(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    rows = {(1 + i % 2, int(random.integers(30)), int(random.integers(9))) for i in range(300)}
    logs = pd.DataFrame(sorted(rows), columns=["user", "object", "time"])
    logs.to_csv(tmp_path / "e.csv", index=False)
    prepare(Schema((Group("item"),), ("item",)), tmp_path / "out", [str(tmp_path / "e.csv")])
    timelines = {
        user: sorted((t, "item", o) for u, o, t in rows if u == user and t < 7) for user in (1, 2)
    }
    check_stretches(TimelineData(tmp_path / "out"), timelines, 6)


def test_all_positions_have_the_negatives_of_their_moments(data: TimelineData) -> None:
    options: dict[str, Any] = {"seed": 3, "epoch": 2, "num_negatives": 2}
    expected = {
        (m["user"], m["query_time"], target): sorted(m["candidates"][target])
        for m in moments(data, "train", **options)
        for target in data.schema.targets
        if m["candidates"][target]
    }
    found = {
        (row["user"], *moment): sorted(candidates)
        for row in windows(data, max_history=1000, **options)
        for moment, candidates in row["candidates"].items()
    }
    assert found == expected


def test_stretches_differ_from_epoch_to_epoch(data: TimelineData) -> None:
    first, second = (
        {tuple(sorted(row["candidates"])) for row in windows(data, max_history=10, epoch=epoch)}
        for epoch in (0, 1)
    )
    assert first != second


def test_all_positions_are_for_training_alone(data: TimelineData) -> None:
    with pytest.raises(UserError, match="rows is 'windows': for training alone, use 'queries'"):
        data.batches("test", BatchOptions(rows="windows"))
    with pytest.raises(UserError, match="max_queries: for rows='queries'; windows hold all"):
        data.batches("train", BatchOptions(rows="windows", max_queries=3))


@pytest.mark.parametrize(
    ("split", "rows"), [("train", "queries"), ("train", "windows"), ("test", "queries")]
)
def test_batches_are_counted_without_being_made(data: TimelineData, split: str, rows: str) -> None:
    options = BatchOptions(max_tokens=300, max_history=20, rows=rows)
    made = sum(1 for _ in data.batches(split, options))
    assert made > 3
    slack = (1 + (rows == "windows")) * (split == "train")
    assert abs(data.count_batches(split, options) - made) <= slack


def test_max_moments_are_chosen_anew_each_epoch(data: TimelineData) -> None:
    chosen = []
    for epoch in (0, 1):
        found = [
            (m["user"], m["query_time"]) for m in moments(data, "train", max_queries=2, epoch=epoch)
        ]
        counts = pd.Series([user for user, _ in found]).value_counts()
        assert counts.max() == 2
        chosen.append(set(found))
    assert chosen[0] != chosen[1]


def test_users_who_touched_everything_get_no_negatives(tmp_path: Path) -> None:
    rows = [(1, o, START + o) for o in range(5)] + [(1, 0, START + 50)]
    pd.DataFrame(rows, columns=["user", "object", "time"]).to_csv(tmp_path / "e.csv", index=False)
    schema = Schema((Group("item"),), ("item",))
    prepare(schema, tmp_path / "out", [str(tmp_path / "e.csv")])
    data = TimelineData(tmp_path / "out")
    (moment,) = moments(data, "test")
    assert moment["candidates"]["item"] == [(0, 1.0)]


def test_labelled_targets_are_the_candidates(tmp_path: Path) -> None:
    events = pd.DataFrame({"user": [1, 1, 1], "object": [5, 6, 7], "time": [10, 20, 30]})
    events.to_csv(tmp_path / "e.csv", index=False)
    shown = [
        (1, 5, 15, 1),
        (1, 6, 15, 0),
        (1, 7, 15, 0),
        (1, 6, 25, 0),
        (1, 5, 30, 1),
        (2, 5, 9, 1),
        (3, 5, 7, 1),
        (3, 6, 8, 0),
        (3, 5, 9, 1),
    ]
    pd.DataFrame(shown, columns=["user", "object", "time", "label"]).to_csv(
        tmp_path / "shown.csv", index=False
    )
    schema = Schema(
        (Group("item", impressions="shown.csv"),),
        ("item",),
        vocabularies=(Vocabulary("item", min_count=1),),
    )
    prepare(schema, tmp_path / "out", [str(tmp_path / "e.csv")], base_dir=tmp_path)
    data = TimelineData(tmp_path / "out")
    rows = {row["user"]: row for row in windows(data)}
    assert rows[1]["events"] == [(10, "item", 5)]
    assert rows[1]["candidates"] == {(15, "item"): [(5, 1.0), (6, 0.0), (7, 0.0)]}
    assert rows[3] == {"user": 3, "events": [], "candidates": {(7, "item"): [(5, 1.0)]}}
    assert set(rows) == {1, 3}
    found = {
        (m["user"], m["query_time"]): (m["history"]["item"], sorted(m["candidates"]["item"]))
        for split in ("train", "validation", "test")
        for m in moments(data, split)
    }
    assert found == {
        (1, 15): ([(5, 1, 10)], [(5, 1.0), (6, 0.0), (7, 0.0)]),
        (1, 25): ([(5, 1, 10), (6, 1, 20)], [(6, 0.0)]),
        (1, 30): ([(5, 1, 10), (6, 1, 20)], [(5, 1.0)]),
        (2, 9): ([], [(5, 1.0)]),
        (3, 7): ([], [(5, 1.0)]),
        (3, 8): ([], [(6, 0.0)]),
        (3, 9): ([], [(5, 1.0)]),
    }


@given(
    rows=st.lists(
        st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(0, 9)),
        min_size=1,
        max_size=100,
        unique=True,
    )
)
@settings(max_examples=3, deadline=None)  # Most of the time is what a dataset's start takes.
def test_any_logs_give_every_target_once(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int]]
) -> None:
    path = tmp_path_factory.mktemp("any")
    pd.DataFrame(rows, columns=["user", "object", "time"]).to_csv(path / "e.csv", index=False)
    prepare(Schema((Group("item"),), ("item",)), path / "out", [str(path / "e.csv")])
    data = TimelineData(path / "out")
    found = []
    for split in ("train", "validation", "test"):
        for m in moments(data, split, max_tokens=8):
            assert all(t < m["query_time"] for _, _, t in m["history"]["item"])
            found += [(m["user"], o, m["query_time"]) for o in positives(m)]
    assert sorted(found) == sorted(rows)


def test_unknown_split(data: TimelineData) -> None:
    with pytest.raises(UserError, match="split is 'dev': expected one of train, validation, test"):
        data.batches("dev")
    with pytest.raises(UserError, match="num_negatives is -1: expected 1 or more"):
        BatchOptions(num_negatives=-1)


def test_no_prepared_data(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no prepared data \(no manifest\.json\)"):
        TimelineData(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match=r"was written by a version before 0\.2\.0, this is 0\.2"):
        TimelineData(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"version": __version__}))
    with pytest.raises(UserError, match=r"manifest\.json: is no manifest of prepared data"):
        TimelineData(tmp_path)
