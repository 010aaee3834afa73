"""From what a server is sent, raw ids and timestamps, to what a model reads."""

from pathlib import Path

import pyarrow.parquet as pq
import tensorflow as tf

from atrank_tf.models.ranker import History
from data_pipeline import ragged
from data_pipeline.fingerprints import fingerprint
from data_pipeline.schema import Group, Schema
from export.protocol.fields import (
    CANDIDATE,
    CANDIDATES,
    NUM_CANDIDATES,
    REQUEST_TIME,
    HistoryFields,
)
from export.protocol.signatures import history_specs, id_dtype

Inputs = dict[str, tf.Tensor]


class RawInputs:
    """Looks raw ids up and shortens histories as training does.

    What a request may hold and training never saw is handled here: unknown ids and
    actions get the indices kept for them; behaviors at or after the query time, or with a
    negative time, are left out; so is whatever lies beyond a stated length, which itself is
    clipped to [0, T]; of long histories the newest `max_history` are read.

    Args:
        schema: The schema.
        objects_dir: Tables of the known objects, GROUP.parquet, in the order of their indices.
        assets_dir: A directory to write the vocabularies into; the SavedModel copies them.
        max_history: Newest behaviors of each group to read.

    Example:

    >>> schema, _ = toy_schema_and_catalog()
    >>> raw = RawInputs(schema, toy_data() / "objects", tmp, max_history=100)
    >>> unknown = tf.constant([-7], tf.int64)
    >>> raw.candidate({"candidate": unknown}, "query")[0].to_list()
    [[0]]
    """

    def __init__(
        self, schema: Schema, objects_dir: Path, assets_dir: Path, max_history: int
    ) -> None:
        self.schema = schema
        self.max_history = max_history
        self._objects = {
            group.name: _object_table(group, objects_dir, assets_dir) for group in schema.groups
        }
        self._actions = {
            group.name: _action_table(group) for group in schema.groups if group.actions
        }

    @property
    def tables(self) -> list[tf.lookup.StaticHashTable]:
        """The look-up tables, which an export archive must track one by one."""
        return [*self._objects.values(), *self._actions.values()]

    def history(self, inputs: Inputs) -> History:
        """Returns the behaviors by group, oldest first, as models take them.

        Beside `object`, `action` and `time` each group has the `position` that a behavior had
        in the request, and the `fingerprint` of its object's raw id: int64 [batch, (length)].
        All that were sent are here: `newest` shortens them.
        """
        return {group.name: self._behaviors(group, inputs) for group in self.schema.groups}

    def newest(self, history: History) -> History:
        """Returns the newest `max_history` behaviors of each group, which models encode."""
        return {
            group: {name: column[:, -self.max_history :] for name, column in columns.items()}
            for group, columns in history.items()
        }

    def candidate(self, inputs: Inputs, target: str) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
        """Returns each row's one candidate: object index and fingerprint, int64 [batch, (1)]."""
        ids = inputs[CANDIDATE]
        indices = self._object_indices(self.schema.target_group(target), ids)
        # With splits of its own, not of uniform length: as many candidates are, too.
        rows = ragged.from_row_lengths(indices, tf.ones_like(indices))
        return rows, ragged.like(rows, fingerprint(ids))

    def candidates(self, inputs: Inputs, target: str) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
        """Returns each row's real candidates: object indices and fingerprints.

        Both are int64 [batch, (candidates)].
        """
        ids = inputs[CANDIDATES]
        indices = self._object_indices(self.schema.target_group(target), ids)
        lengths = clip_lengths(inputs[NUM_CANDIDATES], ids)
        rows = ragged.from_tensor(indices, lengths)
        return rows, ragged.from_tensor(fingerprint(ids), lengths)

    def examples(self, serialized: tf.Tensor, target: str) -> Inputs:
        """Parses `tf.Example`s into the inputs of the point-wise signature.

        Features are named like its inputs, without the lengths: `GROUP_objects`,
        `GROUP_actions` and `GROUP_times` hold as many values as there are behaviors (the
        fewest count), `candidate` and `request_time` one. What is absent is empty: no
        behaviors, an unknown candidate, a request before all times.

        Args:
            serialized: string [batch].
            target: The group of the candidates.
        """
        specs = history_specs(self.schema)
        dtypes = {
            name: specs[name].dtype
            for group in self.schema.groups
            for name in HistoryFields(group).columns.values()
        }
        dtypes[CANDIDATE] = id_dtype(self.schema.target_group(target))
        dtypes[REQUEST_TIME] = tf.int64
        parsed = tf.io.parse_example(
            serialized,
            {
                name: tf.io.RaggedFeature(dtype, row_splits_dtype=tf.int64)
                for name, dtype in dtypes.items()
            },
        )
        inputs = {}
        for name in (CANDIDATE, REQUEST_TIME):
            absent = "" if dtypes[name] == tf.string else -1
            inputs[name] = parsed.pop(name).to_tensor(absent, shape=[None, 1])[:, 0]
        for group in self.schema.groups:
            fields = HistoryFields(group)
            columns = {name: parsed[name] for name in fields.columns.values()}
            lengths = tf.stack([column.row_lengths() for column in columns.values()])
            inputs[fields.length] = tf.reduce_min(lengths, axis=0)
            # A width of at least 1, of all columns alike.
            width = tf.reduce_max(tf.concat([[1], tf.reshape(lengths, [-1])], axis=0))
            for name, column in columns.items():
                inputs[name] = column.to_tensor(shape=[column.nrows(), width])
        return inputs

    def _behaviors(self, group: Group, inputs: Inputs) -> dict[str, tf.RaggedTensor]:
        fields = HistoryFields(group)
        sent = same_width({key: inputs[name] for key, name in fields.columns.items()})
        times, objects = sent["times"], self._object_indices(group, sent["objects"])
        if group.actions:
            actions = self._actions[group.name].lookup(sent["actions"])
        else:
            actions = tf.ones_like(objects)
        width = tf.shape(times, tf.int64)[1]
        positions = tf.broadcast_to(tf.range(width), tf.shape(times))
        is_real = tf.sequence_mask(inputs[fields.length], width)
        is_past = tf.logical_and(times >= 0, times < inputs[REQUEST_TIME][:, tf.newaxis])
        times = tf.where(tf.logical_and(is_real, is_past), times, -1)

        # Newest first; ties as the timelines have them, so that both keep the same behaviors.
        order = positions
        for column in (actions, objects, times):
            sorted_by = tf.gather(column, order, batch_dims=1)
            places = tf.argsort(sorted_by, axis=1, direction="DESCENDING", stable=True)
            order = tf.gather(order, places, batch_dims=1)
        columns = [actions, objects, times, positions, fingerprint(sent["objects"])]
        actions, objects, times, positions, fingerprints = (
            tf.gather(column, order, batch_dims=1) for column in columns
        )
        lengths = tf.reduce_sum(tf.cast(times >= 0, tf.int64), axis=1)
        history = {"object": objects, "action": actions, "time": times, "position": positions}
        history["fingerprint"] = fingerprints
        # Oldest first again: some models read the order, within an instant too.
        return {
            name: ragged.from_tensor(tf.reverse_sequence(column, lengths, seq_axis=1), lengths)
            for name, column in history.items()
        }

    def _object_indices(self, group: Group, ids: tf.Tensor) -> tf.Tensor:
        known = self._objects[group.name].lookup(ids)
        unknown = tf.strings.to_hash_bucket_fast(tf.strings.as_string(ids), group.num_oov)
        return tf.where(known < 0, unknown, known + group.num_oov)


