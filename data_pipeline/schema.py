"""The `Schema`: the one description of the data that every part of the package reads.

A user writes the part that says where the logs are and what their columns mean;
`data_pipeline.prepare` fills in the sizes it found and saves the result beside the
timelines. Model, export and clients read that file and nothing else.
"""

import dataclasses
import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

import pydantic

from data_pipeline.core.errors import UserError
from data_pipeline.schema_parts import (
    PACKED_LIST,
    PACKED_POSITION,
    Columns,
    Csv,
    Feature,  # noqa: F401 - All parts are imported from here.
    Group,
    Split,
    Target,
    Vocabulary,
    feature_vocabulary,
)
from data_pipeline.version import __version__, check_version

FILE_NAME = "schema.json"
SECONDS_PER_DAY = 86_400

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_STRICT = pydantic.ConfigDict(extra="forbid")
_COLUMNS, _SPLIT, _CSV = Columns(), Split(), Csv()


@dataclasses.dataclass(frozen=True)
class Schema:
    """Groups of behaviors, their objects, the targets and the time buckets.

    Attributes:
        groups: The groups; their order is the model's.
        targets: What is predicted: names of groups, or `Target`s.
        vocabularies: Settings of the vocabularies that differ from the defaults;
            `prepare` lists them all.
        columns: Column names of the table of events.
        time_unit: Unit of every integer and float timestamp, in logs and requests:
            seconds or milliseconds since 1970 (UTC). Datetimes are converted to it. "" to find
            out from the logs: milliseconds where any time is finer than a second, or where
            numbers are so large.
        num_time_buckets: In the paper's form of the model, buckets of the time between a
            behavior and the query: [0, 1) day, then [2^k, 2^(k+1)) days; the last
            has no upper bound.
        split: Which targets are for training, validation and test.
        duplicates: What becomes of events that are in the logs several times: merge (one of each
            counts), keep (as where a quantity matters), or fail. Of labelled targets one of each
            counts, taken if any is.
        csv: How text files are written, where that is not to be found out.
        user_id_type: Type of the user ids. "" to find out from the data.
        num_users: Filled in by `prepare`: user indices in all; index 0 is the unknown user.

    Example:

    >>> schema = Schema(groups=(Group("item"), Group("query")), targets=("item",))
    >>> [group.name for group in schema.select(groups=["item"]).groups]
    ['item']
    >>> Schema(groups=(Group("item"),), targets=("coupon",))
    Traceback (most recent call last):
    data_pipeline.core.errors.UserError: target 'coupon': expected one of the groups ['item']
    """

    __pydantic_config__ = _STRICT

    groups: tuple[Group, ...]
    targets: tuple[str | Target, ...]
    vocabularies: tuple[Vocabulary, ...] = ()
    columns: Columns = _COLUMNS
    time_unit: Literal["", "s", "ms"] = ""
    num_time_buckets: int = 13
    split: Split = _SPLIT
    duplicates: Literal["merge", "keep", "fail"] = "merge"
    csv: Csv = _CSV
    user_id_type: Literal["", "int", "string"] = ""
    num_users: int = 0

    def __post_init__(self) -> None:
        """Checks what one attribute says of another."""
        self._check_names()
        self._check_targets()
        self._check_vocabularies()
        self._check_features()
        separator = self.csv.separator
        if len(separator) > 1 or not separator.isascii():
            raise UserError(f"csv.separator is {separator!r}: expected one ASCII character")
        # As they are by default, so that equal schemas are equal.
        object.__setattr__(self, "targets", tuple(map(self._resolved, self.targets)))
        if self.num_time_buckets < 2:
            raise UserError(f"num_time_buckets is {self.num_time_buckets}: expected 2 or more")

    @property
    def units_per_day(self) -> int:
        """How many of the schema's time units make a day."""
        return SECONDS_PER_DAY * (1000 if self.time_unit == "ms" else 1)

    def select(self, groups: Collection[str] = (), targets: Collection[str] = ()) -> "Schema":
        """Returns the schema of fewer groups that are read and fewer that are predicted.

        With one of each it is the paper's one2one, with one target its all2one.

        Args:
            groups: Names of the groups to read; () for all.
            targets: Names of the targets to predict; () for all that are read.

        Raises:
            UserError: A name is of no group or target, or a target is not read.
        """
        names = [group.name for group in self.groups]
        read = list(groups) or names
        groups_of = {name: self.target(name).group for name in self.target_names}
        predicted = list(targets) or [t for t, group in groups_of.items() if group in read]
        for kind, wanted, known in (("group", read, names), ("target", predicted, groups_of)):
            for name in wanted:
                if name not in known:
                    raise UserError(f"{kind} {name!r}: expected one of {', '.join(known)}")
        for name in predicted:
            if groups_of[name] not in read:
                raise UserError(
                    f"target {name!r}: its group {groups_of[name]!r} must be among the groups "
                    f"read: {', '.join(read)}"
                )
        read_groups = tuple(group for group in self.groups if group.name in read)
        vocabulary_names = _vocabulary_names(read_groups)
        return dataclasses.replace(
            self,
            groups=read_groups,
            targets=tuple(self.target(name) for name in self.target_names if name in predicted),
            vocabularies=tuple(v for v in self.vocabularies if v.name in vocabulary_names),
        )

    def group(self, name: str) -> Group:
        """Returns the group called `name`."""
        return next(group for group in self.groups if group.name == name)

    @property
    def target_names(self) -> tuple[str, ...]:
        """The names of the targets."""
        return tuple(t if isinstance(t, str) else t.name for t in self.targets)

    def target(self, name: str) -> Target:
        """Returns the target called `name`, with its group and actions as they are by default."""
        return {t.name: t for t in self.targets if isinstance(t, Target)}[name]

    def target_group(self, name: str) -> Group:
        """Returns the group of the target called `name`."""
        return self.group(self.target(name).group)

    def label_columns(self, name: str) -> tuple[str, ...]:
        """Returns the columns of labels of a group's logged candidates; none where it has none."""
        group = self.group(name)
        if not group.impressions or group.labels:
            return group.labels
        targets = map(self.target, self.target_names)
        labels = [target.label for target in targets if target.group == name]
        return tuple(dict.fromkeys(labels or [self.impression_columns(name).label]))

    def impression_columns(self, name: str) -> Columns:
        """Returns the columns of a group's logged candidates."""
        return self.group(name).impression_columns or self.columns

    def place_columns(self, name: str) -> dict[str, str]:
        """Returns the columns that say where a group's candidates were shown: `list`, `position`.

        Those that the schema names, of a group that has logged candidates.
        """
        columns = self.impression_columns(name)
        is_packed = bool(columns.separator)
        named = {
            "list": columns.list or (PACKED_LIST if is_packed else ""),
            "position": columns.position or (PACKED_POSITION if is_packed else ""),
        }
        return {k: v for k, v in named.items() if v and self.group(name).impressions}

    def vocabulary(self, name: str) -> Vocabulary:
        """Returns the vocabulary called `name`, with the defaults if it is not listed."""
        return next((v for v in self.vocabularies if v.name == name), Vocabulary(name))

    def to_dict(self) -> dict[str, Any]:
        """Returns the schema as plain dictionaries and lists, for JSON and Keras configs."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, values: dict[str, Any], source: str = "schema") -> "Schema":
        """Reads what `to_dict` returned, or what a user wrote.

        Args:
            values: Keys and values named as the attributes of these classes.
            source: What to call the schema in an error message: its file.

        Raises:
            UserError: A key is unknown or missing, or a value is not what was expected.
        """
        try:
            return pydantic.TypeAdapter(cls).validate_python(values)
        except pydantic.ValidationError as error:
            faults = "; ".join(_format_fault(fault) for fault in error.errors())
            raise UserError(f"{source}: {faults}") from error

    @classmethod
    def load(cls, path: str | Path) -> "Schema":
        """Reads a schema from a JSON file, or from the directory that it is saved in.

        Raises:
            UserError: There is no such file, it is not JSON, it is no schema, or a version whose
                files this one does not read saved it.
        """
        path = Path(path)
        path = path / FILE_NAME if path.is_dir() else path
        try:
            values = json.loads(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise UserError(f"{path}: is not JSON ({error})") from error
        if isinstance(values, dict) and ("version" in values or values.get("num_users")):
            again = "prepare the data, or export the model, again"
            check_version(values.pop("version", None), str(path), again)
        return cls.from_dict(values, source=str(path))

    def save(self, directory: str | Path) -> None:
        """Writes the schema as `schema.json` in `directory`."""
        text = json.dumps({"version": __version__, **self.to_dict()}, indent=2)
        (Path(directory) / FILE_NAME).write_text(text + "\n", encoding="utf-8")

    def _resolved(self, target: str | Target) -> Target:
        """A target with its group, actions and label as they are by default."""
        target = Target(target) if isinstance(target, str) else target
        group = self.group(target.group or target.name)
        label = target.label
        if group.impressions and not label:
            label = self.impression_columns(group.name).label
        actions = target.actions or group.target_actions
        return dataclasses.replace(target, group=group.name, actions=actions, label=label)

    def _check_names(self) -> None:
        """Checks that names are well-formed and that none is listed twice."""
        groups = [group.name for group in self.groups]
        features = [feature.name for group in self.groups for feature in group.features]
        for name in [*groups, *features, *sorted(_vocabulary_names(self.groups))]:
            if not _NAME.fullmatch(name):
                raise UserError(f"name {name!r}: expected a letter, then letters, digits or _")
        for kind, names in (
            ("group", groups),
            ("target", list(self.target_names)),
            ("vocabulary", [v.name for v in self.vocabularies]),
            *((f"group {g.name!r}: feature", [f.name for f in g.features]) for g in self.groups),
            *((f"group {g.name!r}: action", list(g.actions)) for g in self.groups),
        ):
            for name in names:
                if names.count(name) > 1:
                    raise UserError(f"{kind} {name!r} is listed twice")

    def _check_targets(self) -> None:
        groups = {group.name: group for group in self.groups}
        if not groups:
            raise UserError("groups: expected at least one")
        if not self.targets:
            raise UserError("targets: expected at least one")
        for group in self.groups:
            _check_actions(f"group {group.name!r}: target_actions", group.target_actions, group)
        for target in self.targets:
            target = Target(target) if isinstance(target, str) else target
            if not _NAME.fullmatch(target.name):
                raise UserError(
                    f"target {target.name!r}: expected a letter, then letters, digits or _"
                )
            if (target.group or target.name) not in groups:
                what = f"target {target.name!r}"
                what += f": group {target.group!r}" if target.group else ""
                raise UserError(f"{what}: expected one of the groups {list(groups)}")
            group = groups[target.group or target.name]
            if target.name in groups and target.name != group.name:
                raise UserError(
                    f"target {target.name!r}: is of group {group.name!r}, and has the name of "
                    "another"
                )
            _check_actions(f"target {target.name!r}: actions", target.actions, group)
            if target.label and not group.impressions:
                raise UserError(
                    f"target {target.name!r}: label {target.label!r}: its group {group.name!r} has "
                    "no table of impressions"
                )

    def _check_vocabularies(self) -> None:
        names = _vocabulary_names(self.groups)
        for vocabulary in self.vocabularies:
            if vocabulary.name not in names:
                raise UserError(f"vocabulary {vocabulary.name!r} is of no feature and no group")
            if vocabulary.num_oov < 1 or vocabulary.min_count < 1:
                raise UserError(f"vocabulary {vocabulary.name!r}: min_count and num_oov start at 1")

    def _check_features(self) -> None:
        for group in self.groups:
            if group.features and not group.objects:
                raise UserError(f"group {group.name!r} has features but no table of objects")
        for group in self.groups:
            for feature in group.features:
                if not feature.separator:
                    raise UserError(f"feature {feature.name!r}: separator is empty")


def _check_actions(what: str, actions: Collection[str], group: Group) -> None:
    """Checks that the events of some actions can be predicted."""
    if actions and group.impressions:
        raise UserError(f"{what}: the targets of {group.name!r} are its logged candidates")
    for action in actions:
        if action not in group.actions:
            known = ", ".join(group.actions) or "none: the group lists no actions"
            raise UserError(f"{what}: {action!r}: expected one of {known}")


def _vocabulary_names(groups: Collection[Group]) -> set[str]:
    """The names of the vocabularies of ids and feature values that groups use."""
    features = [feature for group in groups for feature in group.features]
    return {*(group.name for group in groups), *map(feature_vocabulary, features)}


def _format_fault(fault: Any) -> str:
    """One of pydantic's errors: where it is, unless at the top, and what is wrong."""
    location = ".".join(map(str, fault["loc"]))
    message = fault["msg"].removeprefix("Value error, ")
    return f"{location}: {message}" if location else message
