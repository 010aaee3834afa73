"""From the tables of a user's logs to checked events, divided by user."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from data_pipeline.core.errors import UserError
from data_pipeline.core.progress import Progress
from data_pipeline.prepare.objects import Objects, open_objects
from data_pipeline.prepare.parsing import (
    Problem,
    as_strings,
    id_type,
    parse_choice,
    parse_ids,
    parse_lists,
    parse_positions,
    parse_times,
)
from data_pipeline.prepare.partitions import Partitions
from data_pipeline.prepare.rejections import Rejections
from data_pipeline.readers import Batch, estimate_rows, expand, read_batches
from data_pipeline.schema import Columns, Group, Schema

# In `label` of a partition: an event, which is no labelled target. Others have a bit for each of
# `Schema.label_columns`.
EVENT = -1


@dataclasses.dataclass(frozen=True)
class Table:
    """Files of one layout.

    Attributes:
        files: The files.
        columns: Their columns.
        group: The group of all log rows; None where a column names it.
        is_labelled: Whether the log rows are labelled targets rather than events.

    Example:

    >>> table = Table([Path("views.csv")], Columns(), group="item", is_labelled=False)
    >>> table.columns.time
    'time'
    """

    files: Sequence[Path]
    columns: Columns
    group: str | None
    is_labelled: bool


def find_tables(schema: Schema, events: Sequence[str], base: Path) -> list[Table]:
    """Finds the tables that a schema and `--events` name.

    Args:
        schema: The schema.
        events: Paths or globs of the common table of events.
        base: Directory that relative paths of the schema start at.

    Returns:
        The common table of events, if there is one, then the tables of each group.

    Raises:
        UserError: A file is missing, or a group has no source of events.

    Example:

    >>> _ = (tmp / "views.csv").write_text("user,object,time")
    >>> schema = Schema((Group("item", events="views.csv"),), ("item",))
    >>> [(table.group, table.files[0].name) for table in find_tables(schema, (), tmp)]
    [('item', 'views.csv')]
    """
    tables = _common_tables(schema, events)
    for group in schema.groups:
        if group.events:
            columns = group.columns or schema.columns
            tables.append(Table(expand(group.events, base), columns, group.name, False))
        if group.impressions:
            columns = group.impression_columns or schema.columns
            tables.append(Table(expand(group.impressions, base), columns, group.name, True))
    return tables


class Ingest:
    """Reads tables, checks every log row, and hands the good ones to partitions.

    Args:
        schema: The schema.
        base: Directory that relative paths of the schema start at.
        rejections: What takes note of bad log rows.

    Attributes:
        schema: The schema, id types filled in once `read` has found them out.
        objects: The objects of each group.
        files: The files read and their columns, by the number that events carry.

    Example:

    >>> _ = (tmp / "events.csv").write_text("user,object,time\\n7,5,100\\n8,5,200\\n")
    >>> schema = Schema((Group("item"),), ("item",))
    >>> ingest = Ingest(schema, tmp, Rejections(tmp, skip=False))
    >>> with Partitions(tmp, count=1) as partitions:
    ...     ingest.read(find_tables(schema, [str(tmp / "events.csv")], tmp), partitions)
    >>> ingest.schema.user_id_type, ingest.objects["item"].ids.tolist()
    ('int', [5])
    """

    def __init__(self, schema: Schema, base: Path, rejections: Rejections) -> None:
        unfilled = (dataclasses.replace(group, labels=()) for group in schema.groups)
        schema = dataclasses.replace(schema, groups=tuple(unfilled))
        opened = [open_objects(group, base) for group in schema.groups]
        groups = (
            dataclasses.replace(group, labels=schema.label_columns(group.name))
            for group, _ in opened
        )
        self.schema = dataclasses.replace(schema, groups=tuple(groups))
        self._places = dict.fromkeys(n for g in schema.groups for n in schema.place_columns(g.name))
        self.objects: dict[str, Objects] = {g.name: o for g, o in opened if o is not None}
        self.files: list[tuple[str, Columns]] = []
        self._rejections = rejections

    def read(self, tables: Sequence[Table], partitions: Partitions) -> None:
        """Reads all tables into partitions.

        Each event has its `user` (int64 or str), `group` (its position in the schema), `label`
        (`EVENT`, or a bit for each label), `object` (its object number), `action` (action index)
        and `time`; where any group has them `list` and `position`, 0 of events; and for messages
        the `file` and the log `row` that it came from.
        """
        self._settle_id_types(tables)
        total = estimate_rows([file for table in tables for file in table.files])
        progress = Progress("reading", "rows", total)
        for table in tables:
            for file in table.files:
                self.files.append((str(file), table.columns))
                for batch in read_batches(file, self._column_names(table)):
                    events = self._check(batch, table)
                    if len(events["user"]):
                        partitions.add(events)
                    progress.advance(batch.table.num_rows)
        for group in self.schema.groups:
            if group.name not in self.objects:
                raise UserError(f"group {group.name!r}: there is no event of it")

    def _settle_id_types(self, tables: Sequence[Table]) -> None:
        """Finds out the types of ids that are not declared.

        They are integers where every one in the logs is. That takes a pass over the ids alone:
        decided by what comes first, it would depend on the order of the log rows.
        """
        user_type = self.schema.user_id_type
        object_types = {group.name: group.id_type for group in self.schema.groups}
        for table in tables:
            in_table = [g for g in self.schema.groups if table.group in (None, g.name)]
            undeclared = [group for group in in_table if not group.id_type]
            if self.schema.user_id_type and not undeclared:
                continue
            for batch in _id_batches(table):
                if not self.schema.user_id_type and user_type != "string":
                    user_type = id_type(batch.table[table.columns.user])
                for group in undeclared:
                    if object_types[group.name] != "string":
                        ids = _object_ids(batch, table, group)
                        if len(ids):
                            object_types[group.name] = id_type(ids)
        groups = tuple(
            dataclasses.replace(group, id_type=object_types[group.name])
            for group in self.schema.groups
        )
        self.schema = dataclasses.replace(self.schema, user_id_type=user_type, groups=groups)
        for group in groups:
            if group.name not in self.objects and group.id_type:
                self.objects[group.name] = Objects(group, None)

    def _column_names(self, table: Table) -> list[str]:
        """The columns of a table that are read."""
        columns = table.columns
        names = [columns.user, columns.object, columns.time]
        if table.group is None:
            names.append(columns.group)
        if table.is_labelled:
            names += [*self._label_columns(table), *self._place_columns(table).values()]
        elif self._has_actions(table):
            names.append(_action_column(columns))
        return names

    def _label_columns(self, table: Table) -> tuple[str, ...]:
        assert table.group is not None  # Each table of labelled targets is of one.
        return self.schema.label_columns(table.group)

    def _place_columns(self, table: Table) -> dict[str, str]:
        return self.schema.place_columns(table.group) if table.group and table.is_labelled else {}

    def _places_of(
        self, data: pa.Table, table: Table
    ) -> tuple[dict[str, np.ndarray], list[Problem]]:
        """The list and the position of each log row, where any group has them."""
        places = {name: np.zeros(data.num_rows, np.int64) for name in self._places}
        problems: list[Problem] = []
        for name, column in self._place_columns(table).items():
            parse = {"list": parse_lists, "position": parse_positions}[name]
            places[name], problems_of_column = parse(data[column], column)
            problems += problems_of_column
        return places, problems

    def _labels(self, data: pa.Table, table: Table) -> tuple[np.ndarray, list[Problem]]:
        """A bit for each label of each log row, or `EVENT`."""
        if not table.is_labelled:
            return np.full(data.num_rows, EVENT), []
        labels, problems = np.zeros(data.num_rows, np.int64), []
        for bit, column in enumerate(self._label_columns(table)):
            values, problems_of_column = parse_choice(data[column], column, ["0", "1"], "label")
            labels += np.maximum(values, 0) << bit
            problems += problems_of_column
        return labels, problems

    def _has_actions(self, table: Table) -> bool:
        groups = self.schema.groups
        return any(group.actions and table.group in (None, group.name) for group in groups)

    def _check(self, batch: Batch, table: Table) -> dict[str, np.ndarray]:
        """Checks a batch and converts its good log rows."""
        columns, data = table.columns, batch.table
        users, user_problems = parse_ids(data[columns.user], columns.user, self.schema.user_id_type)
        times, time_problems = parse_times(data[columns.time], columns.time, self.schema.time_unit)
        groups, group_problems = self._group_positions(data, table)
        labels, label_problems = self._labels(data, table)
        places, place_problems = self._places_of(data, table)
        objects, actions, object_problems = self._objects_and_actions(data, table, groups)
        # The first problem of a log row is the one reported.
        problems = [
            *user_problems,
            *time_problems,
            *group_problems,
            *label_problems,
            *place_problems,
            *object_problems,
        ]
        is_good = self._rejections.reject(batch, problems)
        events = {
            "user": users,
            "group": groups,
            "label": labels,
            "object": objects,
            "action": actions,
            "time": times,
            **places,
            "file": np.full(data.num_rows, len(self.files) - 1),
            "row": batch.first_row + np.arange(data.num_rows),
        }
        return {name: values[is_good] for name, values in events.items()}

    def _group_positions(self, data: pa.Table, table: Table) -> tuple[np.ndarray, list[Problem]]:
        """The position of each log row's group in the schema; -1 for an unknown group."""
        names = [group.name for group in self.schema.groups]
        if table.group is None:
            column = table.columns.group
            return parse_choice(data[column], column, names, "group")
        return np.full(data.num_rows, names.index(table.group)), []

    def _objects_and_actions(
        self, data: pa.Table, table: Table, groups: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, list[Problem]]:
        """The object number and the action index of each log row, and what is wrong with them."""
        objects = np.zeros(data.num_rows, np.int64)
        actions = np.ones(data.num_rows, np.int64)
        problems: list[Problem] = []
        for position, group in enumerate(self.schema.groups):
            in_group = groups == position
            if in_group.any():
                group_data = data.filter(pa.array(in_group))
                objects[in_group], group_problems = self._object_numbers(group_data, table, group)
                if group.actions and not table.is_labelled:
                    actions[in_group], action_problems = _action_indices(group_data, table, group)
                    group_problems += action_problems
                problems += [_of_all_rows(problem, in_group) for problem in group_problems]
        return objects, actions, problems

    def _object_numbers(
        self, data: pa.Table, table: Table, group: Group
    ) -> tuple[np.ndarray, list[Problem]]:
        """The object number of each log row of one group; -1 where there is none."""
        column = table.columns.object
        ids, problems = parse_ids(data[column], column, group.id_type)
        is_id = ~np.any([problem.is_bad for problem in problems], axis=0)
        numbers = np.full(len(ids), -1)
        numbers[is_id] = self.objects[group.name].numbers(ids[is_id])
        is_missing = is_id & (numbers < 0)
        expected = f"an object of {group.objects}"
        missing = Problem(is_missing, column, expected, "object not in its table")
        return numbers, [*problems, missing]


