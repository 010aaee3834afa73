"""Recurrence: which values of a candidate are looked up in what a user did before, and where.

The field calls it repeat consumption. Each *look-up* asks of one field of a candidate, its id or a
feature, when the user last touched the same value through one field of one group's objects: a
product bought before, its category among those bought, a coupon's campaign among those received.
It answers with whole numbers, strictly before the query time:

    counts      how often; among ids by action
    gap         units of time since the last
    previous    units of time since the one before that
    steps       behaviors of that group after the last: 0 where nothing came after it

and with -1 for what never was. `data_pipeline.touches` finds them.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from data_pipeline.schema import Group, Schema, feature_vocabulary

# The field that is an object's id; any other is a feature's name.
ID = ""
NEVER = -1


class LookUp(NamedTuple):
    """Where a candidate's value is looked for.

    Attributes:
        field: The candidate's field.
        group: The group whose behaviors are searched.
        source: The field of their objects.

    Example:

    >>> LookUp("campaign", "campaign", ID).name
    'campaign among campaign'
    """

    field: str
    group: str
    source: str

    @property
    def name(self) -> str:
        """What it is called in messages and tables."""
        among = f"{self.group}.{self.source}" if self.source else self.group
        return f"{self.field or 'id'} among {among}"


def look_ups(schema: Schema, target: str) -> tuple[LookUp, ...]:
    """Returns the look-ups of a target: each field in each that shares its vocabulary.

    The first is that of the id among the group's own.

    Args:
        schema: The schema.
        target: Name of the target.

    Example:

    >>> schema, _ = toy_schema_and_catalog()
    >>> [look_up.name for look_up in look_ups(schema, "item")][:3]
    ['id among item', 'category among item.category', 'category among query.category']
    """
    own = schema.target_group(target)
    others = [group for group in schema.groups if group.name != own.name]
    return tuple(
        LookUp(field, group.name, source)
        for field, vocabulary in _fields(own)
        for group in (own, *others)
        for source, other in _fields(group)
        if other == vocabulary
    )


def num_counts(schema: Schema, look_up: LookUp) -> int:
    """Returns how many counts a look-up answers with: among ids one for each action.

    Example:

    >>> schema, _ = toy_schema_and_catalog()
    >>> [num_counts(schema, look_up) for look_up in look_ups(schema, "item")][:2]
    [2, 1]
    """
    return max(1, len(schema.group(look_up.group).actions)) if look_up.source == ID else 1


def num_columns(schema: Schema, target: str) -> int:
    """Returns how many numbers all look-ups of a target answer with.

    Example:

    >>> num_columns(Schema((Group("item"),), ("item",)), "item")  # A count, gap, previous, steps.
    4
    """
    return sum(num_counts(schema, look_up) + 3 for look_up in look_ups(schema, target))


def in_words(schema: Schema, target: str, numbers: Sequence[int]) -> list[str]:
    """Returns what look-ups found of a candidate, in words: a line for each that found any.

    Args:
        schema: The schema.
        target: Name of the target.
        numbers: What all look-ups of the target answered with in turn.

    Example:

    >>> schema = Schema((Group("item", actions=("buy", "view")),), ("item",))
    >>> in_words(schema, "item", [7, 2, 43200, 86400, 3])
    ['id among item: buy 7, view 2; last 0.5 days ago, before that 1.0 days ago; 3 behaviors since']
    """
    lines, first = [], 0
    for look_up in look_ups(schema, target):
        num = num_counts(schema, look_up)
        counts, (gap, previous, steps) = numbers[first : first + num], numbers[first + num :][:3]
        first += num + 3
        if gap == NEVER:
            continue
        actions = schema.group(look_up.group).actions if look_up.source == ID else ()
        named = zip(actions, counts, strict=True) if actions else ()
        taken = ", ".join(f"{action} {n}" for action, n in named if n)
        if not actions:
            taken = f"{counts[0]} time{'s' if counts[0] != 1 else ''}"
        last = f"last {gap / schema.units_per_day:.1f} days ago"
        if previous != NEVER:
            last += f", before that {previous / schema.units_per_day:.1f} days ago"
        since = f"{steps} behavior{'s' if steps != 1 else ''} since"
        parts = [part for part in (taken, last, since) if part]
        lines.append(f"{look_up.name}: {'; '.join(parts)}")
    return lines


def searched_fields(schema: Schema, group: Group) -> list[str]:
    """Returns the fields of a group that some target of the schema is looked up in.

    Args:
        schema: The schema.
        group: The group.

    Example:

    >>> schema, _ = toy_schema_and_catalog()
    >>> searched_fields(schema, schema.group("query"))
    ['category', '']
    """
    return list(
        dict.fromkeys(
            look_up.source
            for target in schema.target_names
            for look_up in look_ups(schema, target)
            if look_up.group == group.name
        )
    )


def _fields(group: Group) -> Iterator[tuple[str, str]]:
    """The fields of a group that are looked up, and the vocabulary of each."""
    yield ID, group.name
    for feature in group.features:
        if feature.recurs:
            yield feature.name, feature_vocabulary(feature)
