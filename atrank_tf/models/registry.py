"""The registry: every model by the name that command lines, runs and reports call it.

To add a baseline, write it as a `Ranker` in one file and register it here in one line. Its class
states its facts; no other module keeps a list of names.
"""

import inspect
import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args, get_origin

from atrank_tf.models.atrank import ATRank
from atrank_tf.models.baselines import (
    BPR,
    BST,
    CNN,
    DIN,
    BiLSTM,
    LastFeature,
    LastObject,
    OwnHistory,
    Popularity,
    SASRec,
)
from atrank_tf.models.ranker import Ranker
from data_pipeline.core.errors import UserError

_KINDS = {int: "integer", float: "number", bool: "boolean", str: "string"}


# Of each kind the types of its values, and what they are called.
_VALUES: dict[str, tuple[Any, str]] = {
    "integer": (int, "an integer"),
    "number": ((int, float), "a number"),
    "boolean": (bool, "true or false"),
    "string": (str, "a string"),
    "enum": (str, "a string"),
}


class _Entry(NamedTuple):
    cls: type[Ranker]
    arguments: Mapping[str, Any]


class Argument(NamedTuple):
    """An argument of a model's constructor that a run may set.

    Attributes:
        kind: "integer", "number", "boolean", "string" or "enum".
        default: Its default.
        choices: The values of an "enum".
        meaning: What the class' docstring says of it.

    Example:

    >>> model_arguments("atrank")["form"]
    Argument(kind='enum', default='causal', choices=('causal', 'paper'), meaning='How time...')
    """

    kind: str
    default: Any
    choices: tuple[str, ...]
    meaning: str


_registry: dict[str, _Entry] = {}


def register(name: str, cls: type[Ranker], **arguments: Any) -> None:
    """Gives a model a name.

    Args:
        name: What command lines, runs and reports call it.
        cls: Its class.
        **arguments: Of its constructor, fixed under this name.

    Example:

    >>> register("narrow_cnn", CNN, width=16)
    >>> model_class("narrow_cnn").__name__
    'CNN'
    >>> unregister("narrow_cnn")
    """
    _registry[name] = _Entry(cls, arguments)


def unregister(name: str) -> None:
    """Takes a name back.

    Example:

    >>> register("other", CNN)
    >>> unregister("other")
    >>> "other" in model_names()
    False
    """
    del _registry[name]


def model_names() -> list[str]:
    """Returns the names of all models, in the order in which they were registered.

    Example:

    >>> model_names()[:2]
    ['atrank', 'bilstm']
    """
    return list(_registry)


def model_class(name: str) -> type[Ranker]:
    """Returns the class of a model, which states its facts.

    Raises:
        UserError: There is no model of this name.

    Example:

    >>> model_class("popularity").is_trained
    False
    """
    return _entry(name).cls


def make_model(name: str, *args: Any, **kwargs: Any) -> Ranker:
    """Makes a model.

    Args:
        name: Its name.
        *args: Schema and catalog.
        **kwargs: Arguments of its constructor that differ from the defaults.

    Raises:
        UserError: There is no model of this name, or its arguments do not fit.

    Example:

    >>> make_model("cnn", *toy_schema_and_catalog(), width=8).width
    8
    """
    entry = _entry(name)
    try:
        return entry.cls(*args, **{**entry.arguments, **kwargs})
    except (TypeError, ValueError) as error:
        raise UserError(f"model {name!r}: {error}") from error


def trains_on_windows(name: str, arguments: Mapping[str, Any]) -> bool:
    """Returns whether a model with some arguments can train on rows of windows.

    Example:

    >>> trains_on_windows("atrank", {"form": "paper"})
    False
    """
    entry = _entry(name)
    return entry.cls.trains_on_windows(**{**entry.arguments, **arguments})


def looks_up(name: str, arguments: Mapping[str, Any]) -> bool:
    """Returns whether a model made with some arguments looks its candidates up.

    Example:

    >>> looks_up("atrank", {}), looks_up("atrank", {"recurrence": False})
    (True, False)
    """
    entry = _entry(name)
    return entry.cls.looks_up(**{**entry.arguments, **arguments})


