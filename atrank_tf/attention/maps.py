"""What a trained ATRank attends to: one user's history as a case, and averages over many."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import tensorflow as tf

from atrank_tf.attention.averages import averages
from atrank_tf.attention.behaviors import behavior_table
from atrank_tf.models import ATRank, model_class
from atrank_tf.run_directory import RunDirectory
from data_pipeline import ragged
from data_pipeline.batches.options import BatchOptions
from data_pipeline.core.errors import UserError
from data_pipeline.schema import Schema

# A picture with more is not read any more.
_MAX_BEHAVIORS = 30


@dataclasses.dataclass(frozen=True)
class Case:
    """A user's newest behaviors before a query, and who attends to which of them.

    Attributes:
        behaviors: One line a behavior, oldest first: its `group`, `action`, `object` (raw
            id) and `days` before the query time.
        candidates: One line a candidate: its `target`, `object`, `logit`, and whether it was
            `chosen`, that is a positive.
        self_attention: How much each behavior attends to each, in the first block: float
            [spaces, behaviors, behaviors].
        vanilla_attention: How much each candidate attends to each behavior: float [spaces,
            candidates, behaviors].

    Example:

    >>> columns = {"group": ["item"], "action": ["buy"], "object": ["B7"], "days": [3.0]}
    >>> candidates = {"target": ["item"], "object": ["B9"], "logit": [0.5], "chosen": [True]}
    >>> weights = np.ones((4, 1, 1))  # Of 4 spaces.
    >>> shown = Case(pd.DataFrame(columns), pd.DataFrame(candidates), weights, weights)
    >>> shown.behaviors["object"].tolist()
    ['B7']
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

    Example:

    >>> schema, _ = toy_schema_and_catalog()
    >>> names = object_names(toy_data() / "objects", schema)
    >>> names["query"][0], len(names["query"])
    ('unknown', 9)
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

    Example:

    >>> user_index(toy_data(), "7") > 0
    True
    >>> user_index(toy_data(), "nobody")
    Traceback (most recent call last):
    data_pipeline.core.errors.UserError: user 'nobody': is in none of the logs
    """
    users = pq.read_table(directory / "users.parquet", columns=["user"])["user"].to_pylist()
    for index, raw in enumerate(users, start=1):
        if str(raw) == user:
            return index
    raise UserError(f"user {user!r}: is in none of the logs")


def from_run(
    run: RunDirectory, data_dir: str, user: str = "", num_batches: int = 30
) -> tuple[Case, pd.DataFrame]:
    """Returns what the best model of a run attends to at the queries of the test.

    Args:
        run: A run of atrank.
        data_dir: Its data.
        user: Raw id of the user whose history is the case; "" for one that fills a picture.
        num_batches: Batches of test queries to average, about.

    Returns:
        What `case` and `averages` return.

    Raises:
        UserError: The run is of another model or other data, or there is no such query.

    Example:

    >>> run = RunDirectory(toy_run())
    >>> shown, frame = from_run(run, str(toy_data()), user="7", num_batches=1)
    >>> list(frame["by"].unique())
    ['action', 'gap', 'group']
    """
    settings = run.settings()
    if not issubclass(model_class(settings["model"]), ATRank):
        raise UserError(f"{run.path}: holds a {settings['model']}; attention is atrank's")
    data = run.data(data_dir)
    model = cast(ATRank, run.load_best(data.manifest.fingerprint))
    options = BatchOptions(
        num_negatives=2,
        max_history=settings["max_history"],
        look_ups=model.look_ups is not None,
    )
    batches = data.batches("test", options)
    query = find_query(batches, user_index(data.directory, user) if user else None)
    if query is None:
        whose = f" of user {user}" if user else ""
        raise UserError(f"{data_dir}: there is no test query{whose} with a history")
    # Batches come by length of history: some of all lengths.
    every = max(1, data.count_batches("test", options) // num_batches)
    return (
        case(model, *query, object_names(run.objects, data.schema)),
        averages(model, batches.shard(every, every // 2)),
    )


def case(
    model: ATRank, inputs: dict[str, Any], labels: tf.Tensor, names: dict[str, list[str]]
) -> Case:
    """Returns what there is to see of one user at one query.

    Args:
        model: The model.
        inputs: A batch of one row, as `Ranker` takes it, `query_time` int64 [1].
        labels: 1 for each candidate that was chosen, else 0, those of the targets in turn: [n].
        names: What `object_names` returned.

    Example:

    >>> schema, catalog = toy_schema_and_catalog()
    >>> schema, catalog = schema.select(["item"], ["item"]), {"item": catalog["item"]}
    >>> model = ATRank(schema, catalog, width=8, num_spaces=2)
    >>> columns = {"object": [[3, 4]], "action": [[1, 2]], "time": [[0, 43_200]]}
    >>> item = {name: tf.ragged.constant(rows, tf.int64) for name, rows in columns.items()}
    >>> inputs = {"history": {"item": item}, "query_time": tf.constant([86_400], tf.int64)}
    >>> inputs["candidates"] = {"item": item["object"]}
    >>> names = object_names(toy_data() / "objects", schema)
    >>> case(model, inputs, tf.constant([1, 0]), names).behaviors[["action", "days"]]
      action  days
    0    buy   1.0
    1   view   0.5
    """
    schema, history, query_time = model.schema, inputs["history"], inputs["query_time"]
    weights = model.attention(history, inputs["candidates"], query_time)
    behaviors = behavior_table(schema, history)
    behaviors["days"] = (int(query_time[0]) - behaviors["time"]) / schema.units_per_day
    behaviors["object"] = [
        names[group][index]
        for group, index in zip(behaviors["group"], behaviors["object"], strict=True)
    ]
    order = np.argsort(behaviors["time"].to_numpy(), kind="stable")[-_MAX_BEHAVIORS:]
    candidates = pd.concat(
        [
            pd.DataFrame(
                {
                    "target": target,
                    "object": [
                        names[schema.target(target).group][index]
                        for index in objects.flat_values.numpy()
                    ],
                }
            )
            for target, objects in inputs["candidates"].items()
        ],
        ignore_index=True,
    ).assign(logit=model(inputs).numpy(), chosen=np.asarray(labels) > 0)
    self_attention = weights[model.self_attention[0].name][:, 0].numpy()
    vanilla_attention = [
        weights[target][:, 0, : objects.row_lengths()[0]]
        for target, objects in inputs["candidates"].items()
    ]
    return Case(
        behaviors.drop(columns=["time", "batch_row"]).iloc[order].reset_index(drop=True),
        candidates,
        self_attention[:, order][:, :, order],
        np.concatenate(vanilla_attention, axis=1)[:, :, order],
    )


def find_query(
    batches: Iterable[tuple[dict[str, Any], tf.Tensor]], user: int | None = None
) -> tuple[dict[str, Any], tf.Tensor] | None:
    """Returns one query of some batches, as `case` takes it.

    Args:
        batches: Batches of queries, as `TimelineData.batches` gives them.
        user: The query's user index; None for a query with behaviors of many groups and a long
            history, of those that a picture holds whole, if there are any.

    Returns:
        A batch of one row and its labels, of each target two positives at most, then two
        negatives at most; None where there is no query with a history.

    Example:

    >>> history = {"item": {"object": tf.ragged.constant([[3], [3, 4]])}}
    >>> candidates = {"item": tf.ragged.constant([[5, 6], [7, 8]])}
    >>> inputs = {"user": tf.constant([11, 12]), "history": history, "candidates": candidates}
    >>> query, _ = find_query([(inputs, tf.constant([1, 0, 1, 0]))])
    >>> query["user"].numpy().tolist(), query["candidates"]["item"].to_list()
    ([12], [[7, 8]])
    """
    best_fit, query = 0.0, None
    for inputs, labels in batches:
        fits = _fits(inputs) if user is None else _lengths_of_user(inputs, user)
        batch_row = int(fits.argmax())
        if fits[batch_row] > best_fit:
            best_fit = fits[batch_row]
            query = _one_query(inputs, labels, batch_row)
    return query


def _lengths_by_group(inputs: dict[str, Any]) -> np.ndarray:
    """How many behaviors of each group a batch row has: [groups, batch rows]."""
    return np.array([columns["object"].row_lengths() for columns in inputs["history"].values()])


def _fits(inputs: dict[str, Any]) -> np.ndarray:
    """How well each row of a batch fills a picture; 0 without a history."""
    lengths_by_group = _lengths_by_group(inputs)
    lengths, num_groups = lengths_by_group.sum(0), np.count_nonzero(lengths_by_group, axis=0)
    return np.where(lengths <= _MAX_BEHAVIORS, 100 * num_groups + lengths, 0.5)


def _lengths_of_user(inputs: dict[str, Any], user: int) -> np.ndarray:
    """The length of each history of a batch that is the user's; 0 for those of others."""
    return np.where(inputs["user"].numpy() == user, _lengths_by_group(inputs).sum(0), 0)


