"""Scores the candidates of held-out targets."""

import time
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import tensorflow as tf

from atrank_tf.evaluate.ranking_metrics import Scored
from atrank_tf.models import Ranker
from data_pipeline.core.errors import DivergedError
from data_pipeline.core.progress import Progress


class Scoring:
    """Scores all candidates of a dataset, encoding each history once.

    Args:
        model: The model.
        batches: What `TimelineData.batches` returned.

    Attributes:
        seconds: How long the model took for each batch that was scored, in turn; the first one
            made the graph ready.
        candidates: How many candidates each of them had.

    Example:

    >>> schema, catalog = toy_schema_and_catalog()
    >>> model = Popularity(schema.select(["item"], ["item"]), {"item": catalog["item"]})
    >>> item = {name: tf.ragged.constant([[5, 6]]) for name in ("object", "action", "time")}
    >>> inputs = {"history": {"item": item}, "candidates": {"item": item["object"]}}
    >>> inputs |= {"user": tf.constant([7]), "query_time": tf.constant([9])}
    >>> labels = tf.constant([1.0, 0.0])
    >>> batches = tf.data.Dataset.from_tensors((inputs, labels))  # As of TimelineData.batches.
    >>> scored = Scoring(model, batches).run()["item"]
    >>> scored.user, scored.label
    (array([7, 7]), array([1., 0.]))
    """

    def __init__(self, model: Ranker, batches: tf.data.Dataset) -> None:
        self._schema = model.schema
        self._batches = batches
        inputs, _ = cast(tuple[Any, Any], batches.element_spec)
        self._score = tf.function(model, input_signature=[inputs], autograph=False)
        self.seconds: list[float] = []
        self.candidates: list[int] = []

    def run(self, progress: Progress | None = None) -> dict[str, Scored]:
        """Goes through the dataset once.

        Args:
            progress: Counts the batches, if given.

        Returns:
            The scored candidates by target group.

        Raises:
            DivergedError: A score is NaN.
        """
        parts: dict[str, list[Scored]] = {target: [] for target in self._schema.targets}
        num_queries = 0
        for inputs, labels in self._batches:
            logits = self._logits(inputs)
            for target, part in self._by_target(inputs, labels.numpy(), logits, num_queries):
                parts[target].append(part)
            num_queries += len(inputs["user"])
            if progress:
                progress.advance(1)
        return {target: self._joined(target, batches) for target, batches in parts.items()}

    def _logits(self, inputs: dict[str, Any]) -> np.ndarray:
        """The scores of a batch's candidates, those of the targets in turn: [n]."""
        start = time.monotonic()
        logits = self._score(inputs).numpy()
        self.seconds.append(time.monotonic() - start)
        if np.isnan(logits).any():
            raise DivergedError("a score is nan: the model has diverged")
        self.candidates.append(len(logits))
        return logits

    def _by_target(
        self, inputs: dict[str, Any], labels: np.ndarray, logits: np.ndarray, num_queries: int
    ) -> Iterator[tuple[str, Scored]]:
        """Divides a batch by target; queries are numbered from `num_queries` on."""
        users = inputs["user"].numpy()
        start = 0
        for target in self._schema.targets:
            batch_rows = inputs["candidates"][target].value_rowids().numpy()
            end = start + len(batch_rows)
            yield (
                target,
                Scored(
                    users[batch_rows],
                    batch_rows + num_queries,
                    labels[start:end],
                    logits[start:end],
                ),
            )
            start = end

    def _joined(self, target: str, parts: list[Scored]) -> Scored:
        """The candidates of all batches."""

        def join(name: str) -> np.ndarray:
            return np.concatenate([np.empty(0, np.int64), *(getattr(part, name) for part in parts)])

        is_labelled = bool(self._schema.group(target).impressions)
        return Scored(join("user"), join("query"), join("label"), join("logit"), is_labelled)
