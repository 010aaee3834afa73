"""Vocabularies: which values have an embedding index for themselves, and object indices."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from data_pipeline.fingerprints import NO_VALUE, fingerprint
from data_pipeline.prepare.objects import FeatureValues, Objects
from data_pipeline.schema import Feature, Group, Schema, Vocabulary, feature_vocabulary


def oov_indices(values: np.ndarray, num_oov: int) -> np.ndarray:
    """Returns the out-of-vocabulary index of each value, int64 in [0, num_oov).

    The serving graph does the same with the same operation, so that an unknown id gets
    the index there that it would have got here.

    Args:
        values: Integers or strings [n].
        num_oov: Number of out-of-vocabulary indices.

    Example:

    >>> oov_indices(np.array(["tea", "rice"], object), num_oov=1).tolist()
    [0, 0]
    """
    if num_oov == 1 or not len(values):
        return np.zeros(len(values), np.int64)
    import tensorflow as tf  # Here: only vocabularies with several such indices pay for it.

    text = tf.strings.as_string(tf.constant(values.tolist()))
    return tf.strings.to_hash_bucket_fast(text, num_oov).numpy()


def fingerprints(values: np.ndarray) -> np.ndarray:
    """Returns what tells each value from all others: see `data_pipeline.fingerprints`.

    Args:
        values: Integers or strings [n].

    Example:

    >>> fingerprints(np.array([7, 8])).dtype
    dtype('int64')
    """
    import tensorflow as tf  # Here: not every module that imports this one prepares objects.

    return fingerprint(tf.constant(values.tolist())).numpy() if len(values) else np.zeros(0, int)


def number_objects(
    schema: Schema, objects: Mapping[str, Objects], directory: Path
) -> tuple[Schema, dict[str, np.ndarray]]:
    """Gives objects and feature values their indices, and writes their tables.

    Args:
        schema: The schema.
        objects: The objects of each group, their occurrences counted.
        directory: Where `objects/` and `vocabularies/` are written.

    Returns:
        The schema with all sizes of groups, features and vocabularies; and for each group
        the object index of each object, int64, by its object number.

    Example:

    >>> schema = Schema((Group("item", id_type="int"),), ("item",))
    >>> from data_pipeline.prepare.rejections import Rejections
    >>> items = Objects(schema.groups[0], None, Rejections(tmp, skip=False))
    >>> numbers = items.numbers(np.array([50, 70, 70]))
    >>> everything = np.ones(3, bool)
    >>> items.count(numbers, everything, everything, {"item": everything})
    >>> schema, object_indices = number_objects(schema, {"item": items}, tmp)
    >>> object_indices["item"].tolist()  # Index 0 is for unknown items; 70 is the most frequent.
    [2, 1]
    """
    (directory / "objects").mkdir()
    (directory / "vocabularies").mkdir()
    vocabularies = []
    id_indices = {}  # By group, the embedding index of each object's id, by its object number.
    lookups = {}
    feature_names = {feature_vocabulary(f) for group in schema.groups for f in group.features}
    for group in schema.groups:
        vocabulary, indices = _index_ids(schema.vocabulary(group.name), objects[group.name])
        vocabularies.append(vocabulary)
        id_indices[group.name] = indices
        if group.name in feature_names:
            ids = pd.Index(objects[group.name].ids).astype(str)
            lookups[group.name] = _Lookup(ids, indices, vocabulary.num_oov)
    for name in sorted(feature_names - {group.name for group in schema.groups}):
        counts = _count_values(name, schema, objects)
        vocabulary, lookups[name] = _index_values(schema.vocabulary(name), counts, directory)
        vocabularies.append(vocabulary)
    schema = dataclasses.replace(schema, vocabularies=tuple(vocabularies))

    groups = []
    object_indices = {}
    for group in schema.groups:
        num_oov = schema.vocabulary(group.name).num_oov
        group_objects = objects[group.name]
        order = group_objects.ranked()
        object_indices[group.name] = num_oov + _position_of(order)
        targets = [t for t in schema.target_names if schema.target(t).group == group.name]
        features = _write_objects(
            group,
            targets,
            group_objects,
            order,
            id_indices[group.name],
            lookups,
            num_oov,
            directory,
        )
        groups.append(
            dataclasses.replace(
                group,
                features=features,
                num_trained=group_objects.num_trained,
                num_logged=group_objects.num_logged,
                num_objects=num_oov + len(order),
                num_oov=num_oov,
            )
        )
    return dataclasses.replace(schema, groups=tuple(groups)), object_indices


@dataclasses.dataclass(frozen=True)
class _Lookup:
    """The embedding indices of a vocabulary's values.

    Attributes:
        values: The values (str).
        indices: Their embedding indices, int64.
        num_oov: Number of out-of-vocabulary indices, for values that are not among them.
    """

    values: pd.Index
    indices: np.ndarray
    num_oov: int

    def __call__(self, values: np.ndarray) -> np.ndarray:
        positions = self.values.get_indexer(values)  # type: ignore[arg-type]
        is_known = positions >= 0
        indices = oov_indices(values, self.num_oov)
        indices[is_known] = self.indices[positions[is_known]]
        return indices


def _index_ids(vocabulary: Vocabulary, objects: Objects) -> tuple[Vocabulary, np.ndarray]:
    """The vocabulary of a group's ids, and each id's embedding index by object number."""
    order = objects.ranked()
    frequent = order[objects.train_occurrences[order] >= vocabulary.min_count]
    indices = oov_indices(objects.ids, vocabulary.num_oov)
    indices[frequent] = vocabulary.num_oov + np.arange(len(frequent))
    return _with_size(vocabulary, len(frequent)), indices


def _index_values(
    vocabulary: Vocabulary, counts: pd.Series, directory: Path
) -> tuple[Vocabulary, _Lookup]:
    """The vocabulary of feature values, written to its table, and their embedding indices."""
    counts = counts[counts >= vocabulary.min_count]
    table = pa.table({"value": pa.array(counts.index, pa.string()), "count": counts.array})
    pq.write_table(table, directory / "vocabularies" / f"{vocabulary.name}.parquet")
    indices = vocabulary.num_oov + np.arange(len(counts))
    lookup = _Lookup(pd.Index(counts.index), indices, vocabulary.num_oov)
    return _with_size(vocabulary, len(counts)), lookup


def _with_size(vocabulary: Vocabulary, num_values: int) -> Vocabulary:
    return dataclasses.replace(vocabulary, num_embeddings=vocabulary.num_oov + num_values)


def _count_values(name: str, schema: Schema, objects: Mapping[str, Objects]) -> pd.Series:
    """How many training events each value of a vocabulary is part of, the frequent first."""
    parts: list[pd.Series] = [pd.Series([], dtype=np.int64)]
    for group in schema.groups:
        counts = objects[group.name].train_occurrences
        for feature in group.features:
            if feature_vocabulary(feature) == name:
                values = objects[group.name].features(feature.name)
                weights = np.repeat(counts, values.lengths)
                parts.append(pd.Series(weights, index=values.values))
    total = pd.concat(parts).groupby(level=0).sum()
    return total.sort_index().sort_values(ascending=False, kind="stable")


def _write_objects(
    group: Group,
    targets: list[str],
    objects: Objects,
    order: np.ndarray,
    id_indices: np.ndarray,
    lookups: Mapping[str, _Lookup],
    num_oov: int,
    directory: Path,
) -> tuple[Feature, ...]:
    """Writes a group's objects in the order of their indices; returns its features, filled in."""
    columns = {
        "object": objects.ids[order],
        "train_count": objects.train_counts[order],
        "embedding_index": id_indices[order],
        "fingerprint": fingerprints(objects.ids[order]),
    }
    for target in targets:
        columns[f"train_count:{target}"] = objects.target_counts(target)[order]
    features = []
    for feature in group.features:
        values = objects.features(feature.name)
        indices = lookups[feature_vocabulary(feature)](values.values)
        column = _encode(values, indices, feature, order)
        columns[f"feature:{feature.name}"] = column
        columns[f"fingerprint:{feature.name}"] = _fingerprints(values, feature, order)
        num_values = len(column.values) if feature.multivalued else num_oov + len(order)
        features.append(_filled_in(feature, num_values, len(values.values)))
    pq.write_table(pa.table(columns), directory / "objects" / f"{group.name}.parquet")
    return tuple(features)


