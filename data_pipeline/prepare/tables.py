"""Which files a schema's tables are, and what became of their rows."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from data_pipeline.core.errors import UserError
from data_pipeline.files import expand
from data_pipeline.schema import Columns, Group, Schema


@dataclasses.dataclass
class Source:
    """A file, and what became of its rows.

    Attributes:
        file: The file.
        columns: Its columns.
        rows: How many log rows it has.
        kept: How many of them were good.
        layout: How it is written, where that was to be found out.

    Example:

    >>> Source("views.csv", Columns(), rows=96, kept=95).rows
    96
    """

    file: str
    columns: Columns
    rows: int = 0
    kept: int = 0
    layout: str = ""


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

    @property
    def is_packed(self) -> bool:
        """Whether a log row is a whole list of what was shown."""
        return self.is_labelled and bool(self.columns.separator)


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


def _common_tables(schema: Schema, events: Sequence[str]) -> list[Table]:
    """The common table of events, or nothing where every group has a table for itself."""
    if events:
        found = [file for pattern in events for file in expand(pattern, Path())]
        files = list({file.resolve(): file for file in found}.values())
        groups = [group for group in schema.groups if not group.events]
        if not groups:
            raise UserError("common events are given, but every group names a table of its own")
        if not schema.columns.group and len(groups) != 1 and not _actions_tell(schema, groups):
            raise UserError(
                f"columns.group: missing; the common events may be of {len(groups)} groups, and "
                "their actions do not tell (each needs some, none in common)"
            )
        name = None if schema.columns.group or len(groups) > 1 else groups[0].name
        return [Table(files, schema.columns, name, False)]
    for group in schema.groups:
        if not group.events and not group.impressions:
            raise UserError(
                f"group {group.name!r} names no table of events, and no common events are given"
            )
    return []


def group_values(schema: Schema, columns: Columns) -> tuple[str, dict[str, tuple[str, ...]]]:
    """Returns the column that tells the group of an event, and by group its values there.

    It is that of groups; where there is none, the actions tell.

    Args:
        schema: The schema.
        columns: Of a table that holds several groups.

    Example:

    >>> groups = (Group("item", actions=("view", "buy")), Group("query", actions=("search",)))
    >>> group_values(Schema(groups, ("item",)), Columns(action="what"))
    ('what', {'item': ('view', 'buy'), 'query': ('search',)})
    """
    if columns.group:
        return columns.group, {group.name: (group.name,) for group in schema.groups}
    return columns.action, {group.name: group.actions for group in schema.groups}


def _actions_tell(schema: Schema, groups: Sequence[Group]) -> bool:
    """Whether an action tells the group that it is of."""
    actions = [action for group in groups for action in group.actions]
    all_have_some = all(group.actions for group in groups)
    return bool(schema.columns.action) and all_have_some and len(set(actions)) == len(actions)
