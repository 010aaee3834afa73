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
from data_pipeline.version import __version__, check_version

FILE_NAME = "schema.json"
SECONDS_PER_DAY = 86_400

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_STRICT = pydantic.ConfigDict(extra="forbid")


@dataclasses.dataclass(frozen=True)
class Columns:
    """Names of the columns of a table of events, or of labelled targets.

    Attributes:
        user: Who acted: a string or an integer.
        object: What was acted on: a string or an integer.
        time: When: an integer or float in the schema's `time_unit`, or a datetime.
        action: Which of the group's actions it was. "" when the group has only one.
        group: Which group the object belongs to, in a table that holds several.
        label: 1 (taken) or 0 (shown, not taken); labelled targets only.

    Example:

    >>> Columns(user="reviewerID", object="asin")
    Columns(user='reviewerID', object='asin', time='time', action='', group='', label='label')
    """

    __pydantic_config__ = _STRICT

    user: str = "user"
    object: str = "object"
    time: str = "time"
    action: str = ""
    group: str = ""
    label: str = "label"


@dataclasses.dataclass(frozen=True)
class Feature:
    """A categorical side feature of a group's objects, such as their category.

    Attributes:
        name: Its name; groups may use the same one.
        column: Its column in the group's object table; by default `name`.
        vocabulary: The vocabulary, and so the embedding table, that its values are
            looked up in; by default `name`. Features that name the same vocabulary
            share one table, within a group and across groups. The name of a group
            means the vocabulary of that group's object ids.
        multivalued: Whether an object can have several values (or none). The column
            then holds lists, or strings split at `separator`.
        separator: What separates the values of a multivalued string.
        recurs: Whether a candidate's values are looked up among those that the user touched
            before, through any group that shares the vocabulary.
        num_values: Filled in by `prepare`: how many values all objects have together, those out
            of vocabulary counted once an object.
        num_fingerprints: Filled in by `prepare`: how many values they have, each counted.

    Example:

    >>> genre = Feature("genre", multivalued=True)  # Strings such as "Action|Crime", or lists.
    >>> Group("movie", features=(genre,), objects="movies.csv").features[0].name
    'genre'
    """

    __pydantic_config__ = _STRICT

    name: str
    column: str = ""
    vocabulary: str = ""
    multivalued: bool = False
    separator: str = "|"
    recurs: bool = True
    num_values: int = 0
    num_fingerprints: int = 0


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The values that have an embedding index for themselves.

    Attributes:
        name: A feature's vocabulary, or a group's name for its object ids.
        min_count: How many training events a value must be part of to get an embedding
            index for itself. Rarer values share the out-of-vocabulary indices.
        num_oov: How many out-of-vocabulary indices: [0, num_oov). With several, the
            value's hash picks one.
        num_embeddings: Filled in by `prepare`: embedding indices in all, those out of
            vocabulary included.

    Example:

    >>> schema = Schema((Group("item"),), ("item",), (Vocabulary("item", min_count=5),))
    >>> schema.vocabulary("item").min_count
    5
    """

    __pydantic_config__ = _STRICT

    name: str
    min_count: int = 2
    num_oov: int = 1
    num_embeddings: int = 0


@dataclasses.dataclass(frozen=True)
class Group:
    """A group of behaviors: those that act on one type of object.

    An object's *object index* is its position in the group: [0, num_oov) stand for objects
    that the data does not know, then come the objects that occur in training events (the
    most frequent first), then those that occur only in later events, then those that stand
    in the object table alone.

    Attributes:
        name: Letters, digits and underscores.
        actions: The values of the action column; empty when there is only one action.
        features: Side features of the objects, read from the table `objects`.
        objects: File or glob of the object table; "" when objects have only an id.
        object_column: Column of the object's id in that table.
        events: File or glob of a table of this group's events alone; "" when its
            events are in the common table, where `Columns.group` names their group.
        columns: Column names of that table; by default the schema's own.
        impressions: File or glob of a table of labelled targets of this group. When
            it is given, they are its targets, and no negatives are sampled.
        impression_columns: Column names of that table; by default the schema's own.
        negatives: What sampled negatives are not: "untaken" at the moment of the target, so that
            a user's own habits may be among them; or "untouched" ever. "" to choose by the
            data: untaken where objects recur.
        id_type: Type of the object ids. "" to find out from the data.
        num_trained: Filled in by `prepare`: objects that occur in training events.
        num_logged: Likewise: objects that occur in any event.
        num_objects: Likewise: object indices in all, those out of vocabulary included.
        num_oov: Likewise: object indices for unknown objects (its id vocabulary's).

    Example:

    >>> Group("item", actions=("view", "buy")).num_actions
    3
    """

    __pydantic_config__ = _STRICT

    name: str
    actions: tuple[str, ...] = ()
    features: tuple[Feature, ...] = ()
    objects: str = ""
    object_column: str = "object"
    events: str = ""
    columns: Columns | None = None
    impressions: str = ""
    impression_columns: Columns | None = None
    negatives: Literal["", "untaken", "untouched"] = ""
    id_type: Literal["", "int", "string"] = ""
    num_trained: int = 0
    num_logged: int = 0
    num_objects: int = 0
    num_oov: int = 0

    @property
    def num_actions(self) -> int:
        """Number of action indices: unknown actions (index 0), then one for each action."""
        return 1 + max(1, len(self.actions))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Group":
        """Reads what `dataclasses.asdict` made of a group."""
        return pydantic.TypeAdapter(cls).validate_python(values)


@dataclasses.dataclass(frozen=True)
class Split:
    """Which targets are for training, validation and test.

    Attributes:
        kind: "leave_last_out": a user's last time with targets is the test's, the one
            before it the validation's. "time": the same two times for all users.
        validation_start: For "time": targets from this time on are not trained on.
            In the schema's time unit, or an ISO 8601 date or datetime (UTC).
        test_start: For "time": targets from this time on are the test's.
        validation_users: For "leave_last_out": the share of the users that have a
            validation target; the other users' is trained on.

    Example:

    >>> Split("time", validation_start="2017-12-03", test_start="2017-12-17").kind
    'time'
    """

    __pydantic_config__ = _STRICT

    kind: Literal["leave_last_out", "time"] = "leave_last_out"
    validation_start: int | str | None = None
    test_start: int | str | None = None
    validation_users: float = 1.0


@dataclasses.dataclass(frozen=True)
class Schema:
    """Groups of behaviors, their objects, the targets and the time buckets.

    Attributes:
        groups: The groups; their order is the model's.
        targets: Names of the groups whose events are predicted.
        vocabularies: Settings of the vocabularies that differ from the defaults;
            `prepare` lists them all.
        columns: Column names of the table of events.
        time_unit: Unit of every integer and float timestamp, in logs and requests:
            seconds or milliseconds since 1970 (UTC). Datetimes are converted to it.
        num_time_buckets: In the paper's form of the model, buckets of the time between a
            behavior and the query: [0, 1) day, then [2^k, 2^(k+1)) days; the last
            has no upper bound.
        split: Which targets are for training, validation and test.
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
    targets: tuple[str, ...]
    vocabularies: tuple[Vocabulary, ...] = ()
    columns: Columns = Columns()
    time_unit: Literal["s", "ms"] = "s"
    num_time_buckets: int = 13
    split: Split = Split()
    user_id_type: Literal["", "int", "string"] = ""
    num_users: int = 0

    def __post_init__(self) -> None:
        """Checks what one attribute says of another."""
        self._check_names()
        self._check_targets()
        self._check_vocabularies()
        self._check_features()
        if self.num_time_buckets < 2:
            raise UserError(f"num_time_buckets is {self.num_time_buckets}: expected 2 or more")

    @property
    def units_per_day(self) -> int:
        """How many of the schema's time units make a day."""
        return SECONDS_PER_DAY * {"s": 1, "ms": 1000}[self.time_unit]

    def select(self, groups: Collection[str] = (), targets: Collection[str] = ()) -> "Schema":
        """Returns the schema of fewer groups that are read and fewer that are predicted.

        With one of each it is the paper's one2one, with one target its all2one.

        Args:
            groups: Names of the groups to read; () for all.
            targets: Names of the target groups to predict; () for all that are read.

        Raises:
            UserError: A name is of no group or target, or a target is not read.
        """
        names = [group.name for group in self.groups]
        read = list(groups) or names
        predicted = list(targets) or [target for target in self.targets if target in read]
        for kind, wanted, known in (("group", read, names), ("target", predicted, self.targets)):
            for name in wanted:
                if name not in known:
                    raise UserError(f"{kind} {name!r}: expected one of {', '.join(known)}")
        for name in predicted:
            if name not in read:
                raise UserError(f"target {name!r} must be among the groups read: {', '.join(read)}")
        read_groups = tuple(group for group in self.groups if group.name in read)
        vocabulary_names = _vocabulary_names(read_groups)
        return dataclasses.replace(
            self,
            groups=read_groups,
            targets=tuple(target for target in self.targets if target in predicted),
            vocabularies=tuple(v for v in self.vocabularies if v.name in vocabulary_names),
        )

    def group(self, name: str) -> Group:
        """Returns the group called `name`."""
        return next(group for group in self.groups if group.name == name)

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
            values = json.loads(path.read_text(encoding="utf-8"))
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

    def _check_names(self) -> None:
        """Checks that names are well-formed and that none is listed twice."""
        groups = [group.name for group in self.groups]
        features = [feature.name for group in self.groups for feature in group.features]
        for name in [*groups, *features, *sorted(_vocabulary_names(self.groups))]:
            if not _NAME.fullmatch(name):
                raise UserError(f"name {name!r}: expected a letter, then letters, digits or _")
        for kind, names in (
            ("group", groups),
            ("target", list(self.targets)),
            ("vocabulary", [v.name for v in self.vocabularies]),
            *((f"group {g.name!r}: feature", [f.name for f in g.features]) for g in self.groups),
            *((f"group {g.name!r}: action", list(g.actions)) for g in self.groups),
        ):
            for name in names:
                if names.count(name) > 1:
                    raise UserError(f"{kind} {name!r} is listed twice")

    def _check_targets(self) -> None:
        groups = [group.name for group in self.groups]
        if not groups:
            raise UserError("groups: expected at least one")
        if not self.targets:
            raise UserError("targets: expected the name of at least one group")
        for target in self.targets:
            if target not in groups:
                raise UserError(f"target {target!r}: expected one of the groups {groups}")

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


def feature_vocabulary(feature: Feature) -> str:
    """Returns the name of the vocabulary that a feature's values are looked up in.

    Example:

    >>> feature_vocabulary(Feature("brand")), feature_vocabulary(Feature("twin", vocabulary="item"))
    ('brand', 'item')
    """
    return feature.vocabulary or feature.name


def _vocabulary_names(groups: Collection[Group]) -> set[str]:
    """The names of the vocabularies of ids and feature values that groups use."""
    features = [feature for group in groups for feature in group.features]
    return {*(group.name for group in groups), *map(feature_vocabulary, features)}


def _format_fault(fault: Any) -> str:
    """One of pydantic's errors: where it is, unless at the top, and what is wrong."""
    location = ".".join(map(str, fault["loc"]))
    message = fault["msg"].removeprefix("Value error, ")
    return f"{location}: {message}" if location else message