def _encode(
    values: FeatureValues, indices: np.ndarray, feature: Feature, order: np.ndarray
) -> pa.Array:
    """The embedding indices of a feature's values as a column, objects in order."""
    if not feature.multivalued:
        column = np.zeros(len(order), np.int64)
        column[values.lengths > 0] = indices
        return pa.array(column[order])
    owners = np.repeat(_position_of(order), values.lengths)
    frame = pd.DataFrame({"object": owners, "index": indices})
    frame = frame.drop_duplicates().sort_values(["object", "index"])
    lengths = np.bincount(frame["object"], minlength=len(order))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(frame["index"].to_numpy(np.int64)))


def _fingerprints(values: FeatureValues, feature: Feature, order: np.ndarray) -> pa.Array:
    """The fingerprints of a feature's values as a column, objects in order."""
    numbers, distinct = pd.factorize(values.values)
    of_values = fingerprints(np.asarray(distinct, object))[numbers]
    if not feature.multivalued:
        column = np.full(len(order), NO_VALUE)
        column[values.lengths > 0] = of_values
        return pa.array(column[order])
    ends = np.cumsum(values.lengths)
    lists = np.split(of_values, ends[:-1]) if len(ends) else []
    return pa.array([lists[number] for number in order], pa.list_(pa.int64()))


def _position_of(order: np.ndarray) -> np.ndarray:
    """The position of each object number in an order of them, int64."""
    positions = np.empty(len(order), np.int64)
    positions[order] = np.arange(len(order))
    return positions


def _filled_in(feature: Feature, num_values: int, num_fingerprints: int) -> Feature:
    return dataclasses.replace(
        feature,
        column=feature.column or feature.name,
        vocabulary=feature_vocabulary(feature),
        num_values=num_values,
        num_fingerprints=num_fingerprints,
    )
