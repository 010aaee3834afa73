"""From the tables of a user's logs to checked events, divided by user."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from data_pipeline.core.errors import UserError
from data_pipeline.core.progress import Progress
from data_pipeline.prepare.found_types import FoundType
from data_pipeline.prepare.objects import Objects, open_objects
from data_pipeline.prepare.packed import unpacked
from data_pipeline.prepare.parsing import (
    Problem,
    as_strings,
    parse_choice,
    parse_ids,
    parse_labels,
    parse_lists,
    parse_positions,
)
from data_pipeline.prepare.partitions import Partitions
from data_pipeline.prepare.rejections import Rejections
from data_pipeline.prepare.tables import Source, Table, group_values
from data_pipeline.prepare.times import Survey, parse_times, survey
from data_pipeline.readers import Batch, estimate_rows, read_batches
from data_pipeline.schema import Columns, Group, Schema
from data_pipeline.schema_parts import PACKED_LIST, PACKED_POSITION

# In `label` of a partition: an event, which is no labelled target. Others have a bit for each of
# `Schema.label_columns`.
EVENT = -1


class Ingest:
    """Reads tables, checks every log row, and hands the good ones to partitions.

    Args:
        schema: The schema.
        base: Directory that relative paths of the schema start at.
        rejections: What takes note of bad log rows.

    Attributes:
        schema: The schema, id types filled in once `read` has found them out.
        objects: The objects of each group.
        base: That directory.
        sources: The files read, by the number that events carry.
        notes: What else the user should know of them.

    Example:

    >>> _ = (tmp / "events.csv").write_text("user,object,time\\n7,5,100\\n8,5,200\\n")
    >>> schema = Schema((Group("item"),), ("item",))
    >>> ingest = Ingest(schema, tmp, Rejections(tmp, skip=False))
    >>> from data_pipeline.prepare.tables import find_tables
    >>> with Partitions(tmp, count=1) as partitions:
    ...     ingest.read(find_tables(schema, [str(tmp / "events.csv")], tmp), partitions)
    >>> ingest.schema.user_id_type, ingest.objects["item"].ids.tolist()
    ('int', [5])
    """

    def __init__(self, schema: Schema, base: Path, rejections: Rejections) -> None:
        unfilled = (dataclasses.replace(group, labels=()) for group in schema.groups)
        schema = dataclasses.replace(schema, groups=tuple(unfilled))
        opened = [open_objects(group, base, rejections, schema.csv) for group in schema.groups]
        groups = (
            dataclasses.replace(group, labels=schema.label_columns(group.name))
            for group, _ in opened
        )
        self.schema = dataclasses.replace(schema, groups=tuple(groups))
        self._places = dict.fromkeys(n for g in schema.groups for n in schema.place_columns(g.name))
        self.objects: dict[str, Objects] = {g.name: o for g, o in opened if o is not None}
        self.base = base.absolute()
        self.sources: list[Source] = []
        self.notes: list[str] = []
        self._rejections = rejections
        self._num_cut = 0
        self._surveys: dict[str, Survey] = {}

    def read(self, tables: Sequence[Table], partitions: Partitions) -> None:
        """Reads all tables into partitions.

        Each event has its `user` (int64 or str), `group` (its position in the schema), `label`
        (`EVENT`, or a bit for each label), `object` (its object number), `action` (action index)
        and `time`; where any group has them `list` and `position`, 0 of events; and for messages
        the `file` and the log `row` that it came from.
        """
        self._settle_types(tables)
        total = estimate_rows([file for table in tables for file in table.files])
        progress = Progress("reading", "rows", total)
        for table in tables:
            for file in table.files:
                number_unit = self._surveys.get(str(file), Survey()).number_unit
                source = Source(str(file), table.columns)
                self.sources.append(source)
                for batch in _read(file, table, self._column_names(table), self.schema):
                    if table.is_packed:
                        batch, strange = unpacked(batch, table.columns, self._label_columns(table))
                        self._rejections.add(strange)
                    events = self._check(batch, table, number_unit)
                    if len(events["user"]):
                        partitions.add(events)
                    source.rows += batch.table.num_rows + len(batch.malformed)
                    source.kept += len(events["user"])
                    source.layout = batch.layout
                    progress.advance(batch.table.num_rows)
        if self._num_cut:
            unit = "seconds" if self.schema.time_unit == "s" else "milliseconds"
            self.notes.append(
                f"{self._num_cut:,} times were finer than whole {unit}, and were cut"
                + ("; time_unit ms keeps milliseconds" if unit == "seconds" else "")
            )
        for group in self.schema.groups:
            if group.name not in self.objects:
                raise UserError(f"group {group.name!r}: there is no event of it")
            if num_missing := self.objects[group.name].num_missing:
                self.notes.append(
                    f"{num_missing:,} objects of {group.name} are not in {group.objects}: they "
                    "have no features"
                )

    def _settle_types(self, tables: Sequence[Table]) -> None:
        """Finds out the types of ids and the unit of times that are not declared.

        Ids are integers where every one in the logs is. That takes a pass over them alone:
        decided by what comes first, it would depend on the order of the log rows.
        """
        types = {"user": FoundType("ids of user", self.schema.user_id_type)}
        for group in self.schema.groups:
            types[group.name] = FoundType(f"ids of {group.name}", group.id_type)
        for table in tables:
            in_table = [g for g in self.schema.groups if table.group in (None, g.name)]
            undeclared = [group for group in in_table if not group.id_type]
            if self.schema.user_id_type and not undeclared and self.schema.time_unit:
                continue
            for batch in _id_batches(table, self.schema):
                everything = np.ones(batch.table.num_rows, bool)
                if not self.schema.user_id_type:
                    types["user"].see(batch, table.columns.user, everything)
                for group in undeclared:
                    of_group = _of_group(batch, table, group, self.schema)
                    types[group.name].see(batch, table.columns.object, of_group)
                if not self.schema.time_unit:
                    found = survey(batch.table[table.columns.time])
                    known = self._surveys.get(batch.file, Survey())
                    self._surveys[batch.file] = known.joined(found)
        self.notes += [found.note for found in types.values() if found.note]
        groups = tuple(
            dataclasses.replace(group, id_type=types[group.name].kind)
            for group in self.schema.groups
        )
        units = {found.unit for found in self._surveys.values()}
        self.schema = dataclasses.replace(
            self.schema,
            user_id_type=types["user"].kind,
            groups=groups,
            time_unit=self.schema.time_unit or ("ms" if "ms" in units else "s"),
        )
        for group in groups:
            if group.name not in self.objects and group.id_type:
                self.objects[group.name] = Objects(group, None, self._rejections)

    def _column_names(self, table: Table) -> list[str]:
        """The columns of a table that are read."""
        columns = table.columns
        names = [columns.user, columns.object, columns.time]
        if table.group is None:
            names.append(group_values(self.schema, columns)[0])
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
            values, problems_of_column = parse_labels(data[column], column)
            labels += values << bit
            problems += problems_of_column
        return labels, problems

    def _has_actions(self, table: Table) -> bool:
        groups = self.schema.groups
        return any(group.actions and table.group in (None, group.name) for group in groups)

    def _check(self, batch: Batch, table: Table, number_unit: str) -> dict[str, np.ndarray]:
        """Checks a batch and converts its good log rows."""
        columns, data = table.columns, batch.table
        users, user_problems = parse_ids(data[columns.user], columns.user, self.schema.user_id_type)
        times, time_problems, num_cut = parse_times(
            data[columns.time],
            columns.time,
            self.schema.time_unit,
            number_unit if self._surveys else "",
        )
        self._num_cut += num_cut
        groups, group_problems = self._group_positions(data, table)
        labels, label_problems = self._labels(data, table)
        places, place_problems = self._places_of(data, table)
        ids, actions, object_problems = self._ids_and_actions(data, table, groups)
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
        # Only now: what a bad row names is no object.
        objects = np.zeros(data.num_rows, np.int64)
        for position, group in enumerate(self.schema.groups):
            chosen = is_good & (groups == position)
            if chosen.any():
                of_group = ids[group.name][is_good[groups == position]]
                objects[chosen] = self.objects[group.name].numbers(of_group)
        events = {
            "user": users,
            "group": groups,
            "label": labels,
            "object": objects,
            "action": actions,
            "time": times,
            **places,
            "file": np.full(data.num_rows, len(self.sources) - 1),
            "row": batch.rows,
        }
        return {name: values[is_good] for name, values in events.items()}

    def _group_positions(self, data: pa.Table, table: Table) -> tuple[np.ndarray, list[Problem]]:
        """The position of each log row's group in the schema; -1 for an unknown group."""
        names = [group.name for group in self.schema.groups]
        if table.group is None:
            column, values = group_values(self.schema, table.columns)
            owners = [names.index(name) for name, of_group in values.items() for _ in of_group]
            choices = [value for of_group in values.values() for value in of_group]
            what = "group" if table.columns.group else "action"
            positions, problems = parse_choice(data[column], column, choices, what)
            return np.append(owners, -1)[positions], problems
        return np.full(data.num_rows, names.index(table.group)), []

    def _ids_and_actions(
        self, data: pa.Table, table: Table, groups: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray, list[Problem]]:
        """By group the ids of its log rows; each row's action index; and what is wrong."""
        ids: dict[str, np.ndarray] = {}
        actions = np.ones(data.num_rows, np.int64)
        problems: list[Problem] = []
        column = table.columns.object
        for position, group in enumerate(self.schema.groups):
            in_group = groups == position
            if in_group.any():
                of_group = data.filter(pa.array(in_group))
                ids[group.name], found = parse_ids(of_group[column], column, group.id_type)
                if group.actions and not table.is_labelled:
                    actions[in_group], action_problems = _action_indices(of_group, table, group)
                    found += action_problems
                problems += [_of_all_rows(problem, in_group) for problem in found]
        return ids, actions, problems


