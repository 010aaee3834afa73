"""Preparation: its order never matters, what was there is not lost, and what recurs is counted."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.core.errors import UserError
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Group, Schema, Split
from tests.data_pipeline.prepare.failures import HEADER, ITEM, failure
from tests.data_pipeline.prepare.logs import ONE_GROUP, SMALL, events_of, write


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        (Split("time", 5, None), "split.test_start: missing; a split by time needs it"),
        (Split("time", "soon", 5), "split.validation_start: 'soon': expected an ISO 8601 date"),
        (Split("time", 9, 5), "split: validation_start 9 is after test_start 5"),
        (Split(validation_users=2), "split.validation_users is 2: expected 0 to 1"),
    ],
)
def test_bad_split(tmp_path: Path, split: Split, expected: str) -> None:
    schema = Schema((Group("item"),), ("item",), split=split)
    assert failure(tmp_path, schema, e=HEADER + "1,5,8\n").startswith(expected)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"on_bad_rows": "ignore"}, "on_bad_rows 'ignore': expected fail or skip"),
        ({"memory_budget_mb": 0}, "memory_budget_mb is 0: expected 1 or more"),
    ],
)
def test_bad_argument(tmp_path: Path, arguments: dict, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        prepare(ITEM, tmp_path / "out", **arguments)


def test_a_failed_overwrite_keeps_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text(HEADER + "1,5,8\n")
    prepare(ITEM, tmp_path / "out", [str(tmp_path / "e.csv")])
    manifest = (tmp_path / "out/manifest.json").read_text()
    (tmp_path / "e.csv").write_text(HEADER + "1,5,-8\n")
    with pytest.raises(UserError):
        prepare(ITEM, tmp_path / "out", [str(tmp_path / "e.csv")], overwrite=True)
    assert (tmp_path / "out/manifest.json").read_text() == manifest


@given(order=st.permutations(range(len(SMALL))), cut=st.integers(1, len(SMALL) - 1))
@settings(max_examples=10, deadline=None)
def test_order_of_rows_and_files_never_matters(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], cut: int
) -> None:
    path = tmp_path_factory.mktemp("order")
    write(SMALL.iloc[order[:cut]], path / "z.csv")
    write(SMALL.iloc[order[cut:]], path / "a.csv")
    shuffled = prepare(ONE_GROUP, path / "shuffled", [str(path / "?.csv")])
    plain = prepare(ONE_GROUP, path / "plain", [str(write(SMALL, path / "plain.csv"))])
    assert shuffled.fingerprint == plain.fingerprint


def test_other_events_have_another_fingerprint(tmp_path: Path) -> None:
    other = SMALL.assign(time=SMALL["time"] + (SMALL["object"] == 4))
    first = prepare(ONE_GROUP, tmp_path / "a", [str(write(SMALL, tmp_path / "a.csv"))])
    second = prepare(ONE_GROUP, tmp_path / "b", [str(write(other, tmp_path / "b.csv"))])
    assert first.fingerprint != second.fingerprint


def test_overwrite_replaces_prepared_data_and_nothing_else(tmp_path: Path) -> None:
    source = [str(write(SMALL, tmp_path / "e.csv"))]
    prepare(ONE_GROUP, tmp_path / "out", source)
    with pytest.raises(UserError, match="is not empty"):
        prepare(ONE_GROUP, tmp_path / "out", source)
    prepare(ONE_GROUP, tmp_path / "out", source, overwrite=True)
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/precious.txt").write_text("mine")
    with pytest.raises(UserError, match="not overwritten"):
        prepare(ONE_GROUP, tmp_path / "out", source, overwrite=True)
    assert (tmp_path / "out/precious.txt").read_text() == "mine"


def negatives_of(directory: Path) -> str:
    return Schema.load(directory).group("item").negatives


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(1, 4), st.integers(0, 15)),
        min_size=1,
        max_size=30,
        unique=True,
    )
)
@settings(max_examples=20, deadline=None)
def test_repeats_are_counted_among_training_targets(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int]]
) -> None:
    path = tmp_path_factory.mktemp("repeats")
    manifest = prepare(ONE_GROUP, path / "out", [str(write(events_of(rows), path / "e.csv"))])
    trained = []
    for user, item, time in rows:
        times = sorted({t for u, _, t in rows if u == user})
        if time < times[-2 if len(times) >= 3 else -1]:
            trained.append((user, item, time))
    repeats = [
        any((u, i) == (user, item) and t < time for u, i, t in rows) for user, item, time in trained
    ]
    share = sum(repeats) / max(1, len(trained))
    assert manifest.repeats == {"item": share}
    assert negatives_of(path / "out") == ("untaken" if share > 0.02 else "untouched")


@pytest.mark.parametrize(
    ("num_items", "negatives", "expected"),
    [
        (49, "", "untouched"),  # One training target of 50.
        (48, "", "untaken"),
        (49, "untaken", "untaken"),
        (2, "untouched", "untouched"),
    ],
)
def test_negatives_are_chosen_by_repeats_where_the_schema_leaves_it_open(
    tmp_path: Path, num_items: int, negatives: str, expected: str
) -> None:
    items = [*range(num_items), 0, 100, 101]
    source = write(events_of([(1, item, t) for t, item in enumerate(items)]), tmp_path / "e.csv")
    schema = Schema((Group("item", negatives=negatives),), ("item",))
    manifest = prepare(schema, tmp_path / "out", [str(source)])
    assert manifest.repeats == {"item": 1 / (num_items + 1)}
    assert negatives_of(tmp_path / "out") == expected


def test_where_nothing_is_sampled_no_negatives_are_chosen(tmp_path: Path) -> None:
    events = events_of([(1, 5, 10), (1, 5, 20), (1, 5, 30), (1, 5, 40)])
    write(events.assign(label=1), tmp_path / "shown.csv")
    source = write(events, tmp_path / "e.csv")
    labelled = Schema((Group("item", impressions="shown.csv"),), ("item",))
    prepare(labelled, tmp_path / "labelled", [str(source)], base_dir=tmp_path)
    assert negatives_of(tmp_path / "labelled") == ""
    groups = (Group("item", events=str(source)), Group("query", events=str(source)))
    manifest = prepare(Schema(groups, ("query",)), tmp_path / "no_target")
    assert negatives_of(tmp_path / "no_target") == ""
    assert set(manifest.repeats) == {"query"}
