"""From files of logs to prepared data: what comes out, and that its order never matters."""

import dataclasses
import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.core.errors import UserError
from data_pipeline.dataset import TimelineData
from data_pipeline.manifest import Manifest
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Columns, Feature, Group, Schema, Split, Vocabulary

ONE_GROUP = Schema(groups=(Group("item"),), targets=("item",))
DAY = 86_400


def events_of(rows: list[tuple[object, object, object]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["user", "object", "time"])


SMALL = events_of([(u, o, 1000 + 10 * u + 7 * o) for u in range(6) for o in range(1, 5)])


def records(directory: Path) -> dict[str, dict[str, list]]:
    """Every timeline of prepared data as plain lists, by user."""
    users = {}
    for shard in Manifest.load(directory).shards:
        for record in tf.data.TFRecordDataset(str(directory / shard.file)).as_numpy_iterator():
            features = tf.train.Example.FromString(record).features.feature
            lists = {name: list(f.int64_list.value) for name, f in features.items()}
            users[features["user"].bytes_list.value[0].decode()] = lists
    return users


def write(frame: pd.DataFrame, path: Path) -> Path:
    kind = path.name.split(".")[1]
    if kind == "parquet":
        frame.to_parquet(path)
    elif kind == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, sep="\t" if kind == "tsv" else ",", index=False)
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "csv.gz", "jsonl.gz"])
def test_every_format_gives_the_same_data(tmp_path: Path, kind: str) -> None:
    expected = prepare(ONE_GROUP, tmp_path / "a", [str(write(SMALL, tmp_path / "e.parquet"))])
    found = prepare(ONE_GROUP, tmp_path / "b", [str(write(SMALL, tmp_path / f"e.{kind}"))])
    assert found.fingerprint == expected.fingerprint


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


def test_a_small_memory_budget_gives_more_shards_and_the_same_timelines(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    many = events_of([(u, o, 50 * u + o // 3) for u in range(40) for o in random.permutation(400)])
    source = str(write(many, tmp_path / "e.parquet"))
    prepare(ONE_GROUP, tmp_path / "large", [source])
    small = prepare(ONE_GROUP, tmp_path / "small", [source], memory_budget_mb=1)
    assert len(small.shards) > len(Manifest.load(tmp_path / "large").shards)

    def timelines(name: str) -> dict:
        found = records(tmp_path / name)
        return {u: {k: v for k, v in r.items() if k != "user_index"} for u, r in found.items()}

    assert timelines("small") == timelines("large")


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 4), st.integers(-3, 9), st.integers(0, 30)),
        min_size=1,
        unique=True,
    )
)
@settings(max_examples=25, deadline=None)
def test_timelines_are_what_pandas_says(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int]]
) -> None:
    path = tmp_path_factory.mktemp("timelines")
    frame = events_of(rows)
    prepare(ONE_GROUP, path / "out", [str(write(frame, path / "e.csv"))])
    ids = pq.read_table(path / "out/objects/item.parquet")["object"].to_pylist()
    found = records(path / "out")
    assert set(found) == set(frame["user"].astype(str))
    for user, mine in frame.groupby("user"):
        timeline = found[str(user)]
        objects = [ids[row - 1] for row in timeline["item/object"]]
        assert sorted(zip(timeline["item/time"], objects, strict=True)) == sorted(
            zip(mine["time"], mine["object"], strict=True)
        )
        keys = list(zip(timeline["item/time"], timeline["item/object"], strict=True))
        assert keys == sorted(keys)
        moments = sorted(set(mine["time"]))
        assert timeline["test_start"] == [moments[-1]]
        assert timeline["validation_start"] == [moments[-2 if len(moments) >= 3 else -1]]


