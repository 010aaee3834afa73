"""Small logs, how they are written, and what becomes of them."""

from pathlib import Path

import pandas as pd
import tensorflow as tf

from data_pipeline.manifest import Manifest
from data_pipeline.schema import Group, Schema

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
