"""Parsing: ids, times and lists of every kind."""

import dataclasses
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Feature, Group, Schema
from tests.data_pipeline.prepare.logs import DAY, ONE_GROUP, events_of, records, write


def test_lists_and_separated_strings_are_the_same_feature(tmp_path: Path) -> None:
    tags = pd.DataFrame({"object": [1, 2, 3], "tags": [["a", "b", "a"], [], ["b"]]})
    tags.to_parquet(tmp_path / "lists.parquet")
    tags.assign(tags=["a; b;a", "", "b"]).to_csv(tmp_path / "strings.csv", index=False)
    source = str(write(events_of([(1, o, o) for o in (1, 2, 3)]), tmp_path / "e.csv"))
    fingerprints = []
    for name in ("lists.parquet", "strings.csv"):
        feature = Feature("tags", multivalued=True, separator=";")
        schema = Schema((Group("item", features=(feature,), objects=name),), ("item",))
        fingerprints.append(
            prepare(schema, tmp_path / f"out-{name}", [source], base_dir=tmp_path).fingerprint
        )
    assert fingerprints[0] == fingerprints[1]


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
