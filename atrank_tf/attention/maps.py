"""What a trained ATRank attends to: one user's history as a case, and averages over many."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import tensorflow as tf

from atrank_tf.layers.time_buckets import day_bounds, fine_bounds
from atrank_tf.models import ATRank, model_class
from atrank_tf.run_directory import RunDirectory
from data_pipeline.batches.options import BatchOptions
from data_pipeline.core.errors import UserError
from data_pipeline.schema import Group, Schema

# A picture with more is not read any more.
_MAX_BEHAVIORS = 30


@dataclasses.dataclass(frozen=True)
class Case:
    """A user's newest behaviors before a moment, and who attends to which of them.

    Attributes:
        behaviors: One line a behavior, oldest first: its `group`, `action`, `object` (raw
            id) and `days` before the moment.
        candidates: One line a candidate: its `target`, `object`, `logit`, and whether it was
            `chosen`, that is a positive.
        self_attention: How much each behavior attends to each, in the first block: float
            [spaces, behaviors, behaviors].
        vanilla_attention: How much each candidate attends to each behavior: float [spaces,
            candidates, behaviors].
    """

    behaviors: pd.DataFrame
    candidates: pd.DataFrame
    self_attention: np.ndarray
    vanilla_attention: np.ndarray


def object_names(directory: Path, schema: Schema) -> dict[str, list[str]]:
    """Returns the raw id of each object index, by group.

    Args:
        directory: `objects/` of prepared data or of a run directory.
        schema: The schema.
    """
    names = {}
    for group in schema.groups:
        ids = pq.read_table(directory / f"{group.name}.parquet", columns=["object"])["object"]
        names[group.name] = ["unknown"] * group.num_oov + [str(raw) for raw in ids.to_pylist()]
    return names


def user_index(directory: Path, user: str) -> int:
    """Returns the user index of a raw id.

    Args:
        directory: Prepared data.
        user: The id, as text.

    Raises:
        UserError: There is no such user.
    """
    users = pq.read_table(directory / "users.parquet", columns=["user"])["user"].to_pylist()
    for row, raw in enumerate(users, start=1):
        if str(raw) == user:
            return row
    raise UserError(f"user {user!r}: is in none of the logs")


def from_run(
    run: RunDirectory, data_dir: str, user: str = "", num_batches: int = 30
) -> tuple[Case, pd.DataFrame]:
    """Returns what the best model of a run attends to at the moments of the test.

    Args:
        run: A run of atrank.
        data_dir: Its data.
        user: Raw id of the user whose history is the case; "" for one that fills a picture.
        num_batches: Batches of test moments to average, about.

    Returns:
        What `case` and `averages` return.

    Raises:
        UserError: The run is of another model or other data, or there is no such moment.
    """
    settings = run.settings()
    if not issubclass(model_class(settings["model"]), ATRank):
        raise UserError(f"{run.path}: holds a {settings['model']}; attention is atrank's")
    data = run.data(data_dir)
    model = cast(ATRank, run.load_best(data.manifest.fingerprint))
    options = BatchOptions(num_negatives=2, max_history=settings["max_history"])
    batches = data.batches("test", options)
    moment = find_moment(batches, user_index(data.directory, user) if user else None)
    if moment is None:
        whose = f" of user {user}" if user else ""
        raise UserError(f"{data_dir}: there is no test moment{whose} with a history")
    # Batches come by length of history: some of all lengths.
    every = max(1, data.count_batches("test", options) // num_batches)
    return (
        case(model, *moment, object_names(run.objects, data.schema)),
        averages(model, batches.shard(every, every // 2)),
    )


def case(
    model: ATRank, inputs: dict[str, Any], labels: tf.Tensor, names: dict[str, list[str]]
) -> Case:
    """Returns what there is to see of one user at one moment.

    Args:
        model: The model.
        inputs: A batch of one row, as `Ranker` takes it, `query_time` int64 [1].
        labels: 1 for each candidate that was chosen, else 0, those of the targets in turn: [n].
        names: What `object_names` returned.
    """
    schema, history, query_time = model.schema, inputs["history"], inputs["query_time"]
    weights = model.attention(history, inputs["candidates"], query_time)
    logits = model.score(model.encode(history, query_time), inputs["candidates"], query_time)
    behaviors = _behaviors(schema, history)
    behaviors["days"] = (int(query_time[0]) - behaviors["time"]) / schema.units_per_day
    behaviors["object"] = [
        names[g][row] for g, row in zip(behaviors["group"], behaviors["object"], strict=True)
    ]
    order = np.argsort(behaviors["time"].to_numpy(), kind="stable")[-_MAX_BEHAVIORS:]
    candidates = pd.concat(
        [
            pd.DataFrame(
                {
                    "target": target,
                    "object": [names[target][row] for row in rows.flat_values.numpy()],
                    "logit": logits[target].flat_values.numpy(),
                }
            )
            for target, rows in inputs["candidates"].items()
        ],
        ignore_index=True,
    ).assign(chosen=np.asarray(labels) > 0)
    vanilla = [
        weights[target][:, 0, : rows.row_lengths()[0]]
        for target, rows in inputs["candidates"].items()
    ]
    mine = weights[model.self_attention[0].name][:, 0].numpy()
    return Case(
        behaviors.drop(columns=["time", "row"]).iloc[order].reset_index(drop=True),
        candidates,
        mine[:, order][:, :, order],
        np.concatenate(vanilla, axis=1)[:, :, order],
    )


def averages(model: ATRank, batches: Iterable[tuple[dict[str, Any], tf.Tensor]]) -> pd.DataFrame:
    """Averages attention by time gap, group and action.

    Args:
        model: The model.
        batches: Batches of moments, as `TimelineData.batches` gives them. Of the candidates
            only the positives count.

    Returns:
        One line for each `attention` (a self-attention block, or a target), `space` (from 1), `by`
        ("gap", "group", "action") and `value`: over `pairs` of one that attends and a behavior
        that it sees, the mean `weight`, and the mean `lift`, the weight times the number
        of behaviors seen: 1 is what even attention would give, however long the history.

    Raises:
        UserError: There is no moment with a history.
    """
    bounds, gaps = _gap_buckets(model)
    totals: dict[tuple[str, str], pd.DataFrame] = {}
    for inputs, labels in batches:
        weights = model.attention(inputs["history"], inputs["candidates"], inputs["query_time"])
        behaviors = _behaviors(model.schema, inputs["history"])
        for name, asks in _queries(model, inputs, labels, behaviors).items():
            pairs = _pairs(model, weights[name].numpy(), asks, behaviors)
            pairs["gap"] = np.array(gaps)[np.searchsorted(bounds, pairs["gap"], side="right")]
            for by in ("gap", "group", "action"):
                found = pairs.groupby(["space", by])[["weight", "lift", "pairs"]].sum()
                totals[name, by] = found.add(totals.get((name, by), 0 * found), fill_value=0)
    lines = []
    for (name, by), total in totals.items():
        table = total.reset_index().rename(columns={by: "value"})
        table[["weight", "lift"]] = table[["weight", "lift"]].div(table["pairs"], axis=0)
        lines.append(table.assign(attention=name, by=by))
    if not any(len(line) for line in lines):
        raise UserError(
            "attention is averaged over moments with a history: these batches have none"
        )
    frame = pd.concat(lines, ignore_index=True)
    place = frame["value"].map({gap: i for i, gap in enumerate(gaps)}).fillna(0)
    frame = frame.assign(place=place).sort_values(["attention", "by", "space", "place", "value"])
    columns = ["attention", "by", "value", "space", "pairs", "weight", "lift"]
    return frame[columns].reset_index(drop=True).astype({"pairs": int})


def _behaviors(schema: Schema, history: dict[str, dict[str, tf.RaggedTensor]]) -> pd.DataFrame:
    """All behaviors of a batch: their `row`, `group`, `action`, `object` row and `time`.

    Of each row they stand in the order of the tokens.
    """
    groups = [group for group in schema.groups if group.name in history]
    parts = []
    for group in groups:
        columns = history[group.name]
        actions = np.array(_actions(group))[columns["action"].flat_values.numpy()]
        parts.append(
            pd.DataFrame(
                {
                    "row": columns["object"].value_rowids().numpy(),
                    "group": group.name,
                    "action": actions,
                    "object": columns["object"].flat_values.numpy(),
                    "time": columns["time"].flat_values.numpy(),
                }
            )
        )
    return pd.concat(parts).sort_values("row", kind="stable").reset_index(drop=True)


def _actions(group: Group) -> list[str]:
    return ["unknown", *(group.actions or (group.name,))]


def _gap_buckets(model: ATRank) -> tuple[list[int], list[str]]:
    """The bounds of the model's own buckets of time, and what each bucket is called."""
    units = model.schema.units_per_day
    days = day_bounds(model.schema.num_time_buckets, units)
    bounds = fine_bounds(units) if model.is_causal else days
    shown = [duration(bound / units) for bound in bounds]
    # In the paper's form a behavior reads later ones, too.
    return [0, *bounds], ["later", f"under {shown[0]}", *(f"from {name}" for name in shown)]


