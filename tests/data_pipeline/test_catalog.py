"""The catalog: what the tables of objects say, by object index."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_pipeline.catalog import load_catalog
from data_pipeline.dataset import TimelineData
from data_pipeline.schema import Feature, Group, Schema

TYPES = pa.schema(
    {
        "embedding_index": pa.int64(),
        "train_count": pa.int64(),
        "train_count:item": pa.int64(),
        "feature:color": pa.int64(),
        "feature:tag": pa.list_(pa.int64()),
        "fingerprint": pa.int64(),
        "fingerprint:color": pa.int64(),
        "fingerprint:tag": pa.list_(pa.int64()),
    }
)


def schema_of(num_oov: int) -> Schema:
    features = (Feature("color"), Feature("tag", multivalued=True))
    return Schema((Group("item", features=features, objects="o", num_oov=num_oov),), ("item",))


def write_objects(directory: Path, rows: list[tuple[int, int, int, list[int]]]) -> None:
    """Fingerprints are 100 more than indices, and a multi-valued feature has one value more."""
    (directory / "objects").mkdir()
    with_fingerprints = [
        (
            index,
            count,
            count // 2,
            color,
            tags,
            index + 100,
            color + 100,
            [tag + 100 for tag in [*tags, 7]],
        )
        for index, count, color, tags in rows
    ]
    columns = dict(zip(TYPES.names, map(list, zip(*with_fingerprints, strict=True)), strict=True))
    pq.write_table(pa.table(columns, TYPES), directory / "objects/item.parquet")


@pytest.mark.parametrize("num_oov", [1, 3])
def test_unknown_objects_come_first_and_have_no_value(tmp_path: Path, num_oov: int) -> None:
    write_objects(tmp_path, [(4, 9, 2, [5, 2**40]), (0, 0, 0, []), (5, 1, 3, [6])])
    item = load_catalog(str(tmp_path), schema_of(num_oov))["item"]
    unknown = [0] * num_oov
    assert item["embedding_indices"].tolist() == [*range(num_oov), 4, 0, 5]
    assert item["train_counts"].tolist() == [*unknown, 9, 0, 1]
    assert item["train_counts:item"].tolist() == [*unknown, 4, 0, 0]
    assert item["color/indices"].tolist() == [*unknown, 2, 0, 3]
    assert item["tag/splits"].tolist() == [0, *unknown, 2, 2, 3]
    assert item["tag/indices"].tolist() == [5, 2**40, 6]
    assert item["fingerprints"].tolist() == [*[-1] * num_oov, 104, 100, 105]
    assert item["color/fingerprints"].tolist() == [*[-1] * num_oov, 102, 100, 103]
    assert item["tag/fingerprint_splits"].tolist() == [0, *unknown, 3, 4, 6]
    assert item["tag/fingerprints"].tolist() == [105, 2**40 + 100, 107, 107, 106, 107]
    assert all(array.dtype == np.int64 for array in item.values())


def test_one_object_without_values_is_a_catalog(tmp_path: Path) -> None:
    write_objects(tmp_path, [(1, 2, 3, [])])
    item = load_catalog(tmp_path, schema_of(1))["item"]
    assert item["tag/splits"].tolist() == [0, 0, 0]
    assert len(item["tag/indices"]) == 0
    assert item["color/indices"].tolist() == [0, 3]


def test_prepared_objects_keep_their_values(data: TimelineData) -> None:
    catalog = load_catalog(data.directory, data.schema)
    assert set(catalog) == {"item", "query"}
    for group in data.schema.groups:
        arrays = catalog[group.name]
        rows: list[dict[str, Any]] = pq.read_table(
            data.directory / f"objects/{group.name}.parquet"
        ).to_pylist()
        assert len(arrays["train_counts"]) == group.num_objects == group.num_oov + len(rows)
        for index, row in enumerate(rows, start=group.num_oov):
            assert arrays["category/indices"][index] == row["feature:category"]
            assert arrays["embedding_indices"][index] == row["embedding_index"]
            if group.name == "item":
                first, limit = arrays["tag/splits"][index : index + 2]
                assert arrays["tag/indices"][first:limit].tolist() == row["feature:tag"]
            assert arrays["fingerprints"][index] == row["fingerprint"] >= 0
    assert "tag/splits" not in catalog["query"]
