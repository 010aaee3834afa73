"""From the tables of a user's logs to checked events, divided by user."""

import dataclasses
from collections.abc import Sequence
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
    parse_times,
)
from data_pipeline.prepare.partitions import Partitions
from data_pipeline.prepare.rejections import Rejections
from data_pipeline.readers import Batch, estimate_rows, expand, read_batches
from data_pipeline.schema import Columns, Schema

# In `label` of a partition: an event, which is no labelled target.
EVENT = -1


@dataclasses.dataclass(frozen=True)
class Table:
    """Files of one layout.

    Attributes:
        files: The files.
        columns: Their columns.
        group: The group of all rows; None where a column tells.
        is_labelled: Whether the rows are labelled targets rather than events.
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

    Raises:
        UserError: A file is missing, or a group has no source of events.
    """
    tables = []
    common = [group for group in schema.groups if not group.events and not group.impressions]
    if events:
        files = [file for pattern in events for file in expand(pattern, Path())]
        shared = [group for group in schema.groups if not group.events]
        if not shared:
            raise UserError("common events are given, but every group names a table of its own")
        if not schema.columns.group and len(shared) != 1:
            raise UserError(
                f"columns.group: missing; the common events may be of {len(shared)} groups"
            )
        name = None if schema.columns.group else shared[0].name
        tables.append(Table(files, schema.columns, name, False))
    elif common:
        raise UserError(
            f"group {common[0].name!r} names no table of events, and no common events are given"
        )
    for group in schema.groups:
        if group.events:
            columns = group.columns or schema.columns
            tables.append(Table(expand(group.events, base), columns, group.name, False))
        if group.impressions:
            columns = group.impression_columns or schema.columns
            tables.append(Table(expand(group.impressions, base), columns, group.name, True))
    return tables


