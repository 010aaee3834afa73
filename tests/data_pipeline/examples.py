"""Batches as plain Python values with raw ids, to be compared with the logs they came from."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from data_pipeline.batches.options import BatchOptions
from data_pipeline.dataset import TimelineData

Example = dict[str, Any]


def query_examples(data: TimelineData, split: str, **options: Any) -> Iterator[Example]:
    """Every example of a dataset as plain Python values, with raw ids."""
    users = pq.read_table(data.directory / "users.parquet")["user"].to_pylist()
    ids = {
        g.name: [None] * g.num_oov
        + pq.read_table(data.directory / f"objects/{g.name}.parquet")["object"].to_pylist()
        for g in data.schema.groups
    }
    draw = {name: options.pop(name) for name in ("seed", "epoch") if name in options}
    options = {"look_ups": False, **options}  # They take their time to trace.
    for inputs, labels in data.batches(split, BatchOptions(**options), **draw):
        labels, first = labels.numpy(), 0
        candidates: list[dict[str, list[tuple[Any, float]]]] = [{} for _ in inputs["user"]]
        for target in data.schema.target_names:
            for i, row in enumerate(inputs["candidates"][target].to_list()):
                row_labels = labels[first : first + len(row)].tolist()
                first += len(row)
                candidates[i][target] = [
                    (ids[target][o], y) for o, y in zip(row, row_labels, strict=True)
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


def positive_ids(example: Example, target: str = "item") -> list[Any]:
    return [o for o, y in example["candidates"][target] if y]


def negative_ids(example: Example, target: str = "item") -> list[Any]:
    return [o for o, y in example["candidates"][target] if not y]


def split_starts(logs: pd.DataFrame) -> dict[int, tuple[int, int]]:
    """Leave-last-out: when validation and test begin for each user."""
    starts: dict[Any, tuple[int, int]] = {}
    for user, of_user in logs.groupby("user"):
        times = sorted(set(of_user["time"]))
        starts[user] = (times[-2] if len(times) > 2 else times[-1], times[-1])
    return starts


Event = tuple[int, str, int]  # time, group, raw id


def window_rows(data: TimelineData, **options: Any) -> Iterator[dict[str, Any]]:
    """Every row of windows: its events, and its candidates by query time and target."""
    users = pq.read_table(data.directory / "users.parquet")["user"].to_pylist()
    ids = {
        g.name: [None] * g.num_oov
        + pq.read_table(data.directory / f"objects/{g.name}.parquet")["object"].to_pylist()
        for g in data.schema.groups
    }
    draw = {name: options.pop(name) for name in ("seed", "epoch") if name in options}
    options = {"rows": "windows", "look_ups": False, **options}
    for inputs, labels in data.batches("train", BatchOptions(**options), **draw):
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
                row_labels = labels[first : first + len(objects)].tolist()
                first += len(objects)
                for o, t, y in zip(objects, times, row_labels, strict=True):
                    row["candidates"].setdefault((t, target), []).append((ids[target][o], y))
        assert first == len(labels)
        yield from rows
