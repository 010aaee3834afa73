"""What a user did to a candidate before, counted in plain Python."""

from typing import Any, NamedTuple

from data_pipeline.recurrence import ID, NEVER, look_ups
from data_pipeline.schema import Feature, Group, Schema

# Features of one value and of several, shared and not, one that does not recur.
ITEM = Group(
    "item",
    actions=("buy", "view"),
    features=(
        Feature("category"),
        Feature("tag", multivalued=True),
        Feature("color", recurs=False),
    ),
    objects="items.csv",
)
QUERY = Group(
    "query",
    actions=("ask",),
    features=(
        Feature("kind", vocabulary="category"),
        Feature("about", vocabulary="item", multivalued=True),
        Feature("color"),
    ),
    objects="queries.csv",
)
SCHEMA = Schema((ITEM, QUERY), ("item", "query"))

# By field the values that an object has: its id, none, or those of a feature.
ObjectValues = dict[str, list[Any]]


class Behavior(NamedTuple):
    """What a user did."""

    group: str
    values: ObjectValues
    action: int
    time: int


def count_repeats(
    schema: Schema, target: str, values: ObjectValues, query_time: int, behaviors: list[Behavior]
) -> list[int]:
    """The numbers of all look-ups of a candidate, given all that its user did."""
    numbers = []
    for look_up in look_ups(schema, target):
        past = [b for b in behaviors if b.group == look_up.group and b.time < query_time]
        actions = schema.group(look_up.group).actions
        num_counts = len(actions) if look_up.source == ID and actions else 1
        counts = [0] * num_counts
        rest: list[list[int]] = [[], [], []]
        for value in values[look_up.field]:
            touched = [b for b in past if value in b.values[look_up.source]]
            times = sorted(b.time for b in touched)
            for behavior in touched:
                if num_counts == 1:
                    counts[0] += 1
                elif behavior.action:
                    counts[behavior.action - 1] += 1
            if times:
                rest[0].append(query_time - times[-1])
                rest[2].append(sum(b.time > times[-1] for b in past))
            if len(times) > 1:
                rest[1].append(query_time - times[-2])
        numbers += [*counts, *(min(found, default=NEVER) for found in rest)]
    return numbers