def test_split_by_time_takes_dates_and_numbers(tmp_path: Path) -> None:
    frame = events_of([(1, o, o * DAY) for o in range(1, 10)])
    source = str(write(frame, tmp_path / "e.csv"))
    for name, split in {
        "dates": Split("time", "1970-01-04", "1970-01-07T12:00:00"),
        "numbers": Split("time", 3 * DAY, 6 * DAY + DAY // 2),
    }.items():
        schema = dataclasses.replace(ONE_GROUP, split=split)
        manifest = prepare(schema, tmp_path / name, [source])
        counts = {split: targets["item"] for split, targets in manifest.targets.items()}
        assert counts == {"train": 2, "validation": 4, "test": 3}
        assert Schema.load(tmp_path / name).split.test_start == 6 * DAY + DAY // 2


def test_only_a_share_of_the_users_is_validated(tmp_path: Path) -> None:
    frame = events_of([(u, o, o) for u in range(200) for o in range(4)])
    schema = dataclasses.replace(ONE_GROUP, split=Split(validation_users=0.3))
    manifest = prepare(schema, tmp_path / "out", [str(write(frame, tmp_path / "e.csv"))])
    assert 30 < manifest.targets["validation"]["item"] < 90
    assert manifest.targets["test"]["item"] == 200


def test_vocabularies_know_the_training_period_alone(tmp_path: Path) -> None:
    frame = events_of([(1, 7, 10), (1, 7, 20), (1, 8, 30), (1, 9, 90)])
    write(
        pd.DataFrame({"object": [9, 8, 7, 6], "color": ["new", "red", "red", "unsold"]}),
        tmp_path / "o.csv",
    )
    group = Group("item", features=(Feature("color"),), objects="o.csv")
    schema = Schema(
        groups=(group,),
        targets=("item",),
        split=Split("time", 50, 60),
        vocabularies=(Vocabulary("item", min_count=2), Vocabulary("color", min_count=1)),
    )
    prepare(schema, tmp_path / "out", [str(write(frame, tmp_path / "e.csv"))], base_dir=tmp_path)
    table = pq.read_table(tmp_path / "out/objects/item.parquet").to_pydict()
    assert table["object"] == [7, 8, 9, 6]  # trained by count, then logged, then known
    assert table["train_count"] == [2, 1, 0, 0]
    assert table["embedding_index"] == [1, 0, 0, 0]
    assert table["feature:color"] == [1, 1, 0, 0]
    group = Schema.load(tmp_path / "out").group("item")
    assert (group.num_trained, group.num_logged, group.num_objects) == (2, 3, 5)


def test_groups_share_a_vocabulary_and_a_feature_can_be_another_groups_ids(tmp_path: Path) -> None:
    write(pd.DataFrame({"object": [1, 2], "color": ["red", "blue"]}), tmp_path / "items.csv")
    coupons = pd.DataFrame({"object": ["x"], "color": ["red"], "items": ["2|1"]})
    write(coupons, tmp_path / "coupons.csv")
    schema = Schema(
        groups=(
            Group("item", features=(Feature("color"),), objects="items.csv"),
            Group(
                "coupon",
                features=(
                    Feature("color"),
                    Feature("for_items", column="items", vocabulary="item", multivalued=True),
                ),
                objects="coupons.csv",
                events="redeemed.csv",
            ),
        ),
        targets=("item",),
        vocabularies=tuple(Vocabulary(name, min_count=1) for name in ("item", "color", "coupon")),
    )
    write(events_of([(1, 2, 5), (1, 2, 6), (1, 1, 7), (1, 1, 9)]), tmp_path / "e.csv")
    write(events_of([(1, "x", 1)]), tmp_path / "redeemed.csv")
    prepare(schema, tmp_path / "out", [str(tmp_path / "e.csv")], base_dir=tmp_path)
    items = pq.read_table(tmp_path / "out/objects/item.parquet").to_pydict()
    coupons_found = pq.read_table(tmp_path / "out/objects/coupon.parquet").to_pydict()
    colors = dict(zip(items["object"], items["feature:color"], strict=True))
    assert coupons_found["feature:color"] == [colors[1]]
    assert sorted(coupons_found["feature:for_items"][0]) == sorted(items["embedding_index"])


def test_lists_and_separated_strings_are_the_same_feature(tmp_path: Path) -> None:
    tags = pd.DataFrame({"object": [1, 2, 3], "tags": [["a", "b", "a"], [], ["b"]]})
    tags.to_parquet(tmp_path / "lists.parquet")
    tags.assign(tags=["a; b;a", "", "b"]).to_csv(tmp_path / "strings.csv", index=False)
    source = str(write(events_of([(1, o, o) for o in (1, 2, 3)]), tmp_path / "e.csv"))
    found = []
    for name in ("lists.parquet", "strings.csv"):
        feature = Feature("tags", multivalued=True, separator=";")
        schema = Schema((Group("item", features=(feature,), objects=name),), ("item",))
        found.append(
            prepare(schema, tmp_path / f"out-{name}", [source], base_dir=tmp_path).fingerprint
        )
    assert found[0] == found[1]


def test_several_unknown_rows_are_chosen_by_hash(tmp_path: Path) -> None:
    frame = events_of([(1, o, 1) for o in range(50)] + [(1, 50, 2)])
    schema = dataclasses.replace(ONE_GROUP, vocabularies=(Vocabulary("item", 2, num_oov=8),))
    prepare(schema, tmp_path / "out", [str(write(frame, tmp_path / "e.csv"))])
    table = pq.read_table(tmp_path / "out/objects/item.parquet").to_pydict()
    expected = tf.strings.to_hash_bucket_fast([str(o) for o in table["object"]], 8).numpy()
    assert table["embedding_index"] == expected.tolist()
    assert len(set(table["embedding_index"])) > 4


def test_declared_string_ids_keep_their_zeros(tmp_path: Path) -> None:
    source = str(write(events_of([("01", "007", 1), ("01", "07", 2)]), tmp_path / "e.csv"))
    schema = dataclasses.replace(ONE_GROUP, groups=(Group("item", id_type="string"),))
    prepare(schema, tmp_path / "out", [source])
    assert pq.read_table(tmp_path / "out/objects/item.parquet")["object"].to_pylist() == [
        "007",
        "07",
    ]
    assert set(records(tmp_path / "out")) == {"01"}


def test_huge_ids_are_exact(tmp_path: Path) -> None:
    ids = [2**63 - 1, -(2**63), 2**53 + 1]
    source = str(write(events_of([(ids[0], o, 1) for o in ids]), tmp_path / "e.csv"))
    prepare(ONE_GROUP, tmp_path / "out", [source])
    assert pq.read_table(tmp_path / "out/objects/item.parquet")["object"].to_pylist() == sorted(ids)
    assert set(records(tmp_path / "out")) == {str(ids[0])}


@pytest.mark.parametrize(
    ("times", "unit", "expected"),
    [
        ([0, 5], "s", [0, 5]),
        ([0.5, 5.999], "s", [0, 5]),
        ([1_500_000_000_123, 1_500_000_000_124], "ms", [1_500_000_000_123, 1_500_000_000_124]),
        (["1970-01-01", "1970-01-02T00:00:01"], "s", [0, DAY + 1]),
        (["1970-01-01T01:00:00+01:00", "7"], "s", [0, 7]),
        (pd.to_datetime([0, 250], unit="ms"), "ms", [0, 250]),
        (pd.to_datetime([7200, DAY], unit="s").tz_localize("Europe/Oslo"), "s", [3600, 82800]),
    ],
)
def test_times_of_every_kind(tmp_path: Path, times: list, unit: str, expected: list) -> None:
    frame = pd.DataFrame({"user": [1, 1], "object": [1, 2], "time": times})
    schema = dataclasses.replace(ONE_GROUP, time_unit=unit)
    prepare(schema, tmp_path / "out", [str(write(frame, tmp_path / "e.parquet"))])
    assert records(tmp_path / "out")["1"]["item/time"] == expected


def test_labelled_targets_are_kept_apart_from_events(tmp_path: Path) -> None:
    write(events_of([(1, 5, 10), (1, 6, 20)]), tmp_path / "e.csv")
    shown = events_of([(1, 7, 15), (1, 6, 15), (1, 8, 25), (2, 5, 5)]).assign(label=[0, 1, 0, 1])
    write(shown, tmp_path / "shown.csv")
    schema = Schema((Group("item", impressions="shown.csv"),), ("item",))
    manifest = prepare(schema, tmp_path / "out", [str(tmp_path / "e.csv")], base_dir=tmp_path)
    assert manifest.events == {"item": 2}
    timeline = records(tmp_path / "out")["1"]
    ids = pq.read_table(tmp_path / "out/objects/item.parquet")["object"].to_pylist()
    assert [ids[r - 1] for r in timeline["item/object"]] == [5, 6]
    shown_found = zip(
        [ids[r - 1] for r in timeline["item/candidate"]],
        timeline["item/candidate_time"],
        timeline["item/label"],
        strict=True,
    )
    assert set(shown_found) == {(7, 15, 0), (6, 15, 1), (8, 25, 0)}
    assert timeline["test_start"] == [25]


def test_storage_is_linear_in_the_events(tmp_path: Path) -> None:
    sizes = []
    for length in (200, 2000):
        frame = events_of([(1, o % 50, o) for o in range(length)])
        source = str(write(frame, tmp_path / f"e{length}.csv"))
        manifest = prepare(ONE_GROUP, tmp_path / f"out{length}", [source])
        sizes.append(sum(shard.bytes for shard in manifest.shards))
    assert sizes[1] < 12 * sizes[0]


def test_manifest_and_checksums(tmp_path: Path) -> None:
    prepare(ONE_GROUP, tmp_path / "out", [str(write(SMALL, tmp_path / "e.csv"))])
    manifest = Manifest.load(tmp_path / "out")
    manifest.verify(tmp_path / "out")
    assert manifest.users == 6
    assert manifest.events == {"item": 24}
    assert manifest.time_range == (1007, 1078)
    shard = tmp_path / "out" / manifest.shards[0].file
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match="checksum differs"):
        manifest.verify(tmp_path / "out")
    shard.write_bytes(b"")
    with pytest.raises(UserError, match="has 0 bytes, expected"):
        TimelineData(tmp_path / "out")


