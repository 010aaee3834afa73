"""Small logs that are written in many ways, and what becomes of them."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from data_pipeline.manifest import Manifest
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Csv, Group, Schema
from tests.data_pipeline.prepare.failures import ITEM

START = 1_700_000_000
ROWS = [(7, 5, START), (7, 6, START + 60), (8, 5, START + 30), (9, 4, START + 90)]
FRAME = pd.DataFrame(ROWS, columns=["user", "object", "time"])


def prepared(tmp_path: Path, *files: Path, schema: Schema = ITEM, **options: Any) -> Manifest:
    events = [str(file) for file in files]
    return prepare(schema, tmp_path / "out", events, tmp_path, overwrite=True, **options)


def with_csv(**settings: Any) -> Schema:
    return Schema((Group("item"),), ("item",), csv=Csv(**settings))


def users_of(tmp_path: Path) -> list[str]:
    return list(map(str, pq.read_table(tmp_path / "out/users.parquet")["user"].to_pylist()))


def objects_of(tmp_path: Path) -> list[str]:
    table = pq.read_table(tmp_path / "out/objects/item.parquet")["object"].to_pylist()
    return sorted(map(str, table))
