"""Slices: which held-out targets a number is of, such as repeats, or the targets of one category.

One number for all targets hides what it is made of: a model may know habits and nothing else, or
all but habits.
"""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from atrank_tf.evaluate.ranking_metrics import Positives
from data_pipeline.core.errors import UserError
from data_pipeline.fingerprints import NO_VALUE
from data_pipeline.recurrence import NEVER, look_ups, num_counts
from data_pipeline.schema import Group, Schema, Vocabulary, feature_vocabulary

if TYPE_CHECKING:
    from data_pipeline.dataset import TimelineData

_HISTORY_BOUNDS = (1, 10, 100, 1000)
_LARGEST = 10


def facts(inputs: Mapping[str, Any], target: str, schema: Schema) -> dict[str, np.ndarray]:
    """Returns what slices are made by, of each candidate of a batch.

    Args:
        inputs: A batch, with `recurrence` and `actions`.
        target: Name of the target.
        schema: The schema.

    Returns:
        `object`, `action` (index; 0 of a negative, or where it is not known), `time` of the query,
        `history` (how many behaviors were read), `since` (units of time since the newest of them,
        -1 without any) and `is_repeat`: [candidates].

    Example:

    >>> data = TimelineData(toy_data())
    >>> ((inputs, labels),) = data.batches("test").take(1)
    >>> sorted(facts(inputs, "item", data.schema))
    ['action', 'history', 'is_repeat', 'object', 'since', 'time']
    """
    objects = inputs["candidates"][target]
    rows = objects.value_rowids().numpy()
    times = inputs["query_time"].numpy()
    history = np.zeros(len(times), np.int64)
    newest = np.full(len(times), NEVER)
    for columns in inputs["history"].values():
        lengths = columns["time"].row_lengths().numpy()
        history += lengths
        of_events = columns["time"].flat_values.numpy()
        np.maximum.at(newest, np.repeat(np.arange(len(times)), lengths), of_events)
    gap = num_counts(schema, look_ups(schema, target)[0])  # The first is that of the id.
    return {
        "object": objects.flat_values.numpy(),
        "action": inputs["actions"][target].flat_values.numpy(),
        "time": times[rows],
        "history": history[rows],
        "since": np.where(newest >= 0, times - newest, NEVER)[rows],
        "is_repeat": inputs["recurrence"][target].flat_values.numpy()[:, gap] != NEVER,
    }


def kinds(positives: Positives) -> dict[str, np.ndarray]:
    """Returns which positives are repeats, which are new to their user, and which have no history.

    Only kinds that some, but not all, are of.

    Args:
        positives: With the `facts` of each.

    Example:

    >>> known = {"is_repeat": np.array([True, False]), "history": np.array([5, 0])}
    >>> positives = Positives(np.array([3, 8]), {"auc": np.array([1.0, 0.5])}, known)
    >>> {name: mask.tolist() for name, mask in kinds(positives).items()}
    {'repeat': [True, False], 'new': [False, True], 'no history': [False, True]}
    """
    is_repeat, has_none = positives.facts["is_repeat"], positives.facts["history"] == 0
    masks = {"repeat": is_repeat, "new": ~is_repeat, "no history": has_none}
    return {name: mask for name, mask in masks.items() if mask.any() and not mask.all()}


def check_names(names: list[str], schema: Schema) -> None:
    """Checks the names of slices.

    Raises:
        UserError: One is of no target.

    Example:

    >>> schema, _ = toy_schema_and_catalog()
    >>> check_names(["hour", "brand"], schema)
    Traceback (most recent call last):
    data_pipeline.core.errors.UserError: slices: 'brand': expected one of action, history, hour, \
category, tag
    """
    features = [
        f.name for target in schema.target_names for f in schema.target_group(target).features
    ]
    known = list(dict.fromkeys(["action", "history", "hour", *features]))
    for name in names:
        if name not in known:
            raise UserError(f"slices: {name!r}: expected one of {', '.join(known)}")


