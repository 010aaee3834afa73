"""`BatchOptions`: how timelines are cut into batches."""

from collections.abc import Collection
from typing import Annotated, Literal, Self

from pydantic import Field

from data_pipeline.core.errors import UserError
from data_pipeline.core.options import Options

SPLITS = ("train", "validation", "test")

Sampling = Literal["uniform", "popularity", "all"]


class BatchOptions(Options):
    """Batches: how timelines are cut into them, for training or evaluation.

    Example:

    >>> BatchOptions(max_history=0)
    Traceback (most recent call last):
    data_pipeline.core.errors.UserError: max_history is 0: expected 1 or more
    """

    rows: Literal["auto", "queries", "windows"] = "auto"
    """What a batch row is: queries, windows or auto. queries: one user at one query
    time, with the targets of that time. windows: a window of a timeline with all its targets, for
    models whose state serves every query time; for training alone. auto: windows where the command
    trains a model that can and no max_queries is set; otherwise, and in `TimelineData.batches`,
    queries."""

    max_history: Annotated[int, Field(ge=1)] = 100
    """Newest events of each group that a history keeps."""

    max_tokens: Annotated[int, Field(ge=1)] | None = None
    """Events and candidates in a batch, about. Histories of like length share a batch. By default
    8192 in training on queries, which have fewer targets for them, otherwise 3072."""

    max_queries: Annotated[int, Field(ge=0)] = 0
    """Query times of each user in an epoch, chosen at random; 0 for all. For rows of queries."""

    num_negatives: Annotated[int, Field(ge=1)] | None = None
    """Sampled for each positive in training, for each query in evaluation. By default 1 and 99.
    None are sampled where the targets are labelled."""

    sampling: Sampling = "uniform"
    """How negatives are drawn in evaluation: uniform, popularity or all. popularity: by their
    number of training events, some perhaps several times. all: every object that was ever logged
    is one. In training they are drawn uniformly."""

    single_target: bool = False
    """Batches with candidates of one target each: the paper's all2all."""

    look_ups: bool = True
    """Whether batches tell what the user did to each candidate before, in their whole timeline. In
    training as the model wants it."""

    target_weights: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """Weight of each target in the loss; 1 where it is not named. They shift the weights that
    targets share; the steps of Adam and Adagrad on those that one target alone has do not depend on
    a constant factor, but 0."""

    def resolved(self, split: str, targets: Collection[str]) -> Self:
        """Returns the options with what is left open filled in, checked against the data.

        Args:
            split: "train", "validation" or "test".
            targets: Names of the targets.

        Raises:
            UserError: There is no such split or target, or rows do not suit the split.
        """
        if split not in SPLITS:
            raise UserError(f"split is {split!r}: expected one of {', '.join(SPLITS)}")
        is_training = split == "train"
        rows = "queries" if self.rows == "auto" else self.rows
        if rows == "windows" and not is_training:
            raise UserError("rows is 'windows': for training alone, use 'queries'")
        if is_training and self.sampling != "uniform":
            raise UserError(f"sampling is {self.sampling!r}: for evaluation alone")
        if rows == "windows" and self.max_queries:
            raise UserError("max_queries: for rows='queries'; windows hold all query times")
        for target in self.target_weights:
            if target not in targets:
                raise UserError(f"target_weights: {target!r}: expected one of {', '.join(targets)}")
        return self.replace(
            rows=rows,
            max_tokens=self.max_tokens or (8192 if is_training and rows == "queries" else 3072),
            num_negatives=self.num_negatives or (1 if is_training else 99),
        )
