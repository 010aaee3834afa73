"""The parts of a `Schema`: columns, features, vocabularies, groups, targets and the split."""

import dataclasses
from typing import Any, Literal

import pydantic

_STRICT = pydantic.ConfigDict(extra="forbid")


# Columns that the rows of packed lists get: no file has columns of such names.
PACKED_LIST, PACKED_POSITION = "(list)", "(position)"


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
        list: Which list of the user it was shown in, or which session: a string or an integer;
            labelled targets only. Metrics, and losses by pairs, then compare those of one list.
        position: Where in the list it was shown: an integer of 0 or more; labelled targets only.
            A model learns how much is taken at each, and scores all as at the first.
        separator: Where a row of labelled targets is a whole list: what separates the objects of
            `object`, first to last, and those of `label`, which were taken. Columns of lists need
            it, too. The list is the row then, and the position that in it, unless columns say so.

    Example:

    >>> Columns(user="reviewerID", object="asin").time
    'time'
    """

    __pydantic_config__ = _STRICT

    user: str = "user"
    object: str = "object"
    time: str = "time"
    action: str = ""
    group: str = ""
    label: str = "label"
    list: str = ""
    position: str = ""
    separator: str = ""


NULL_WORDS = ("", "NULL", "null", "\\N", "NaN", "nan", "None", "<NA>")


@dataclasses.dataclass(frozen=True)
class Csv:
    """How files are written: CSV and TSV, and which texts mean nothing in files of any kind.

    Attributes:
        separator: What stands between values; by default a comma in .csv, a tab in .tsv, or what
            makes the columns of the schema be there: a semicolon, a bar.
        quoting: Whether values may stand in double quotes; by default in .csv.
        multiline: Whether values in quotes may hold lines that have as many values as a row.
        encoding: The encoding; by default what a byte order mark says, otherwise UTF-8.
        nulls: Texts that mean that there is no value, in all columns of all files.
        names: Names of the columns, where files have no header.

    Example:

    >>> Csv(separator=";", encoding="latin-1").quoting is None
    True
    """

    __pydantic_config__ = _STRICT

    separator: str = ""
    quoting: bool | None = None
    multiline: bool = False
    encoding: str = ""
    nulls: tuple[str, ...] = NULL_WORDS
    names: tuple[str, ...] = ()


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
        target_actions: Which actions are to be predicted, where the group's name is a target:
            ("buy",) to read clicks and predict purchases. By default all.
        negatives: What sampled negatives are not: "untaken" at the moment of the target, so that
            a user's own habits may be among them; or "untouched" ever. "" to choose by the
            data: untaken where objects recur.
        id_type: Type of the object ids. "" to find out from the data.
        num_trained: Filled in by `prepare`: objects that occur in training events.
        num_logged: Likewise: objects that occur in any event.
        num_objects: Likewise: object indices in all, those out of vocabulary included.
        num_oov: Likewise: object indices for unknown objects (its id vocabulary's).
        labels: Likewise: the columns of labels of its logged candidates.
        first_position: Likewise: the smallest position that a candidate was logged at.
        num_positions: Likewise: one more than the largest, but 1,000 at most; 0 where positions
            were not logged.

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
    target_actions: tuple[str, ...] = ()
    negatives: Literal["", "untaken", "untouched"] = ""
    id_type: Literal["", "int", "string"] = ""
    num_trained: int = 0
    num_logged: int = 0
    num_objects: int = 0
    num_oov: int = 0
    labels: tuple[str, ...] = ()
    first_position: int = 0
    num_positions: int = 0

    @property
    def num_actions(self) -> int:
        """Number of action indices: unknown actions (index 0), then one for each action."""
        return 1 + max(1, len(self.actions))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Group":
        """Reads what `dataclasses.asdict` made of a group."""
        return pydantic.TypeAdapter(cls).validate_python(values)


@dataclasses.dataclass(frozen=True)
class Target:
    """What is predicted: which events of a group, or which label of its logged candidates.

    Several targets may be of one group. Each has a head of the model for itself, metrics and
    signatures; they share the user state.

    Attributes:
        name: Its name; that of a group is of the group's own.
        group: The group; by default the one of the target's name.
        actions: Which of the group's actions are to be predicted; by default the group's
            `target_actions`. All others are read and never predicted.
        label: Of logged candidates: the column of this target's labels; by default the one that
            the impressions' columns name.

    Example:

    >>> Target("purchase", group="item", actions=("buy",)).name
    'purchase'
    """

    __pydantic_config__ = _STRICT

    name: str
    group: str = ""
    actions: tuple[str, ...] = ()
    label: str = ""


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


def feature_vocabulary(feature: Feature) -> str:
    """Returns the name of the vocabulary that a feature's values are looked up in.

    Example:

    >>> feature_vocabulary(Feature("brand")), feature_vocabulary(Feature("twin", vocabulary="item"))
    ('brand', 'item')
    """
    return feature.vocabulary or feature.name
