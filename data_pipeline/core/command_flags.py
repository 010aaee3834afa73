"""Flags made of options, and what `--help` says of a command's flags."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from absl import flags

from data_pipeline.core.errors import UserError
from data_pipeline.core.options import Options, options

_LIBRARIES = ("absl", "tensorflow", "keras", "pyarrow", "grpc")
_RUN = "Run"
_COLUMN, _WIDTH = 30, 100
_EVERYWHERE = (
    ("--flagfile=FILE", "Reads flags from a file, one a line."),
    ("--helpfull, --version", "Explains every flag in full; prints the version."),
)
_INDENT: dict[str, Any] = {"initial_indent": 6 * " ", "subsequent_indent": 6 * " "}


class _FlagHelp(NamedTuple):
    section: str
    default: str
    meaning: str


# By the name of a flag that is made of an option.
_flag_helps: dict[str, _FlagHelp] = {}


def define_flags(
    cls: type[Options],
    leave_out: Sequence[str] = (),
    choices: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Defines a flag for each option of a class.

    A flag that is not on the command line is None: see `read_flags`.

    Args:
        cls: The class of options.
        leave_out: Names of options that have no flag.
        choices: By the name of an option, values that are known only when the command starts.

    Example:

    >>> class Budget(Options):
    ...     budget_seconds: float = 60.0
    >>> define_flags(Budget)
    >>> flags.FLAGS["budget_seconds"].flag_type()
    'float'
    >>> flags.FLAGS.remove_flag_values(["budget_seconds"])
    """
    for option in options(cls):
        if option.name not in leave_out:
            values = (choices or {}).get(option.name) or option.kind.get("enum", ())
            define_flag(
                option.name,
                "enum" if values else option.kind["type"],
                option.meaning,
                option.section,
                _text(option.default),
                values,
            )


def define_flag(
    name: str, kind: str, meaning: str, section: str, default: str, choices: Sequence[str] = ()
) -> None:
    """Defines a flag that is None unless it is on the command line.

    Args:
        name: Its name.
        kind: "integer", "number", "boolean", "string", "array", "object" or "enum".
        meaning: What it means.
        section: Where help lists it.
        default: The default, as help shows it.
        choices: The values of an "enum".

    Example:

    >>> define_flag("budget_unit", "enum", "Unit of a budget.", "Budget", "s", ["s", "steps"])
    >>> flags.FLAGS["budget_unit"].parser.enum_values
    ['s', 'steps']
    >>> flags.FLAGS.remove_flag_values(["budget_unit"])
    """
    _flag_helps[name] = _FlagHelp(section, default, meaning)
    if kind == "enum":
        flags.DEFINE_enum(name, None, list(choices), meaning)
    else:
        makers: dict[str, Any] = {
            "integer": flags.DEFINE_integer,
            "number": flags.DEFINE_float,
            "boolean": flags.DEFINE_bool,
            "string": flags.DEFINE_string,
            "array": flags.DEFINE_list,
            "object": flags.DEFINE_list,
        }
        makers[kind](name, None, meaning)


def read_flags(cls: type[Options]) -> dict[str, Any]:
    """Returns the options of a class that are on the command line, by name.

    Raises:
        UserError: An item of a mapping is not NAME=NUMBER.

    Example:

    >>> class Budget(Options):
    ...     budget_seconds: float = 60.0
    ...     budget_steps: int = 100
    >>> define_flags(Budget)
    >>> flags.FLAGS["budget_seconds"].value = 5.0  # As --budget_seconds=5 does.
    >>> read_flags(Budget)
    {'budget_seconds': 5.0}
    >>> flags.FLAGS.remove_flag_values(["budget_seconds", "budget_steps"])
    """
    values = {}
    for option in options(cls):
        if option.name in flags.FLAGS and flags.FLAGS[option.name].value is not None:
            value: Any = flags.FLAGS[option.name].value
            is_mapping = option.kind.get("type") == "object"
            values[option.name] = _mapping(option.name, value) if is_mapping else value
    return values


def format_help(description: str, is_full: bool) -> str:
    """Returns the help of a command.

    Args:
        description: The docstring of its module.
        is_full: Whether to explain each flag in full, or in its first sentence.

    Example:

    >>> print(format_help("Counts users.", is_full=False))
    Counts users.
    ...
      --flagfile=FILE             Reads flags from a file, one a line.
    ...
    """
    sections: dict[str, list[tuple[str, str]]] = {}
    for module, module_flags in flags.FLAGS.flags_by_module_dict().items():
        if module.partition(".")[0] not in _LIBRARIES:
            for flag in module_flags:
                flag_help = _help_of(flag)
                entry = (_as_typed(flag), flag_help.meaning)
                sections.setdefault(flag_help.section, []).append(entry)
    sections[_RUN] = [*sections.pop(_RUN, []), *_EVERYWHERE]
    lines = [description.strip()]
    for section, entries in sections.items():
        lines += ["", f"{section}:"]
        for flag_and_default, meaning in entries:
            if is_full:
                lines += [f"  {flag_and_default}", *textwrap.wrap(meaning, _WIDTH, **_INDENT)]
            else:
                first_sentence = meaning.partition(". ")[0].rstrip(".")
                lines.append(f"  {flag_and_default}".ljust(_COLUMN - 1) + f" {first_sentence}.")
    return "\n".join(lines)


def _help_of(flag: flags.Flag) -> _FlagHelp:
    return _flag_helps.get(flag.name) or _FlagHelp(_RUN, _text(flag.default), flag.help)


def _as_typed(flag: flags.Flag) -> str:
    """A flag as it is typed, with its default."""
    if flag.boolean:
        return f"--[no]{flag.name}"
    return f"--{flag.name}={_help_of(flag).default}"


def _text(default: Any) -> str:
    if default is None:
        return ""
    return ",".join(map(str, default)) if isinstance(default, list | dict) else str(default)


def _mapping(name: str, items: list[str]) -> dict[str, float]:
    """Reads NAME=NUMBER, ..."""
    values: dict[str, float] = {}
    for item in items:
        key, _, number = item.partition("=")
        if key in values:
            raise UserError(f"--{name} {item!r}: {key!r} is given twice")
        try:
            values[key] = float(number)
        except ValueError:
            raise UserError(f"--{name} {item!r}: expected NAME=NUMBER") from None
    return values
