"""Vocabularies: which values have an embedding index, and which groups share one."""

import dataclasses
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import tensorflow as tf

from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Feature, Group, Schema, Split, Vocabulary
from tests.data_pipeline.prepare.logs import ONE_GROUP, events_of, write


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


def test_several_unknown_indices_are_chosen_by_hash(tmp_path: Path) -> None:
    frame = events_of([(1, o, 1) for o in range(50)] + [(1, 50, 2)])
    schema = dataclasses.replace(ONE_GROUP, vocabularies=(Vocabulary("item", 2, num_oov=8),))
    prepare(schema, tmp_path / "out", [str(write(frame, tmp_path / "e.csv"))])
    table = pq.read_table(tmp_path / "out/objects/item.parquet").to_pydict()
    expected = tf.strings.to_hash_bucket_fast([str(o) for o in table["object"]], 8).numpy()
    assert table["embedding_index"] == expected.tolist()
    assert len(set(table["embedding_index"])) > 4
