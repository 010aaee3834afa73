"""Scores the candidates of held-out targets."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import numpy as np
import tensorflow as tf

from atrank_tf.evaluate.ranking_metrics import Positives, Scored, per_positive
from atrank_tf.models import Ranker
from data_pipeline.batches.negatives import random_numbers
from data_pipeline.core.errors import DivergedError
from data_pipeline.core.progress import Progress
from data_pipeline.schema import Schema

# Of a batch, a target and the schema: what is known of each candidate.
Facts = Callable[[Mapping[str, Any], str, Schema], dict[str, np.ndarray]]


class Scoring:
    """Scores all candidates of a dataset, encoding each history once.

    Args:
        model: The model.
        batches: What `TimelineData.batches` returned.
        facts: Returns what is to be known of each candidate, given a batch, the target and the
            schema, as `slices.facts`; None for nothing.

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
    >>> scored.user.tolist(), scored.label.tolist()
    ([7, 7], [1.0, 0.0])
    """

    def __init__(self, model: Ranker, batches: tf.data.Dataset, facts: Facts | None = None) -> None:
        self._schema = model.schema
        self._batches = batches
        self._facts = facts
        inputs, _ = cast(tuple[Any, Any], batches.element_spec)
        self._score = tf.function(model, input_signature=[inputs], autograph=False)
        self.seconds: list[float] = []
        self.candidates: list[int] = []

    def run(self, progress: Progress | None = None) -> dict[str, Scored]:
        """Goes through the dataset once.

        Args:
            progress: Counts the batches, if given.

        Returns:
            The scored candidates by target.

        Raises:
            DivergedError: A score is NaN.
        """
        parts: dict[str, list[Scored]] = {target: [] for target in self._schema.target_names}
        for target, part in self._parts(progress):
            parts[target].append(part)
        return {target: self._joined(target, batches) for target, batches in parts.items()}

    def positives(self, progress: Progress | None = None) -> dict[str, Positives]:
        """Goes through the dataset once, and keeps nothing of negatives that were not logged.

        Returns:
            The metrics of each positive, by target; of those that have any.
        """
        logged: dict[str, list[Scored]] = {}
        others: dict[str, list[Positives]] = {}
        for target, part in self._parts(progress):
            if part.labelled:  # Compared with all of their user's or list's.
                logged.setdefault(target, []).append(part)
            else:
                others.setdefault(target, []).append(per_positive(part))
        return {target: Positives.joined(parts) for target, parts in others.items()} | {
            target: per_positive(self._joined(target, parts)) for target, parts in logged.items()
        }

    def _parts(self, progress: Progress | None) -> Iterator[tuple[str, Scored]]:
        """The scored candidates of each batch and target in turn."""
        num_queries = 0
        for inputs, labels in self._batches:
            yield from self._by_target(inputs, labels.numpy(), self._logits(inputs), num_queries)
            num_queries += len(inputs["user"])
            if progress:
                progress.advance(1)

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
        for target in self._schema.target_names:
            batch_rows = inputs["candidates"][target].value_rowids().numpy()
            end = start + len(batch_rows)
            lists = inputs.get("lists", {}).get(target)
            queries = batch_rows + num_queries
            if lists is not None:
                queries = random_numbers(users[batch_rows], lists.flat_values).numpy()
            yield (
                target,
                Scored(
                    users[batch_rows],
                    queries,
                    labels[start:end],
                    logits[start:end],
                    bool(self._schema.target_group(target).impressions),
                    lists is not None,
                    self._facts(inputs, target, self._schema) if self._facts else {},
                ),
            )
            start = end

    def _joined(self, target: str, parts: list[Scored]) -> Scored:
        """The candidates of all batches."""

        def join(columns: list[np.ndarray]) -> np.ndarray:
            return np.concatenate(columns) if columns else np.empty(0, np.int64)

        facts = parts[0].facts if parts else {}
        return Scored(
            join([part.user for part in parts]),
            join([part.query for part in parts]),
            join([part.label for part in parts]),
            join([part.logit for part in parts]),
            labelled=bool(self._schema.target_group(target).impressions),
            in_lists=bool(parts and parts[0].in_lists),
            facts={name: join([part.facts[name] for part in parts]) for name in facts},
        )