def _common_tables(schema: Schema, events: Sequence[str]) -> list[Table]:
    """The common table of events, or nothing where every group has a table for itself."""
    if events:
        files = [file for pattern in events for file in expand(pattern, Path())]
        groups = [group for group in schema.groups if not group.events]
        if not groups:
            raise UserError("common events are given, but every group names a table of its own")
        if not schema.columns.group and len(groups) != 1:
            raise UserError(
                f"columns.group: missing; the common events may be of {len(groups)} groups"
            )
        name = None if schema.columns.group else groups[0].name
        return [Table(files, schema.columns, name, False)]
    for group in schema.groups:
        if not group.events and not group.impressions:
            raise UserError(
                f"group {group.name!r} names no table of events, and no common events are given"
            )
    return []


def _id_batches(table: Table) -> Iterator[Batch]:
    """The columns of a table that hold ids, and the one that says of which group."""
    columns = table.columns
    names = [columns.user, columns.object]
    if table.group is None:
        names.append(columns.group)
    for file in table.files:
        yield from read_batches(file, names)


def _object_ids(batch: Batch, table: Table, group: Group) -> pa.ChunkedArray:
    """The object ids of a batch that belong to one group."""
    ids = batch.table[table.columns.object]
    if table.group is not None:
        return ids
    in_group = as_strings(batch.table[table.columns.group]) == group.name
    return ids.filter(pa.array(in_group))


def _action_column(columns: Columns) -> str:
    if not columns.action:
        raise UserError("columns.action: missing; a group lists several actions")
    return columns.action


def _action_indices(data: pa.Table, table: Table, group: Group) -> tuple[np.ndarray, list[Problem]]:
    """The action index of each log row of one group; index 0 is for unknown actions."""
    column = _action_column(table.columns)
    positions, problems = parse_choice(data[column], column, list(group.actions), "action")
    return positions + 1, problems


def _of_all_rows(problem: Problem, in_group: np.ndarray) -> Problem:
    """A problem of one group's log rows as a problem of all log rows."""
    is_bad = np.zeros(len(in_group), bool)
    is_bad[in_group] = problem.is_bad
    return dataclasses.replace(problem, is_bad=is_bad)