def slices(
    name: str, positives: Positives, target: str, data: "TimelineData"
) -> dict[str, np.ndarray]:
    """Divides positives by what they are, by their history or by the hour.

    Args:
        name: action; history (how many behaviors were read); hour (of the query, UTC); or a feature
            of the target's objects, of which the ten values with most positives are named; the rest
            are "(others)", rare values "(rare)" and no value "(none)".
        positives: With the `facts` of each.
        target: Name of the target.
        data: The prepared data.

    Returns:
        By what a slice is called which positives it has, bool [positives]; none where the target
        does not have the feature.

    Example:

    >>> from data_pipeline.dataset import TimelineData
    >>> positives = Positives(np.array([3, 8]), {}, {"history": np.array([0, 12])})
    >>> masks = slices("history", positives, "item", TimelineData(toy_data()))
    >>> {name: mask.tolist() for name, mask in masks.items()}
    {'0': [True, False], '10 to 99': [False, True]}
    """
    known, group = positives.facts, data.schema.target_group(target)
    if name == "history":
        starts = np.array([0, *_HISTORY_BOUNDS])
        names = ["0", *(f"{a} to {b - 1}" for a, b in itertools.pairwise(starts[1:]))]
        names.append(f"{starts[-1]} or more")
        numbers = np.searchsorted(_HISTORY_BOUNDS, known["history"], side="right")
        return _masks(numbers, dict(enumerate(names)))
    if name == "hour":
        hour = data.schema.units_per_day // 24
        return _masks(known["time"] // hour % 24, {i: f"{i:02d}" for i in range(24)})
    if name == "action":
        actions = ["(unknown)", *(group.actions or ("(only one)",))]
        return _masks(known["action"], dict(enumerate(actions)))
    return _by_feature(name, known["object"], group, data)


def cautions(positives: Positives, target: str, schema: Schema, last_trained: int) -> list[str]:
    """Returns what the reader of a number should know of the targets that it is of.

    Args:
        positives: With the `facts` of each.
        target: Name of the target.
        schema: The schema.
        last_trained: Time of the last training target.

    Example:

    >>> schema, _ = toy_schema_and_catalog()
    >>> known = {"time": np.array([50, 90]), "since": np.array([-1, 10])}
    >>> positives = Positives(np.array([3, 8]), {}, known)
    >>> cautions(positives, "item", schema, last_trained=70)[0]
    'item: 50% of the targets lie before the last training target: ...'
    """
    times, since, users = positives.facts["time"], positives.facts["since"], positives.user
    if not len(times):
        return []
    day = schema.units_per_day
    shares = {
        "lie before the last training target: of other users the model has seen what came later "
        "(leave-last-out; a split by time does not)": times < last_trained,
        "are of the same day as the newest behavior of their history: part of one visit, or of one "
        "date where times are dates": (since >= 0) & (times // day == (times - since) // day),
        "were taken together with others at one time: each is compared with negatives alone, and a "
        "list of ten has room for several": _share_their_query(users, times),
    }
    return [
        f"{target}: {mask.mean():.0%} of the targets {what}"
        for what, mask in shares.items()
        if mask.mean() >= 0.01
    ]


def _share_their_query(users: np.ndarray, times: np.ndarray) -> np.ndarray:
    pairs = np.stack([users, times], axis=1)
    _, query, counts = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    return counts[query.ravel()] > 1


def _masks(numbers: np.ndarray, names: Mapping[int, str]) -> dict[str, np.ndarray]:
    """By name which positives have a number; no slice is empty."""
    masks = {name: numbers == number for number, name in names.items()}
    return {name: mask for name, mask in masks.items() if mask.any()}


def _by_feature(
    name: str, objects: np.ndarray, group: Group, data: "TimelineData"
) -> dict[str, np.ndarray]:
    feature = next((f for f in group.features if f.name == name), None)
    if feature is None:
        return {}
    vocabulary = data.schema.vocabulary(feature_vocabulary(feature))
    owners, values = _values_of(data.catalog[group.name], name, objects)
    values = np.where(values < vocabulary.num_oov, 0, values)  # All that are rare.
    counts = np.bincount(values)
    largest = [i for i in np.argsort(-counts, kind="stable")[:_LARGEST].tolist() if counts[i]]
    named = _value_names(vocabulary, data.directory)
    masks: dict[str, np.ndarray] = {}
    for index in largest:
        mask = np.zeros(len(objects), bool)
        mask[owners[values == index]] = True
        masks["(rare)" if index < vocabulary.num_oov else named.get(index, str(index))] = mask
    has_none = np.ones(len(objects), bool)
    has_none[owners] = False
    is_named = np.any([has_none, *masks.values()], axis=0)
    rest = {"(others)": ~is_named, "(none)": has_none}
    return masks | {label: mask for label, mask in rest.items() if mask.any()}


def _values_of(
    catalog: Mapping[str, np.ndarray], name: str, objects: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Embedding indices of the values that objects have, and which object each is of."""
    indices, splits = catalog[f"{name}/indices"], catalog.get(f"{name}/splits")
    if splits is None:
        owners = np.flatnonzero(catalog[f"{name}/fingerprints"][objects] != NO_VALUE)
        return owners, indices[objects[owners]]
    lengths = (splits[1:] - splits[:-1])[objects]
    owners = np.repeat(np.arange(len(objects)), lengths)
    within = np.arange(len(owners)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return owners, indices[splits[objects][owners] + within]


def _value_names(vocabulary: Vocabulary, data_dir: Path) -> dict[int, str]:
    """By embedding index the value of a vocabulary; none of ids."""
    path = data_dir / "vocabularies" / f"{vocabulary.name}.parquet"
    if not path.exists():
        return {}
    values = [str(value) for value in pq.read_table(path)["value"].to_pylist()]
    own = [repr(value) if value in ("(rare)", "(others)", "(none)") else value for value in values]
    return dict(enumerate(own, vocabulary.num_oov))