def duration(days: float) -> str:
    """Returns a duration in the unit that suits it: "16 s", "4 min", "3 h", "12 d", "2 y"."""
    for unit, size in (("y", 365), ("d", 1), ("h", 1 / 24), ("min", 1 / 1440)):
        if days >= size:
            return f"{days / size:.0f} {unit}"
    return f"{days * 86400:.0f} s"


def _queries(
    model: ATRank, inputs: dict[str, Any], labels: tf.Tensor, behaviors: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """Who attends, by the name of the weights: `row`, `place` in the row, and `time`."""
    place = behaviors.groupby("row").cumcount()
    asks = {
        block.name: behaviors[["row", "time"]].assign(place=place) for block in model.self_attention
    }
    query_time, first = inputs["query_time"].numpy(), 0
    for target in model.schema.targets:
        rows = inputs["candidates"][target].value_rowids().numpy()
        frame = pd.DataFrame({"row": rows, "time": query_time[rows]})
        frame["place"] = frame.groupby("row").cumcount()
        asks[target] = frame[labels.numpy()[first : first + len(rows)] > 0]
        first += len(rows)
    return asks


def _pairs(
    model: ATRank, weights: np.ndarray, asks: pd.DataFrame, behaviors: pd.DataFrame
) -> pd.DataFrame:
    """A line for each space and each pair of one that attends and a behavior that it sees."""
    read = behaviors.assign(place=behaviors.groupby("row").cumcount())
    pairs = asks.merge(read, on="row", suffixes=("", "_read"))
    if model.is_causal:
        pairs = pairs[pairs["time_read"] < pairs["time"]]
    seen = pairs.groupby(["row", "place"])["time"].transform("size").to_numpy()
    at = (pairs["row"].to_numpy(), pairs["place"].to_numpy(), pairs["place_read"].to_numpy())
    shared = pd.DataFrame(
        {
            "gap": (pairs["time"] - pairs["time_read"]).to_numpy(),
            "group": pairs["group"].to_numpy(),
            "action": pairs["action"].to_numpy(),
            "pairs": 1,
        }
    )
    return pd.concat(
        [
            shared.assign(space=space, weight=mine[at], lift=mine[at] * seen)
            for space, mine in enumerate(weights, start=1)
        ],
        ignore_index=True,
    )


def find_moment(
    batches: Iterable[tuple[dict[str, Any], tf.Tensor]], user: int | None = None
) -> tuple[dict[str, Any], tf.Tensor] | None:
    """Returns one row of some batches, as `case` takes it.

    Args:
        batches: Batches of moments, as `TimelineData.batches` gives them.
        user: The row's user index; None for a row with behaviors of many groups and a long
            history, of those that a picture holds whole, if there are any.

    Returns:
        A batch of one row and its labels, of each target two positives at most, then two
        negatives at most; None where there is no row with a history.
    """
    best, found = 0.0, None
    for inputs, labels in batches:
        each = [h["object"].row_lengths().numpy() for h in inputs["history"].values()]
        lengths, groups = np.sum(each, axis=0), np.count_nonzero(each, axis=0)
        fit = np.where(lengths <= _MAX_BEHAVIORS, 100 * groups + lengths, 0.5)
        if user is not None:
            fit = np.where(inputs["user"].numpy() == user, lengths, 0)
        place = int(fit.argmax())
        if fit[place] > best:
            best = fit[place]
            row = tf.nest.map_structure(lambda column, i=place: column[i : i + 1], inputs)
            row["candidates"], few = _few_candidates(inputs["candidates"], labels, place)
            found = row, few
    return found


def _few_candidates(
    candidates: dict[str, tf.RaggedTensor], labels: tf.Tensor, row: int
) -> tuple[dict[str, tf.RaggedTensor], tf.Tensor]:
    """Of one row two positives of each target, then two negatives; and their labels."""
    few, kept_labels, first = {}, [], 0
    for target, rows in candidates.items():
        start, end = rows.row_splits.numpy()[row : row + 2]
        label = labels.numpy()[first + start : first + end]
        kept = np.concatenate([np.flatnonzero(label > 0)[:2], np.flatnonzero(label <= 0)[:2]])
        few[target] = tf.RaggedTensor.from_row_lengths(
            tf.gather(rows.flat_values, start + kept), [len(kept)]
        )
        kept_labels.append(label[kept])
        first += rows.flat_values.shape[0]
    return few, tf.concat(kept_labels, axis=0)