def model_arguments(name: str) -> dict[str, Argument]:
    """Returns the arguments of a model that a run may set, from its constructor and docstring.

    Example:

    >>> model_arguments("atrank")["num_spaces"].default
    4
    >>> sorted(model_arguments("popularity"))
    ['recurrence']
    """
    entry = _entry(name)
    arguments: dict[str, Argument] = {}
    for cls in entry.cls.__mro__:
        if not issubclass(cls, Ranker):
            break
        meanings = _meanings(cls)
        for parameter in inspect.signature(cls.__init__).parameters.values():
            kind = _kind(parameter.annotation)
            if kind and parameter.name not in {*arguments, *entry.arguments}:
                arguments[parameter.name] = Argument(
                    kind,
                    parameter.default,
                    get_args(parameter.annotation) if kind == "enum" else (),
                    meanings.get(parameter.name, ""),
                )
    return arguments


def arguments_by_name() -> dict[str, dict[str, Argument]]:
    """Returns the arguments of all models: by name, and by the model that has it.

    Example:

    >>> sorted(arguments_by_name()["dropout"])
    ['atrank', 'bst', 'sasrec']
    """
    arguments: dict[str, dict[str, Argument]] = {}
    for model in model_names():
        for name, argument in model_arguments(model).items():
            arguments.setdefault(name, {})[model] = argument
    return arguments


def check_arguments(name: str, arguments: Mapping[str, Any]) -> None:
    """Checks the arguments that a run sets: that the model has them, and their types.

    Raises:
        UserError: One is unknown or of another type; ranges are the model's own affair.

    Example:

    >>> check_arguments("cnn", {"width": 8})
    >>> check_arguments("cnn", {"widths": 8})
    Traceback (most recent call last):
    data_pipeline.core.errors.UserError: model 'cnn': 'widths': no such argument; expected one of \
embedding_width, feature_width, l2, recurrence, width
    """
    known = model_arguments(name)
    for argument, value in arguments.items():
        if argument not in known:
            expected = ", ".join(sorted(known)) or "none"
            raise UserError(
                f"model {name!r}: {argument!r}: no such argument; expected one of {expected}"
            )
        kind, choices = known[argument].kind, known[argument].choices
        types, words = _VALUES[kind]
        is_good = isinstance(value, types) and (kind == "boolean" or not isinstance(value, bool))
        if not is_good or (choices and value not in choices) or value != value:
            expected = f"one of {', '.join(choices)}" if choices else words
            raise UserError(f"model {name!r}: {argument} is {value!r}: expected {expected}")


def _entry(name: str) -> _Entry:
    if name not in _registry:
        raise UserError(f"model is {name!r}: expected one of {', '.join(_registry)}")
    return _registry[name]


def _kind(annotation: Any) -> str:
    """How a flag holds a parameter; "" for what a run cannot set."""
    return "enum" if get_origin(annotation) is Literal else _KINDS.get(annotation, "")


def _meanings(cls: type) -> dict[str, str]:
    """What the section "Args" of a class' docstring says of each argument."""
    section = re.search(r"^Args:\n(.*?)(?:\n\S|\Z)", inspect.getdoc(cls) or "", re.M | re.S)
    if section is None:
        return {}
    entries = re.findall(r"^    (\w+): (.*?)(?=^    \S|\Z)", section[1], re.M | re.S)
    return {name: " ".join(text.split()) for name, text in entries}


register("atrank", ATRank)
register("bilstm", BiLSTM, attention=False)
register("bilstm_attention", BiLSTM, attention=True)
register("bpr", BPR)
register("bst", BST)
register("cnn", CNN)
register("din", DIN)
register("last_feature", LastFeature)
register("last_object", LastObject)
register("own_history", OwnHistory)
register("popularity", Popularity)
register("sasrec", SASRec)