def same_width(padded: Inputs) -> Inputs:
    """Returns tensors [batch, T, ...] shortened to the smallest T among them.

    A server that joins requests pads each tensor to a width of its own: one request whose
    tensors do not fit each other must not fail those that it is joined with.

    Example:

    >>> padded = same_width({"a": tf.zeros([2, 5]), "b": tf.zeros([2, 3, 4])})
    >>> {name: tuple(tensor.shape) for name, tensor in padded.items()}
    {'a': (2, 3), 'b': (2, 3, 4)}
    """
    width = tf.reduce_min([tf.shape(tensor)[1] for tensor in padded.values()])
    return {name: tensor[:, :width] for name, tensor in padded.items()}


def clip_lengths(lengths: tf.Tensor, padded: tf.Tensor) -> tf.Tensor:
    """Returns `lengths` [batch] clipped to what `padded` [batch, T, ...] can have: 0 to T.

    Example:

    >>> clip_lengths(tf.constant([-1, 2, 9], tf.int64), tf.zeros([3, 4])).numpy().tolist()
    [0, 2, 4]
    """
    return tf.clip_by_value(lengths, 0, tf.shape(padded, tf.int64)[1])


def _object_table(group: Group, objects_dir: Path, assets_dir: Path) -> tf.lookup.StaticHashTable:
    ids = pq.read_table(objects_dir / f"{group.name}.parquet", columns=["object"])["object"]
    path = assets_dir / f"{group.name}_objects.txt"
    path.write_text("".join(f"{i}\n" for i in ids.to_pylist()), encoding="utf-8", newline="\n")
    whole_line, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
    lines = tf.lookup.TextFileInitializer(
        str(path), id_dtype(group), whole_line, tf.int64, number,
        vocab_size=len(ids) or None,  # Where half of the file was copied, no server loads it.
    )  # fmt: skip
    return tf.lookup.StaticHashTable(lines, default_value=-1)


def _action_table(group: Group) -> tf.lookup.StaticHashTable:
    indices = tf.range(1, len(group.actions) + 1, dtype=tf.int64)
    pairs = tf.lookup.KeyValueTensorInitializer(tf.constant(group.actions), indices)
    return tf.lookup.StaticHashTable(pairs, default_value=0)