def test_skipped_rows_are_listed(tmp_path: Path) -> None:
    frame = events_of(
        [(1, 5, "10"), (None, 5, "11"), (1, None, "12"), (1, 5, "x"), (1, 6, "-3"), (1, 5, "10")]
    )
    source = write(frame, tmp_path / "e.csv")
    manifest = prepare(ONE_GROUP, tmp_path / "out", [str(source)], on_bad_rows="skip")
    assert manifest.events == {"item": 1}
    listed = [
        json.loads(line) for line in (tmp_path / "out/rejected.jsonl").read_text().splitlines()
    ]
    assert [(entry["row"], entry["reason"]) for entry in listed] == [
        (2, "null id"),
        (3, "null id"),
        (4, "unreadable time"),
        (5, "negative time"),
        (6, "duplicate"),
    ]
    assert manifest.rejected == {
        "null id": 2,
        "unreadable time": 1,
        "negative time": 1,
        "duplicate": 1,
    }
    assert {entry["file"] for entry in listed} == {str(source)}


def test_own_table_with_own_columns(tmp_path: Path) -> None:
    frame = pd.DataFrame({"who": [1], "what": ["q"], "at": [3], "how": ["typed"]})
    write(frame, tmp_path / "searches.csv")
    columns = Columns(user="who", object="what", time="at", action="how")
    group = Group("query", actions=("spoken", "typed"), events="searches.csv", columns=columns)
    prepare(Schema((group,), ("query",)), tmp_path / "out", base_dir=tmp_path)
    assert records(tmp_path / "out")["1"]["query/action"] == [2]


def test_gzip_is_really_read(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "e.csv.gz", "wt") as stream:
        stream.write(SMALL.to_csv(index=False))
    assert prepare(ONE_GROUP, tmp_path / "out", [str(tmp_path / "e.csv.gz")]).users == 6


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