def _one_query(
    inputs: dict[str, Any], labels: tf.Tensor, batch_row: int
) -> tuple[dict[str, Any], tf.Tensor]:
    """A batch of one row alone, with few of its candidates, and their labels."""
    query = tf.nest.map_structure(lambda column: column[batch_row : batch_row + 1], inputs)
    few_candidates, few_labels = _few_candidates(inputs, labels, batch_row)
    return {**query, **few_candidates}, few_labels


def _few_candidates(
    inputs: dict[str, Any], labels: tf.Tensor, batch_row: int
) -> tuple[dict[str, dict[str, tf.RaggedTensor]], tf.Tensor]:
    """Of one batch row two positives of each target, then two negatives; and their labels.

    Beside the candidates there is what batches tell of them.
    """
    columns = [name for name in ("candidates", "recurrence") if name in inputs]
    few_candidates: dict[str, dict[str, tf.RaggedTensor]] = {name: {} for name in columns}
    few_labels, first = [], 0
    for target, objects in inputs["candidates"].items():
        start, end = objects.row_splits.numpy()[batch_row : batch_row + 2]
        label = labels.numpy()[first + start : first + end]
        few = np.concatenate([np.flatnonzero(label > 0)[:2], np.flatnonzero(label <= 0)[:2]])
        for name in columns:
            values = tf.gather(inputs[name][target].flat_values, start + few)
            few_candidates[name][target] = ragged.from_row_lengths(values, [len(few)])
        few_labels.append(label[few])
        first += objects.flat_values.shape[0]
    return few_candidates, tf.concat(few_labels, axis=0)
