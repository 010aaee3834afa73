"""The serving graph: from raw ids and timestamps to scores."""

from pathlib import Path

import pyarrow.parquet as pq
import tensorflow as tf

from atrank_tf.models import Ranker
from atrank_tf.schema import Group
from export.signature import id_dtype


class Scorer:
    """Looks raw ids up, cuts the history as training does, and scores.

    What a request may hold and training never saw is handled here: unknown ids and
    actions get the rows kept for them; behaviours at or after the request, or with a
    negative time, are left out; so is whatever stands beyond the stated length, which
    itself is held to [0, T]; of long histories the newest `max_history` are read.

    Args:
        model: The trained model.
        objects_dir: Tables of the known objects, GROUP.parquet, in row order.
        assets_dir: A directory to write the vocabularies into; the SavedModel copies them.
        max_history: Newest behaviours of each group to read.
    """

    def __init__(
        self, model: Ranker, objects_dir: Path, assets_dir: Path, max_history: int
    ) -> None:
        self.model = model
        self.max_history = max_history
        self._objects = {
            group.name: _object_table(group, objects_dir, assets_dir)
            for group in model.schema.groups
        }
        self._actions = {
            group.name: _action_table(group) for group in model.schema.groups if group.actions
        }

    @property
    def tables(self) -> list[tf.lookup.StaticHashTable]:
        """The look-up tables, which an export archive must be told of one by one."""
        return [*self._objects.values(), *self._actions.values()]

    def pointwise(self, inputs: dict[str, tf.Tensor], target: str) -> dict[str, tf.Tensor]:
        """Scores one candidate a row.

        Args:
            inputs: As `export.signature` describes them.
            target: The group of the candidates.

        Returns:
            `score` and `logit`, float32 [batch].
        """
        now = inputs["request_time"]
        history = {g.name: self._history(g, inputs, now) for g in self.model.schema.groups}
        rows = self._object_rows(self.model.schema.group(target), inputs["candidate"])
        candidates = {target: tf.RaggedTensor.from_uniform_row_length(rows, 1)}
        memory = self.model.encode(history, now)
        logit = self.model.score(memory, candidates, now)[target].flat_values
        return {"score": tf.sigmoid(logit), "logit": logit}

    def _history(
        self, group: Group, inputs: dict[str, tf.Tensor], now: tf.Tensor
    ) -> dict[str, tf.RaggedTensor]:
        times = inputs[f"{group.name}_times"]
        objects = self._object_rows(group, inputs[f"{group.name}_objects"])
        if group.actions:
            actions = self._actions[group.name].lookup(inputs[f"{group.name}_actions"])
        else:
            actions = tf.ones_like(objects)
        width = tf.shape(times, out_type=tf.int64)[1]
        is_real = tf.sequence_mask(inputs[f"{group.name}_length"], width)
        is_past = tf.logical_and(times >= 0, times < now[:, tf.newaxis])
        times = tf.where(tf.logical_and(is_real, is_past), times, -1)

        # Newest first; ties as the timelines have them, so that both cut at the same place.
        columns = [actions, objects, times]
        for key in range(len(columns)):
            order = tf.argsort(columns[key], axis=1, direction="DESCENDING", stable=True)
            columns = [tf.gather(column, order, batch_dims=1) for column in columns]
        actions, objects, times = (column[:, : self.max_history] for column in columns)
        lengths = tf.reduce_sum(tf.cast(times >= 0, tf.int64), axis=1)
        history = {"object": objects, "action": actions, "time": times}
        # Oldest first again: some models read the order, within an instant too.
        return {
            name: tf.RaggedTensor.from_tensor(
                tf.reverse_sequence(column, lengths, seq_axis=1), lengths
            )
            for name, column in history.items()
        }

    def _object_rows(self, group: Group, ids: tf.Tensor) -> tf.Tensor:
        rows = self._objects[group.name].lookup(ids)
        unknown = tf.strings.to_hash_bucket_fast(tf.strings.as_string(ids), group.num_oov)
        return tf.where(rows < 0, unknown, rows + group.num_oov)


def _object_table(group: Group, objects_dir: Path, assets_dir: Path) -> tf.lookup.StaticHashTable:
    ids = pq.read_table(objects_dir / f"{group.name}.parquet", columns=["object"])["object"]
    path = assets_dir / f"{group.name}_objects.txt"
    path.write_text("".join(f"{i}\n" for i in ids.to_pylist()), encoding="utf-8", newline="\n")
    whole_line, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
    lines = tf.lookup.TextFileInitializer(str(path), id_dtype(group), whole_line, tf.int64, number)
    return tf.lookup.StaticHashTable(lines, default_value=-1)


def _action_table(group: Group) -> tf.lookup.StaticHashTable:
    rows = tf.range(1, len(group.actions) + 1, dtype=tf.int64)
    pairs = tf.lookup.KeyValueTensorInitializer(tf.constant(group.actions), rows)
    return tf.lookup.StaticHashTable(pairs, default_value=0)
