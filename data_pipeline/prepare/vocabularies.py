"""Vocabularies: which values have an embedding index of their own."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from data_pipeline.prepare.objects import FeatureValues, Objects
from data_pipeline.schema import Feature, Schema, Vocabulary, feature_vocabulary


def hash_slot(values: np.ndarray, num_oov: int) -> np.ndarray:
    """Returns the out-of-vocabulary row of each value, int64 in [0, num_oov).

    The serving graph does the same with the same operation, so that an unknown id gets
    the row there that it would have got here.

    Args:
        values: Integers or strings [n].
        num_oov: Number of out-of-vocabulary rows.
    """
    if num_oov == 1 or not len(values):
        return np.zeros(len(values), np.int64)
    import tensorflow as tf  # Here: only vocabularies with several such rows pay for it.

    text = tf.strings.as_string(tf.constant(values.tolist()))
    return tf.strings.to_hash_bucket_fast(text, num_oov).numpy()


def number_objects(
    schema: Schema, objects: Mapping[str, Objects], directory: Path
) -> tuple[Schema, dict[str, np.ndarray]]:
    """Numbers objects and feature values, and writes their tables.

    Args:
        schema: The schema.
        objects: The objects of each group, their occurrences counted.
        directory: Where `objects/` and `vocabularies/` are written.

    Returns:
        The schema with all sizes of groups, features and vocabularies; and for each group
        the object index of each object, int64, by its number in `objects`.
    """
    (directory / "objects").mkdir()
    (directory / "vocabularies").mkdir()
    names = [g.name for g in schema.groups]
    shared = {feature_vocabulary(f) for g in schema.groups for f in g.features} - set(names)
    vocabularies = []
    indices: dict[str, pd.Index] = {}
    embedding_indices = {}
    for name in names:
        vocabulary, embedding_indices[name] = _id_rows(schema.vocabulary(name), objects[name])
        vocabularies.append(vocabulary)
    for name in sorted(shared):
        vocabulary = schema.vocabulary(name)
        counts = _count_values(name, schema, objects)
        counts = counts[counts >= vocabulary.min_count]
        indices[name] = pd.Index(counts.index)
        vocabularies.append(
            dataclasses.replace(vocabulary, num_embeddings=vocabulary.num_oov + len(counts))
        )
        table = pa.table({"value": pa.array(counts.index, pa.string()), "count": counts.array})
        pq.write_table(table, directory / "vocabularies" / f"{name}.parquet")
    schema = dataclasses.replace(schema, vocabularies=tuple(vocabularies))

    def rows_of(feature: Feature, values: np.ndarray) -> np.ndarray:
        name = feature_vocabulary(feature)
        num_oov = schema.vocabulary(name).num_oov
        if name in objects:
            ids = pd.Index(objects[name].ids).astype(str)
            found = ids.get_indexer(values)
            known = np.append(embedding_indices[name], 0)[found]
        else:
            found = indices[name].get_indexer(values)
            known = num_oov + found
        return np.where(found >= 0, known, hash_slot(values, num_oov))

    groups = []
    object_indices = {}
    for group in schema.groups:
        order = objects[group.name].ranked()
        num_oov = schema.vocabulary(group.name).num_oov
        object_indices[group.name] = np.empty(len(order), np.int64)
        object_indices[group.name][order] = num_oov + np.arange(len(order))
        columns = {
            "object": objects[group.name].ids[order],
            "train_count": objects[group.name].train_counts[order],
            "embedding_index": embedding_indices[group.name][order],
        }
        features = []
        for feature in group.features:
            values = objects[group.name].features[feature.name]
            column = _encode(values, rows_of(feature, values.values), feature, order)
            columns[f"feature:{feature.name}"] = column
            size = len(column.values) if feature.multivalued else num_oov + len(order)
            features.append(_filled(feature, size))
        pq.write_table(pa.table(columns), directory / "objects" / f"{group.name}.parquet")
        groups.append(
            dataclasses.replace(
                group,
                features=tuple(features),
                num_trained=objects[group.name].num_trained,
                num_logged=objects[group.name].num_logged,
                num_objects=num_oov + len(order),
                num_oov=num_oov,
            )
        )
    return dataclasses.replace(schema, groups=tuple(groups)), object_indices


def _id_rows(vocabulary: Vocabulary, objects: Objects) -> tuple[Vocabulary, np.ndarray]:
    """The embedding index of each object's id, by its number."""
    order = objects.ranked()
    own = order[objects.train_occurrences[order] >= vocabulary.min_count]
    rows = hash_slot(objects.ids, vocabulary.num_oov)
    rows[own] = vocabulary.num_oov + np.arange(len(own))
    return dataclasses.replace(vocabulary, num_embeddings=vocabulary.num_oov + len(own)), rows


def _count_values(name: str, schema: Schema, objects: Mapping[str, Objects]) -> pd.Series:
    """How many training events each value of a vocabulary is part of, the frequent first."""
    parts: list[pd.Series] = [pd.Series([], dtype=np.int64)]
    for group in schema.groups:
        counts = objects[group.name].train_occurrences
        for feature in group.features:
            if feature_vocabulary(feature) == name:
                values = objects[group.name].features[feature.name]
                weights = np.repeat(counts, values.lengths)
                parts.append(pd.Series(weights, index=values.values))
    total = pd.concat(parts).groupby(level=0).sum()
    return total.sort_index().sort_values(ascending=False, kind="stable")


def _encode(
    values: FeatureValues, rows: np.ndarray, feature: Feature, order: np.ndarray
) -> pa.Array:
    """The embedding indices of a feature's values as a column, objects in order."""
    if not feature.multivalued:
        column = np.zeros(len(order), np.int64)
        column[values.lengths > 0] = rows
        return pa.array(column[order])
    frame = pd.DataFrame({"object": np.repeat(np.arange(len(order)), values.lengths), "row": rows})
    frame = frame.drop_duplicates()
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    frame = frame.assign(object=place[frame["object"]]).sort_values(["object", "row"])
    lengths = np.bincount(frame["object"], minlength=len(order))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(frame["row"].to_numpy(np.int64)))


def _filled(feature: Feature, num_values: int) -> Feature:
    return dataclasses.replace(
        feature,
        column=feature.column or feature.name,
        vocabulary=feature_vocabulary(feature),
        num_values=num_values,
    )
