"""Attention averaged over many queries: by time gap, group and action."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from atrank_tf.attention.behaviors import behavior_table
from atrank_tf.layers.time_buckets import day_bounds, fine_bounds
from atrank_tf.models import ATRank
from data_pipeline.core.errors import UserError

_COLUMNS = ["attention", "by", "value", "space", "pairs", "weight", "lift"]


def averages(model: ATRank, batches: Iterable[tuple[dict[str, Any], tf.Tensor]]) -> pd.DataFrame:
    """Averages attention by time gap, group and action.

    Args:
        model: The model.
        batches: Batches of queries, as `TimelineData.batches` gives them. Of the candidates
            only the positives count.

    Returns:
        One line for each `attention` (a self-attention block, or a target), `space` (from 1), `by`
        ("gap", "group", "action") and `value`: over `pairs` of one that attends and a behavior
        that it sees, the mean `weight`, and the mean `lift`, the weight times the number
        of behaviors seen: 1 is what even attention would give, however long the history.

    Raises:
        UserError: There is no query with a history.

    Example:

    >>> schema, catalog = toy_schema_and_catalog()
    >>> schema, catalog = schema.select(["item"], ["item"]), {"item": catalog["item"]}
    >>> model = ATRank(schema, catalog, width=8, num_spaces=2)
    >>> columns = {"object": [[3, 4]], "action": [[1, 2]], "time": [[50, 70]]}
    >>> item = {name: tf.ragged.constant(rows, tf.int64) for name, rows in columns.items()}
    >>> inputs = {"history": {"item": item}, "query_time": tf.constant([99], tf.int64)}
    >>> inputs["candidates"] = {"item": item["object"]}
    >>> averages(model, [(inputs, tf.ones(2))])["value"].unique().tolist()
    ['buy', 'view', 'from 16 s', 'item']
    """
    bounds, gaps = _gap_buckets(model)
    totals: dict[tuple[str, str], pd.DataFrame] = {}
    for inputs, labels in batches:
        weights = model.attention(inputs["history"], inputs["candidates"], inputs["query_time"])
        behaviors = behavior_table(model.schema, inputs["history"])
        for name, readers in _readers(model, inputs, labels, behaviors).items():
            pairs = _pairs(model, weights[name].numpy(), readers, behaviors)
            pairs["gap"] = np.array(gaps)[np.searchsorted(bounds, pairs["gap"], side="right")]
            for by in ("gap", "group", "action"):
                sums = pairs.groupby(["space", by])[["weight", "lift", "pairs"]].sum()
                totals[name, by] = sums.add(totals.get((name, by), 0 * sums), fill_value=0)
    tables = [_means(name, by, sums) for (name, by), sums in totals.items()]
    if not any(len(table) for table in tables):
        raise UserError(
            "attention is averaged over queries with a history: these batches have none"
        )
    frame = pd.concat(tables, ignore_index=True)
    bucket = frame["value"].map({gap: number for number, gap in enumerate(gaps)}).fillna(0)
    frame = frame.assign(bucket=bucket)
    frame = frame.sort_values(["attention", "by", "space", "bucket", "value"])
    return frame[_COLUMNS].reset_index(drop=True).astype({"pairs": int})


def duration(days: float) -> str:
    """Returns a duration in the unit that suits it.

    Example:

    >>> [duration(days) for days in (1 / 86_400, 0.5, 12, 800)]
    ['1 s', '12 h', '12 d', '2 y']
    """
    for unit, size in (("y", 365), ("d", 1), ("h", 1 / 24), ("min", 1 / 1440)):
        if days >= size:
            return f"{days / size:.0f} {unit}"
    return f"{days * 86400:.0f} s"


def _means(name: str, by: str, sums: pd.DataFrame) -> pd.DataFrame:
    """Means over pairs, of their sums."""
    table = sums.reset_index().rename(columns={by: "value"})
    table[["weight", "lift"]] = table[["weight", "lift"]].div(table["pairs"], axis=0)
    return table.assign(attention=name, by=by)


def _gap_buckets(model: ATRank) -> tuple[list[int], list[str]]:
    """The bounds of the model's own buckets of time, and what each bucket is called."""
    units = model.schema.units_per_day
    days = day_bounds(model.schema.num_time_buckets, units)
    bounds = fine_bounds(units) if model.is_causal else days
    names = [duration(bound / units) for bound in bounds]
    # In the paper's form a behavior reads later ones, too.
    return [0, *bounds], ["later", f"under {names[0]}", *(f"from {name}" for name in names)]


def _readers(
    model: ATRank, inputs: dict[str, Any], labels: tf.Tensor, behaviors: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """Who attends, by the name of the weights: `batch_row`, `position` in it, and `time`."""
    position = behaviors.groupby("batch_row").cumcount()
    readers = {
        block.name: behaviors[["batch_row", "time"]].assign(position=position)
        for block in model.self_attention
    }
    query_time, start = inputs["query_time"].numpy(), 0
    for target in model.schema.target_names:
        batch_rows = inputs["candidates"][target].value_rowids().numpy()
        candidates = pd.DataFrame({"batch_row": batch_rows, "time": query_time[batch_rows]})
        candidates["position"] = candidates.groupby("batch_row").cumcount()
        end = start + len(batch_rows)
        readers[target] = candidates[labels.numpy()[start:end] > 0]
        start = end
    return readers


def _pairs(
    model: ATRank, weights: np.ndarray, readers: pd.DataFrame, behaviors: pd.DataFrame
) -> pd.DataFrame:
    """A line for each space and each pair of one that attends and a behavior that it sees."""
    read = behaviors.assign(position=behaviors.groupby("batch_row").cumcount())
    pairs = readers.merge(read, on="batch_row", suffixes=("", "_read"))
    if model.is_causal:
        pairs = pairs[pairs["time_read"] < pairs["time"]]
    num_seen = pairs.groupby(["batch_row", "position"])["time"].transform("size").to_numpy()
    index = tuple(pairs[name].to_numpy() for name in ("batch_row", "position", "position_read"))
    table = pd.DataFrame(
        {
            "gap": (pairs["time"] - pairs["time_read"]).to_numpy(),
            "group": pairs["group"].to_numpy(),
            "action": pairs["action"].to_numpy(),
            "pairs": 1,
        }
    )
    return pd.concat(
        [
            table.assign(
                space=space, weight=space_weights[index], lift=space_weights[index] * num_seen
            )
            for space, space_weights in enumerate(weights, start=1)
        ],
        ignore_index=True,
    )