class Ingest:
    """Reads tables, checks every row, and hands the good ones to partitions.

    Args:
        schema: The schema.
        base: Directory that relative paths of the schema start at.
        rejections: What takes note of bad rows.

    Attributes:
        schema: The schema, id types filled in as they are found.
        objects: The objects of each group.
        files: The files read and their columns, by the number that events carry.
    """

    def __init__(self, schema: Schema, base: Path, rejections: Rejections) -> None:
        opened = [open_objects(group, base) for group in schema.groups]
        self.schema = dataclasses.replace(schema, groups=tuple(group for group, _ in opened))
        self.objects: dict[str, Objects] = {g.name: o for g, o in opened if o is not None}
        self.files: list[tuple[str, Columns]] = []
        self._rejections = rejections

    def read(self, tables: Sequence[Table], partitions: Partitions) -> None:
        """Reads all tables into partitions.

        Each event is a row of `user` (int64 or str), `group` (the group's place in the
        schema), `label` (`EVENT`, or 0 or 1), `object` (its number in `objects`), `action`
        (action index), `time`, and `file` and `row`, for messages.
        """
        self._settle_id_types(tables)
        total = estimate_rows([file for table in tables for file in table.files])
        progress = Progress("reading", "rows", total)
        for table in tables:
            for file in table.files:
                self.files.append((str(file), table.columns))
                for batch in read_batches(file, self._names(table)):
                    columns = self._check(batch, table)
                    if len(columns["user"]):
                        partitions.add(columns)
                    progress.advance(batch.table.num_rows)
        for group in self.schema.groups:
            if group.name not in self.objects:
                raise UserError(f"group {group.name!r}: there is no event of it")

    def _settle_id_types(self, tables: Sequence[Table]) -> None:
        """Finds out the types of ids that are not declared.

        They are integers where every one in the logs is. That takes a pass of its own over
        the ids: decided by what comes first, it would hang on the order of the rows.
        """
        users = self.schema.user_id_type
        types = {group.name: group.id_type for group in self.schema.groups}
        for table in tables:
            columns = table.columns
            names = [columns.user, columns.object]
            names += [columns.group] if table.group is None else []
            mine = [g for g in self.schema.groups if table.group in (None, g.name)]
            undeclared = [group for group in mine if not group.id_type]
            if self.schema.user_id_type and not undeclared:
                continue
            for batch in (b for file in table.files for b in read_batches(file, names)):
                if not self.schema.user_id_type and users != "string":
                    users = id_type(batch.table[columns.user])
                for group in undeclared:
                    if types[group.name] != "string":
                        ids = batch.table[columns.object]
                        if table.group is None:
                            text = as_strings(batch.table[columns.group])
                            ids = ids.filter(pa.array(text == group.name))
                        if len(ids):
                            types[group.name] = id_type(ids)
        groups = tuple(dataclasses.replace(g, id_type=types[g.name]) for g in self.schema.groups)
        self.schema = dataclasses.replace(self.schema, user_id_type=users, groups=groups)
        for group in groups:
            if group.name not in self.objects and group.id_type:
                self.objects[group.name] = Objects(group, None)

    def _names(self, table: Table) -> list[str]:
        columns = table.columns
        names = [columns.user, columns.object, columns.time]
        if table.group is None:
            names.append(columns.group)
        if table.is_labelled:
            names.append(columns.label)
        elif self._has_actions(table):
            names.append(self._action_column(columns))
        return names

    def _has_actions(self, table: Table) -> bool:
        groups = self.schema.groups
        return any(g.actions and table.group in (None, g.name) for g in groups)

    def _action_column(self, columns: Columns) -> str:
        if not columns.action:
            raise UserError("columns.action: missing; a group lists several actions")
        return columns.action

    def _check(self, batch: Batch, table: Table) -> dict[str, np.ndarray]:
        """Checks a batch and converts its good rows."""
        columns, data = table.columns, batch.table
        problems: list[Problem] = []
        users, found_problems = parse_ids(
            data[columns.user], columns.user, self.schema.user_id_type
        )
        problems += found_problems
        times, found_problems = parse_times(data[columns.time], columns.time, self.schema.time_unit)
        problems += found_problems
        names = [group.name for group in self.schema.groups]
        if table.group is None:
            groups, found_problems = parse_choice(
                data[columns.group], columns.group, names, "group"
            )
            problems += found_problems
        else:
            groups = np.full(batch.table.num_rows, names.index(table.group))
        labels = np.full(len(groups), EVENT)
        if table.is_labelled:
            labels, found_problems = parse_choice(
                data[columns.label], columns.label, ["0", "1"], "label"
            )
            problems += found_problems
        objects = np.zeros(len(groups), np.int64)
        actions = np.ones(len(groups), np.int64)
        for place, name in enumerate(names):
            mine = groups == place
            if mine.any():
                problems += self._check_group(name, mine, batch, table, objects, actions)
        good = self._rejections.reject(batch, problems)
        rows = batch.first_row + np.arange(len(good))
        checked = {
            "user": users,
            "group": groups,
            "label": labels,
            "object": objects,
            "action": actions,
            "time": times,
            "file": np.full(len(good), len(self.files) - 1),
            "row": rows,
        }
        return {name: values[good] for name, values in checked.items()}

    def _check_group(
        self,
        name: str,
        mine: np.ndarray,
        batch: Batch,
        table: Table,
        objects: np.ndarray,
        actions: np.ndarray,
    ) -> list[Problem]:
        """Fills in `objects` and `actions` of the rows of one group."""
        columns = table.columns
        chosen = batch.table.filter(pa.array(mine))
        group = self.schema.group(name)
        ids, found = parse_ids(chosen[columns.object], columns.object, group.id_type)
        is_bad = np.any([problem.rows for problem in found], axis=0)
        numbers = np.full(len(ids), -1)
        numbers[~is_bad] = self.objects[name].numbers(ids[~is_bad])
        objects[mine] = numbers
        expected = f"an object of {group.objects}"
        missing = (numbers < 0) & ~is_bad
        found.append(Problem(missing, columns.object, expected, "object not in its table"))
        if group.actions and not table.is_labelled:
            column = self._action_column(columns)
            choices, unknown = parse_choice(chosen[column], column, list(group.actions), "action")
            actions[mine] = choices + 1
            found += unknown
        spread = []
        for problem in found:
            rows = np.zeros(len(mine), bool)
            rows[mine] = problem.rows
            spread.append(dataclasses.replace(problem, rows=rows))
        return spread
