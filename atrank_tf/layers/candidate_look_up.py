"""Looks candidates up in all that users did, as a serving graph does."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from data_pipeline import ragged
from data_pipeline.recurrence import ID
from data_pipeline.schema import Schema
from data_pipeline.touches import Values, answer, of_user, sorted_touches, touch_keys

History = dict[str, dict[str, tf.RaggedTensor]]


@keras.saving.register_keras_serializable("atrank_tf")
class CandidateLookUp(keras.layers.Layer):
    """Looks candidates up in what users touched before, however long ago.

    It answers what `data_pipeline` puts into batches as their `recurrence`: see
    `data_pipeline.recurrence`. It holds the fingerprints of the ids and features of all objects, as
    weights that are not trained, so that a saved model can take any history that it is sent.

    Args:
        schema: Description of the data, with the sizes that preparation filled in.

    Example:

    >>> data = TimelineData(toy_data())
    >>> look_ups = CandidateLookUp(data.schema)
    >>> look_ups.set_catalog(data.catalog)
    >>> ((inputs, _),) = data.batches("test", BatchOptions(max_history=1000)).take(1)
    >>> touched = look_ups.touched(inputs["history"], tf.constant(len(inputs["user"]), tf.int64))
    >>> found = look_ups.look_up(touched, inputs["candidates"], inputs["query_time"])
    >>> bool(tf.reduce_all(found["item"] == inputs["recurrence"]["item"]))
    True
    """

    def __init__(self, schema: Schema, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.schema = schema
        self.fingerprints: dict[str, keras.Variable] = {}
        self.splits: dict[str, keras.Variable] = {}
        for group in schema.groups:
            self.fingerprints[f"{group.name}/"] = self._lookup_weight(group.name, group.num_objects)
            for feature in group.features:
                key, name = f"{group.name}/{feature.name}", f"{group.name}_{feature.name}"
                size = feature.num_fingerprints if feature.multivalued else group.num_objects
                self.fingerprints[key] = self._lookup_weight(name, max(1, size))
                if feature.multivalued:
                    self.splits[key] = self._lookup_weight(f"{name}_splits", group.num_objects + 1)
        self.built = True

    def _lookup_weight(self, name: str, size: int) -> keras.Variable:
        return self.add_weight(
            name=name, shape=(size,), dtype="int64", initializer="zeros", trainable=False
        )

    def set_catalog(self, catalog: dict[str, dict[str, np.ndarray]]) -> None:
        """Sets the fingerprints.

        Args:
            catalog: For each group the arrays of `data_pipeline.catalog`.
        """
        for key, weight in self.fingerprints.items():
            group, feature = key.split("/")
            prefix = f"{feature}/" if feature else ""
            values = catalog[group][f"{prefix}fingerprints"]
            if values.size:
                weight.assign(values)
            if key in self.splits:
                self.splits[key].assign(catalog[group][f"{prefix}fingerprint_splits"])

    def touched(self, history: History, num_rows: tf.Tensor) -> tf.RaggedTensor:
        """Returns what users touched, sorted to be looked up, of all their behaviors.

        Args:
            history: Behaviors by group, as in a batch, but all that there are. A group may also
                have the `fingerprint` of each object's raw id, int64 [batch, (behaviors)]:
                objects that the data does not know are told apart by it.
            num_rows: Number of batch rows, int64 [].

        Returns:
            Keys and times, int64 [batch, (touches), 2].
        """
        nothing = tf.zeros([0], tf.int64)
        keys, times, rows = [nothing], [nothing], [nothing]
        for group in self.schema.groups:
            if group.name in history:
                columns = history[group.name]
                values = self._values(group.name, columns["object"], columns.get("fingerprint"))
                actions = columns["action"].flat_values
                of_group, behaviors = touch_keys(self.schema, group, values, actions)
                keys.append(of_group)
                times.append(tf.gather(columns["time"].flat_values, behaviors))
                rows.append(tf.gather(ragged.row_ids(columns["object"]), behaviors))
        joined = [tf.concat(columns, axis=0) for columns in (keys, times, rows)]
        return _sorted_by_key(joined[0], joined[1], joined[2], num_rows)

    def extend(self, touched: tf.RaggedTensor, history: History) -> tf.RaggedTensor:
        """Adds behaviors to what users touched; none may be before what is in it.

        Args:
            touched: What `touched` or `extend` returned.
            history: The new behaviors, as `touched` takes them.

        Returns:
            As `touched` does of all behaviors at once.
        """
        new = self.touched(history, touched.nrows())
        keys, times = tf.unstack(tf.concat([touched.flat_values, new.flat_values], axis=0), axis=1)
        rows = tf.concat([ragged.row_ids(touched), ragged.row_ids(new)], axis=0)
        return _sorted_by_key(keys, times, rows, touched.nrows())

    def look_up(
        self,
        touched: tf.RaggedTensor,
        candidates: dict[str, tf.RaggedTensor],
        query_time: tf.Tensor | dict[str, tf.RaggedTensor],
        fingerprints: dict[str, tf.RaggedTensor] | None = None,
    ) -> dict[str, tf.RaggedTensor]:
        """Looks candidates up, strictly before their query times.

        Args:
            touched: What `touched` or `extend` returned.
            candidates: By target object indices, int64 [batch, (candidates)].
            query_time: int64 [batch]; or that of each candidate, by target int64 [batch,
                (candidates)].
            fingerprints: By target those of the candidates' raw ids, where they are known.

        Returns:
            The `recurrence` of a batch: by target int64 [batch, (candidates), numbers].
        """
        keys, times = tf.unstack(touched.flat_values, axis=1)
        found = sorted_touches(of_user(keys, ragged.row_ids(touched)), times)
        recurrence = {}
        for target, objects in candidates.items():
            group = self.schema.target(target).group
            values = self._values(group, objects, (fingerprints or {}).get(target))
            if isinstance(query_time, dict):
                query_times = query_time[target].flat_values
            else:
                query_times = ragged.per_value(objects, query_time)
            rows = ragged.row_ids(objects)
            numbers = answer(found, self.schema, target, values, query_times, rows)
            recurrence[target] = ragged.like(objects, numbers)
        return recurrence

    def _values(self, group: str, objects: tf.RaggedTensor, ids: tf.RaggedTensor | None) -> Values:
        """The fingerprints of objects by field; those of their ids as they are given."""
        flat = objects.flat_values
        values: dict[str, tf.Tensor | tf.RaggedTensor] = {}
        for key, weight in self.fingerprints.items():
            of_group, field = key.split("/")
            if of_group == group and key in self.splits:
                splits = self.splits[key].value
                rows = tf.ragged.range(tf.gather(splits, flat), tf.gather(splits, flat + 1))
                values[field] = ragged.like(rows, tf.gather(weight.value, rows.flat_values))
            elif of_group == group:
                values[field] = tf.gather(weight.value, flat)
        return values if ids is None else {**values, ID: ids.flat_values}

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "schema": self.schema.to_dict()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "CandidateLookUp":
        """Makes the layer from what `get_config` returned."""
        return cls(**{**config, "schema": Schema.from_dict(config["schema"])})


def _sorted_by_key(
    keys: tf.Tensor, times: tf.Tensor, rows: tf.Tensor, num_rows: tf.Tensor
) -> tf.RaggedTensor:
    """Divides touches into rows, sorted by key; those of one key stay in their order."""
    order = tf.argsort(of_user(keys, rows), stable=True)
    touches = tf.gather(tf.stack([keys, times], axis=1), order)
    rows = tf.gather(rows, order)
    return ragged.from_value_rowids(touches, rows, nrows=num_rows, validate=False)