def _id_batches(table: Table, schema: Schema) -> Iterator[Batch]:
    """The columns of a table that hold ids and times, and the one that says of which group."""
    columns = table.columns
    names = [columns.user, columns.object]
    if table.group is None:
        names.append(group_values(schema, columns)[0])
    if not schema.time_unit:
        names.append(columns.time)
    for file in table.files:
        for batch in _read(file, table, names, schema):
            yield unpacked(batch, columns, ())[0] if table.is_packed else batch


def _read(file: Path, table: Table, names: Sequence[str], schema: Schema) -> Iterator[Batch]:
    """The batches of a file; of packed lists all columns but the users' and times' may be lists."""
    own = [name for name in names if name not in (PACKED_LIST, PACKED_POSITION)]
    columns = table.columns
    lists = [n for n in own if n not in (columns.user, columns.time)] if table.is_packed else []
    yield from read_batches(file, own, lists, schema.csv)


def _of_group(batch: Batch, table: Table, group: Group, schema: Schema) -> np.ndarray:
    """Which rows of a batch are of one group: bool [rows]."""
    if table.group is not None:
        return np.ones(batch.table.num_rows, bool)
    column, values = group_values(schema, table.columns)
    return np.isin(as_strings(batch.table[column]).astype(str), values[group.name])


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
