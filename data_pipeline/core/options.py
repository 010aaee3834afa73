"""Options: a class that says name, type, range, default and meaning of each setting once."""

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import pydantic

from data_pipeline.core import json_files
from data_pipeline.core.errors import UserError

# The types of a JSON schema, in words.
_TYPES = {
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "string": "a string",
    "array": "a list",
    "object": "an object",
}


class Options(pydantic.BaseModel):
    """Settings that are checked when they are made; they do not change afterwards.

    A subclass declares its options as annotated attributes: the annotation is the type and the
    range, the value the default, the text below it the meaning. The API's docstring, the command
    line's flags with their `--help`, and the check of a JSON file are made from these.

    Raises:
        UserError: An option is unknown, of another type or out of range.

    Example:

    >>> from typing import Annotated
    >>> class Budget(Options):
    ...     seconds: Annotated[float, pydantic.Field(gt=0)] = 60.0
    >>> Budget(seconds=-1.0)
    Traceback (most recent call last):
    data_pipeline.core.errors.UserError: seconds is -1.0: expected a number above 0
    >>> Budget().replace(seconds=5.0)
    Budget(seconds=5.0)
    """

    model_config = pydantic.ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        protected_namespaces=(),
        validate_default=True,
    )

    def __init__(self, **values: Any) -> None:
        """Checks every option."""
        try:
            super().__init__(**values)
        except pydantic.ValidationError as error:
            by_name = {option.name: option for option in options(type(self))}
            faults = "; ".join(_format_fault(fault, by_name) for fault in error.errors())
            raise UserError(faults) from None

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Lists the options in the class' docstring."""
        super().__pydantic_init_subclass__(**kwargs)
        lines = [f"    {option.name}: {option.describe()}" for option in options(cls)]
        cls.__doc__ = f"{inspect.cleandoc(cls.__doc__ or '')}\n\nAttributes:\n" + "\n".join(lines)

    def replace(self, **changes: Any) -> Self:
        """Returns the same options with some changed, checked again."""
        return type(self)(**{**self.to_dict(), **changes})

    def to_dict(self) -> dict[str, Any]:
        """Returns the options by name, as JSON holds them."""
        return self.model_dump()


class Option(NamedTuple):
    """One option of a class.

    Attributes:
        name: Its name.
        schema: Its JSON schema: type, range, choices, default.
        meaning: What it means.
        section: What the docstring of the class that declares it begins with, up to a colon.

    Example:

    >>> Option("seconds", {"type": "number", "default": 60.0}, "Time.", "Budget").describe()
    'Time. Default: 60.0.'
    """

    name: str
    schema: dict[str, Any]
    meaning: str
    section: str

    @property
    def default(self) -> Any:
        """The default; None for none."""
        return self.schema.get("default")

    @property
    def kind(self) -> dict[str, Any]:
        """The JSON schema of a value that is not null."""
        kinds = self.schema.get("anyOf", [self.schema])
        return next(kind for kind in kinds if kind.get("type") != "null")

    def describe(self) -> str:
        """Returns the meaning and the default as one text."""
        if self.default in (None, [], {}):
            return self.meaning
        return f"{self.meaning} Default: {self.default}."


def options(cls: type[Options]) -> Iterator[Option]:
    """Yields the options of a class, those of its bases first.

    Example:

    >>> class Budget(Options):
    ...     seconds: float = 60.0
    >>> [(option.name, option.default) for option in options(Budget)]
    [('seconds', 60.0)]
    """
    for name, schema in cls.model_json_schema().get("properties", {}).items():
        declares = [base for base in cls.__mro__ if name in inspect.get_annotations(base)]
        first_line = (declares[0].__doc__ or "").strip().partition("\n")[0]
        section = first_line.partition(":")[0].rstrip(".")
        yield Option(name, schema, " ".join(schema.get("description", "").split()), section)


def read_config(path: str | Path) -> dict[str, Any]:
    """Reads a JSON file of options, or the `settings.json` of a run directory.

    Raises:
        UserError: There is no such file, or it holds no JSON object.

    Example:

    >>> _ = (tmp / "settings.json").write_text('{"width": 64}')
    >>> read_config(tmp)
    {'width': 64}
    """
    path = Path(path)
    path = path / "settings.json" if path.is_dir() else path
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected JSON, as a run's settings.json")
    values = json_files.read(path)
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a JSON object of settings")
    return values


def _format_fault(fault: Any, by_name: dict[str, Option]) -> str:
    """One of pydantic's errors as a line: what was found and what was expected."""
    name, value = str(fault["loc"][0]), fault["input"]
    if name not in by_name:
        return f"{name!r}: no such option; expected one of {', '.join(sorted(by_name))}"
    kind = by_name[name].kind
    if len(fault["loc"]) > 1:  # An element of a list or of a mapping.
        name = ".".join(map(str, fault["loc"]))
        kind = kind.get("additionalProperties", kind.get("items", {}))
    if fault["type"] == "missing":
        return f"{name} is missing: expected {_expected(kind)}"
    shown = repr(value) if isinstance(value, str) else value
    if fault["type"] in ("int_type", "int_from_float", "float_type"):
        return f"{name} is {shown}: expected {_TYPES[kind['type']]}"
    return f"{name} is {shown}: expected {_expected(kind)}"


def bounds_in_words(kind: Mapping[str, Any]) -> str:
    """Returns what range a JSON schema allows, in words; "" where it sets no bounds.

    Example:

    >>> bounds_in_words({"minimum": 1}), bounds_in_words({"exclusiveMinimum": 0, "maximum": 2})
    ('1 or more', 'above 0, up to 2')
    """
    low, above, high = (kind.get(k) for k in ("minimum", "exclusiveMinimum", "maximum"))
    if above is not None:
        return f"above {above:g}" + (f", up to {high:g}" if high is not None else "")
    if low is not None:
        return f"{low:.10g} to {high:.10g}" if high is not None else f"{low:.10g} or more"
    return ""


def _expected(kind: dict[str, Any]) -> str:
    """What a JSON schema allows, in words: "1 or more", "a number above 0"."""
    if "enum" in kind:
        return f"one of {', '.join(kind['enum'])}"
    bounds = bounds_in_words(kind)
    if bounds.startswith("above"):
        return f"a number {bounds}"
    if bounds.endswith("or more") and kind["type"] == "number":
        return f"a number of {bounds}"
    return bounds or _TYPES.get(kind.get("type", ""), "another type")
