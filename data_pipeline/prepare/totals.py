"""What is counted over all partitions while logs are prepared."""

import dataclasses

from data_pipeline.prepare import timelines
from data_pipeline.prepare.ingest import EVENT
from data_pipeline.schema import Schema

# Those beyond are one: few are logged so far down a list.
_MAX_POSITIONS = 1000


class Positions:
    """The positions in lists that were logged.

    Example:

    >>> schema = Schema((Group("item"),), ("item",))
    >>> Positions().filled_in(schema) == schema  # None were.
    True
    """

    def __init__(self) -> None:
        self._ranges: dict[str, tuple[int, int]] = {}

    def add(self, part: timelines.Timelines, schema: Schema) -> None:
        """Adds those of a partition."""
        for number, group in enumerate(schema.groups):
            if "position" in schema.place_columns(group.name):
                is_shown = (part.events["group"] == number) & (part.events["label"] != EVENT)
                logged = part.events["position"][is_shown]
                first, last = self._ranges.get(group.name, (_MAX_POSITIONS - 1, 0))
                self._ranges[group.name] = (
                    min(first, int(logged.min(initial=first))),
                    max(last, int(logged.max(initial=0))),
                )

    def filled_in(self, schema: Schema) -> Schema:
        """Returns the schema with the positions of each group."""
        groups = []
        for group in schema.groups:
            if group.name in self._ranges:
                first, last = self._ranges[group.name]
                num_positions = min(last + 1, _MAX_POSITIONS)
                group = dataclasses.replace(
                    group, first_position=min(first, last), num_positions=num_positions
                )
            groups.append(group)
        return dataclasses.replace(schema, groups=tuple(groups))


class Totals:
    """Counts of events and targets over all partitions.

    Args:
        schema: The schema.

    Attributes:
        events: Events by group.
        targets: Targets by split and name.
        time_range: The first and the last time.
        last_trained: Time of the last training target; 0 without any.

    Example:

    >>> Totals(Schema((Group("item"),), ("item",))).events
    {'item': 0}
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self.events = {group.name: 0 for group in schema.groups}
        self.targets = {
            split: dict.fromkeys(schema.target_names, 0)
            for split in ("train", "validation", "test")
        }
        self.time_range = (timelines.NEVER, 0)
        self.last_trained = 0
        sampled = [t for t in schema.target_names if not schema.target_group(t).impressions]
        self._repeats = dict.fromkeys(sampled, 0)

    def repeats(self) -> dict[str, float]:
        """Returns by target the share of repeats in training; of sampled negatives alone."""
        trained = self.targets["train"]
        return {target: n / max(1, trained[target]) for target, n in self._repeats.items()}

    def add(self, part: timelines.Timelines) -> None:
        """Adds those of a partition."""
        events = part.events
        is_test = events["time"] >= part.test_start[events["user"]]
        is_train = timelines.is_training(part)
        splits = {"train": is_train, "validation": ~is_train & ~is_test, "test": is_test}
        is_event = events["label"] == EVENT
        for position, group in enumerate(self._schema.groups):
            self.events[group.name] += int(((events["group"] == position) & is_event).sum())
        groups = [group.name for group in self._schema.groups]
        for name in self._schema.target_names:
            is_target = timelines.is_target(events, self._schema, name)
            for split, in_split in splits.items():
                self.targets[split][name] += int((is_target & in_split).sum())
            if name in self._repeats:
                position = groups.index(self._schema.target(name).group)
                is_repeat = timelines.is_repeat(events, (events["group"] == position) & is_event)
                self._repeats[name] += int((is_repeat & is_target & is_train).sum())
        is_target = timelines.is_target(events, self._schema)
        trained = events["time"][is_target & is_train]
        self.last_trained = max(self.last_trained, int(trained.max(initial=0)))
        first, last = self.time_range
        self.time_range = (
            min(first, int(events["time"].min())),
            max(last, int(events["time"].max())),
        )
