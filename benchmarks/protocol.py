"""Gives other libraries the same events, histories and candidates, and measures their scores.

They read one file of arrays, without labels, and return scores; the AUC of everyone's scores
is computed here, by the package's own metric.
"""

from pathlib import Path

import numpy as np

from atrank_tf.evaluate import ranking_metrics
from data_pipeline import BatchOptions, TimelineData
from data_pipeline.core.errors import UserError


class Protocol:
    """The events and candidates of prepared data with one target group.

    Args:
        data: The data.
        max_history: Newest behaviors that a history of the held-out queries keeps.
    """

    def __init__(self, data: TimelineData, max_history: int) -> None:
        self._data = data
        self._group = group = data.schema.groups[0]
        multivalued = [feature.name for feature in group.features if feature.multivalued]
        if len(data.schema.groups) > 1 or group.num_oov != 1 or not multivalued:
            raise UserError(
                f"{data.directory}: expected one group, one index for unknown objects, and "
                "a feature with several values"
            )
        self._feature = multivalued[0]
        self._max_history = max_history
        self._labels: dict[str, np.ndarray] = {}
        self._users: dict[str, np.ndarray] = {}
        self._queries: dict[str, np.ndarray] = {}

    def write(self, path: Path) -> None:
        """Writes the arrays, as `other_libraries.harness.Protocol` reads them.

        Users are their indices. Items are their object indices, of which 0, the unknown
        object, is padding. Of the objects' features it holds the first with several values.
        """
        objects = self._data.catalog[self._group.name]
        arrays = {
            "num_items": np.array(self._group.num_objects - 1),
            "num_trained": np.array(self._group.num_trained),
            "num_feature_values": np.array(objects[f"{self._feature}/indices"].max() + 1),
            "item_feature_rows": objects[f"{self._feature}/indices"] + 1,
            "item_feature_splits": objects[f"{self._feature}/splits"],
        }
        arrays |= self._training_events()
        for split in ("validation", "test"):
            arrays |= self._held_out(split)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]

    def auc(self, split: str, scores: np.ndarray) -> float:
        """Returns the mean AUC of users, given the scores of a split's candidates."""
        scored = ranking_metrics.Scored(
            self._users[split], self._queries[split], self._labels[split], scores
        )
        return float(np.nanmean(ranking_metrics.per_user(scored).means["auc"]))

    def _training_events(self) -> dict[str, np.ndarray]:
        columns: dict[str, list[np.ndarray]] = {"user": [], "item": [], "time": []}
        for inputs, labels in self._data.batches("train", BatchOptions(rows="windows"), epoch=0):
            objects, times = (inputs[key][self._group.name] for key in ("candidates", "query_time"))
            positive = labels.numpy() > 0
            users = inputs["user"].numpy()[objects.value_rowids()]
            columns["user"].append(users[positive])
            columns["item"].append(objects.flat_values.numpy()[positive])
            columns["time"].append(times.flat_values.numpy()[positive])
        joined = {name: np.concatenate(parts) for name, parts in columns.items()}
        order = np.lexsort((joined["time"], joined["user"]))
        return {f"train_{name}": column[order] for name, column in joined.items()}

    def _held_out(self, split: str) -> dict[str, np.ndarray]:
        users, histories, candidates, labels = [], [], [], []
        for inputs, label in self._data.batches(split, BatchOptions(max_history=self._max_history)):
            users.append(inputs["user"].numpy())
            histories.append(inputs["history"][self._group.name]["object"])
            candidates.append(inputs["candidates"][self._group.name])
            labels.append(label.numpy())
        counts = np.concatenate([c.row_lengths().numpy() for c in candidates])
        self._queries[split] = np.repeat(np.arange(len(counts)), counts)
        self._users[split] = np.repeat(np.concatenate(users), counts)
        self._labels[split] = np.concatenate(labels)
        lengths = np.concatenate([h.row_lengths().numpy() for h in histories])
        return {
            f"{split}_user": np.concatenate(users),
            f"{split}_history": np.concatenate([h.flat_values.numpy() for h in histories]),
            f"{split}_history_splits": np.concatenate([[0], np.cumsum(lengths)]),
            f"{split}_candidates": np.concatenate([c.flat_values.numpy() for c in candidates]),
            f"{split}_candidates_splits": np.concatenate([[0], np.cumsum(counts)]),
        }
