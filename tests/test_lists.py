"""Candidates that were logged in lists, at positions: data, losses, metrics and models."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from atrank_tf import ATRank, BPRLoss, Columns, Group, Popularity, Schema, Split
from atrank_tf.evaluate.evaluation import evaluate
from atrank_tf.evaluate.ranking_metrics import Scored, per_positive
from atrank_tf.evaluate.scoring import Scoring
from atrank_tf.run_directory import RunDirectory
from atrank_tf.train.loop import train
from data_pipeline.batches.options import BatchOptions
from data_pipeline.dataset import TimelineData
from data_pipeline.prepare.pipeline import prepare
from tests.atrank_tf.sizes import TINY
from tests.atrank_tf.train.settings import SIMPLEST
from tests.data_pipeline.batches.eager import EagerData
from tests.data_pipeline.prepare.failures import failure

NUM_USERS, NUM_LISTS, LENGTH = 12, 20, 5
SCHEMA = Schema(
    (
        Group(
            "hotel",
            impressions="shown.csv",
            events="clicks.csv",
            impression_columns=Columns(label="click", list="session", position="rank"),
        ),
    ),
    ("hotel",),
    split=Split("time", validation_start=12_000, test_start=16_000),
)


@pytest.fixture(scope="module")
def shown() -> pd.DataFrame:
    """Lists of five hotels; the higher a hotel stood, the more often it was clicked.

    Those of an even number were shown at one time, of the others each hotel a second later.
    """
    random = np.random.default_rng(3)
    lists = []
    for user, number in itertools.product(range(1, NUM_USERS + 1), range(NUM_LISTS)):
        rank = 1 + np.arange(LENGTH)
        time = 1000 * number + (number % 2) * rank
        click = random.random(LENGTH) < 0.9 / rank
        hotel = random.choice(30, LENGTH, replace=False)
        lists.append(
            {"user": user, "object": hotel, "time": time, "click": click.astype(int), "rank": rank}
            | {"session": f"s{number}"}  # As those of other users are called, too.
        )
    return pd.concat([pd.DataFrame(columns) for columns in lists], ignore_index=True)


@pytest.fixture(scope="module")
def data(shown: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> EagerData:
    source = tmp_path_factory.mktemp("lists")
    shown.to_csv(source / "shown.csv", index=False)
    clicks = shown[shown["click"] == 1][["user", "object", "time"]]
    clicks.to_csv(source / "clicks.csv", index=False)
    prepare(SCHEMA, source / "data", base_dir=source)
    return EagerData(source / "data")


def test_preparation_finds_the_positions(data: EagerData) -> None:
    group = data.schema.group("hotel")
    assert (group.first_position, group.num_positions) == (1, LENGTH + 1)


def user_ids(data: TimelineData) -> np.ndarray:
    """The raw ids of user indices."""
    return np.array([-1, *pd.read_parquet(data.directory / "users.parquet")["user"]])


def rows_of(inputs: dict[str, Any], labels: tf.Tensor, name: str) -> pd.DataFrame:
    objects = inputs["candidates"]["hotel"]
    columns = {
        "user": tf.gather(inputs["user"], objects.value_rowids()),
        "object": objects.flat_values,
        "click": tf.cast(labels, tf.int64),
        name: inputs[name]["hotel"].flat_values,
    }
    return pd.DataFrame({key: column.numpy() for key, column in columns.items()})


@pytest.mark.parametrize("rows", ["queries", "windows"])
def test_training_batches_have_lists_and_positions(
    data: EagerData, shown: pd.DataFrame, rows: str
) -> None:
    options = BatchOptions(rows=rows, look_ups=False)
    batches: list[tuple[Any, Any]] = list(data.batches("train", options))
    ids = [None, *pd.read_parquet(data.directory / "objects/hotel.parquet")["object"]]
    found = pd.concat([rows_of(batch[0], batch[1], "positions") for batch in batches])
    found = found.assign(
        object=[ids[i] for i in found["object"]], user=user_ids(data)[found["user"]]
    ).astype(int)
    expected = shown[shown["time"] < 12_000].rename(columns={"rank": "positions"})
    names = ["user", "object", "click", "positions"]
    assert sorted(map(tuple, found[names].to_numpy())) == sorted(
        map(tuple, expected[names].to_numpy())
    )
    in_lists = pd.concat([rows_of(batch[0], batch[1], "lists") for batch in batches])
    sizes = in_lists.groupby(["user", "lists"]).size()
    assert len(sizes) == NUM_USERS * 12
    assert set(sizes) == {LENGTH}


def test_only_training_knows_positions(data: EagerData) -> None:
    for inputs, _ in data.batches("test"):
        assert "positions" not in inputs
        assert "lists" in inputs


@pytest.mark.parametrize("max_history", [2, 6, 16])
def test_windows_do_not_divide_what_was_shown_at_one_time(
    data: EagerData, shown: pd.DataFrame, max_history: int
) -> None:
    options = BatchOptions(rows="windows", max_history=max_history, look_ups=False)
    seen = set()
    for inputs, _ in data.batches("train", options):
        times = inputs["query_time"]["hotel"]
        for user, row in zip(inputs["user"].numpy().tolist(), times.to_list(), strict=True):
            for time in set(row):
                assert (user, time) not in seen
                seen.add((user, time))
    in_training = shown[shown["time"] < 12_000]
    assert len(seen) == len(in_training.drop_duplicates(["user", "time"]))


def test_metrics_are_those_of_lists(data: EagerData, shown: pd.DataFrame) -> None:
    """Those of several times, too: by hand, from the logs and the scores."""
    ids = [None, *pd.read_parquet(data.directory / "objects/hotel.parquet")["object"]]
    scores = np.random.default_rng(1).random(len(ids))

    class Fixed(Popularity):
        def score_target(self, target, state, objects, query_times, training=False):  # type: ignore[no-untyped-def]
            return tf.gather(tf.constant(scores, tf.float32), objects)

    batches = TimelineData(data.directory).batches("test", BatchOptions(look_ups=False))
    scoring = Scoring(Fixed(data.schema, data.catalog), batches)
    scored = scoring.run()["hotel"]
    assert scored.in_lists
    expected = []
    of_object = {raw: scores[i] for i, raw in enumerate(ids)}
    for (user, _), rows in shown[shown["time"] >= 16_000].groupby(["user", "session"]):
        of_rows = rows["object"].map(of_object)
        for score in of_rows[rows["click"] == 1]:
            others = of_rows[rows["click"] == 0]
            if len(others):
                expected.append((user, (others < score).mean()))
    positives = per_positive(scored)
    measured = [
        (user, value)
        for user, value in zip(user_ids(data)[positives.user], positives.values["auc"], strict=True)
        if not np.isnan(value)
    ]
    assert np.allclose(sorted(measured), sorted(expected))
    together = scoring.positives()["hotel"].values["auc"]
    assert np.allclose(np.sort(together), np.sort(positives.values["auc"]))


def test_auc_of_logged_candidates_without_lists_is_by_user() -> None:
    user, label = np.array([1, 1, 1, 1]), np.array([1, 0, 1, 0])
    query, logit = np.array([0, 0, 1, 1]), np.array([0.1, 0.0, 0.9, 0.8])
    listed = Scored(user, query, label, logit, labelled=True, in_lists=True)
    assert per_positive(listed).values["auc"].tolist() == [1.0, 1.0]
    assert per_positive(Scored(user, query, label, logit, True)).values["auc"].tolist() == [0.5, 1]


def test_a_loss_by_pairs_compares_within_lists() -> None:
    random = np.random.default_rng(5)
    labels, lists = random.integers(0, 2, 60), random.integers(0, 9, 60)
    logits = random.normal(size=60).astype(np.float32)
    leads = [
        logits[i] - logits[j]
        for i, j in itertools.product(range(60), repeat=2)
        if lists[i] == lists[j] and labels[i] > labels[j]
    ]
    loss = BPRLoss()(tf.constant(np.stack([labels, lists], axis=1), tf.float32), logits)
    assert float(loss) == pytest.approx(np.mean(np.log1p(np.exp(-np.array(leads)))), rel=1e-5)


def test_the_model_tells_the_loss_the_lists(data: EagerData) -> None:
    model = ATRank(data.schema, data.catalog, **TINY)
    model.compile(loss=BPRLoss())
    ((inputs, labels),) = data.batches("train", BatchOptions(max_tokens=10**6))
    logits = tf.random.stateless_normal(tf.shape(labels), [1, 2])
    rows = rows_of(inputs, labels, "lists").assign(logit=logits)
    leads = [
        positive - negative
        for _, of_list in rows.groupby(["user", "lists"])
        for positive in of_list["logit"][of_list["click"] == 1]
        for negative in of_list["logit"][of_list["click"] == 0]
    ]
    loss = model.compute_loss(inputs, labels, logits)
    assert float(loss) == pytest.approx(np.mean(np.log1p(np.exp(-np.array(leads)))), rel=1e-4)


def test_a_model_learns_what_positions_do_and_scores_as_at_the_first(
    data: EagerData, tmp_path: Path
) -> None:
    settings = SIMPLEST.replace(loss="pointwise", epochs=20, learning_rate=0.05, patience=20)
    train(str(data.directory), str(tmp_path / "run"), settings)
    model = RunDirectory(tmp_path / "run").load_best()
    weights = model.position_weights["hotel"].table.numpy()[:, 0]
    assert weights[1] > weights[2] > weights[5]
    ((inputs, _),) = data.batches("test", BatchOptions(max_tokens=10**6))
    at_first = tf.nest.map_structure(tf.ones_like, inputs["candidates"])
    np.testing.assert_allclose(model(inputs), model({**inputs, "positions": at_first}), atol=1e-6)
    far_down = tf.nest.map_structure(lambda x: 1000 * tf.ones_like(x), inputs["candidates"])
    lower = model({**inputs, "positions": far_down})
    np.testing.assert_allclose(model(inputs) - lower, weights[1] - weights[5], atol=1e-4)


def test_a_run_of_pairs_is_evaluated_by_lists(data: EagerData, tmp_path: Path) -> None:
    settings = SIMPLEST.replace(loss="bpr")
    train(str(data.directory), str(tmp_path / "run"), settings)
    report = evaluate(str(data.directory), str(tmp_path / "run"))
    assert report["protocol"]["kind"] == {"hotel": "lists"}
    assert 0 < report["targets"]["hotel"]["auc"]["value"] < 1


@pytest.mark.parametrize(
    ("session", "rank", "message"),
    [
        ("a", "-1", "column 'rank': '-1': expected an integer of 0 or more"),
        ("a", "top", "column 'rank': 'top': expected an integer of 0 or more"),
        ("a", "", "column 'rank': empty: expected an integer of 0 or more"),
        ("", "1", "column 'session': empty: expected an id"),
    ],
)
def test_bad_places(tmp_path: Path, session: str, rank: str, message: str) -> None:
    shown = f"user,object,time,click,session,rank\n1,5,8,1,a,1\n1,6,8,0,{session},{rank}\n"
    told = failure(tmp_path, SCHEMA, shown=shown, clicks="user,object,time\n1,5,8\n")
    assert told.startswith(f"shown.csv: row 2: {message}")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_lists_may_be_packed_in_rows(tmp_path: Path, kind: str) -> None:
    """The same data as with a row for each candidate."""
    lists = [
        (1, 1_700_000_000, [5, 7, 9], [7]),
        (2, 1_700_000_100, [7], []),
        (1, 1_700_000_200, [9, 5], [5, 9]),
    ]
    rows = [
        {"user": u, "object": o, "time": t, "click": int(o in taken), "session": n, "rank": rank}
        for n, (u, t, shown, taken) in enumerate(lists)
        for rank, o in enumerate(shown)
    ]
    clicks = [{"user": u, "object": o, "time": t} for u, t, _, taken in lists for o in taken]
    pd.DataFrame(clicks).to_csv(tmp_path / "clicks.csv", index=False)
    packed = pd.DataFrame(lists, columns=["user", "time", "object", "click"])
    if kind == "csv":
        text = {
            name: packed[name].map(lambda ids: "|".join(map(str, ids)))
            for name in ("object", "click")
        }
        packed.assign(**text).to_csv(tmp_path / "packed.csv", index=False)
    elif kind == "jsonl":
        packed.to_json(tmp_path / "packed.jsonl", orient="records", lines=True)
    else:
        packed.to_parquet(tmp_path / "packed.parquet")
    pd.DataFrame(rows).to_csv(tmp_path / "shown.csv", index=False)
    found = []
    for impressions, columns in (
        ("shown.csv", Columns(label="click", list="session", position="rank")),
        (f"packed.{kind}", Columns(label="click", separator="|")),
    ):
        group = Group(
            "hotel", impressions=impressions, events="clicks.csv", impression_columns=columns
        )
        out = tmp_path / impressions.replace(".", "_")
        prepare(Schema((group,), ("hotel",)), out, base_dir=tmp_path)
        data = EagerData(out)
        found.append(
            [
                (int(u), o, y, p)
                for inputs, labels in data.batches("train", BatchOptions(look_ups=False))
                for u, o, y, p in zip(
                    tf.gather(inputs["user"], inputs["candidates"]["hotel"].value_rowids()).numpy(),
                    inputs["candidates"]["hotel"].flat_values.numpy().tolist(),
                    labels.numpy().tolist(),
                    inputs["positions"]["hotel"].flat_values.numpy().tolist(),
                    strict=True,
                )
            ]
        )
        assert data.schema.group("hotel").num_positions == 3
    assert sorted(found[0]) == sorted(found[1])


def test_what_packed_lists_cannot_be(tmp_path: Path) -> None:
    clicks = "user,object,time\n1,5,1700000000\n"
    group = Group(
        "hotel",
        impressions="shown.csv",
        events="clicks.csv",
        impression_columns=Columns(separator="|"),
    )
    schema = Schema((group,), ("hotel",))
    for row, expected in (
        ("1,5|6,1700000000,7", "row 1: column 'label': '7': expected objects of 'object', which"),
        ("1,,1700000000,", "row 1: '': has 0 values: expected 1"),
    ):
        shown = f"user,object,time,label\n{row}\n"
        assert failure(tmp_path, schema, shown=shown, clicks=clicks).startswith(
            f"shown.csv: {expected}"
        )
