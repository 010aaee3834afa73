"""Flags made of options, and what `--help` tells of a command's flags."""

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
    ("--helpfull, --version", "Explains every flag in full; tells the version."),
)


class _Shown(NamedTuple):
    section: str
    default: str
    meaning: str


# Of flags that are made of options, what help shows beside their meaning.
_shown: dict[str, _Shown] = {}


def define(
    cls: type[Options],
    leave_out: Sequence[str] = (),
    choices: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Defines a flag for each option of a class.

    A flag that is not given is None: see `given`.

    Args:
        cls: The class of options.
        leave_out: Names of options that have no flag.
        choices: By the name of an option, values that are known only when the command starts.
    """
    for option in options(cls):
        if option.name not in leave_out:
            values = (choices or {}).get(option.name) or option.kind.get("enum", ())
            define_one(
                option.name,
                "enum" if values else option.kind["type"],
                option.meaning,
                option.section,
                _text(option.default),
                values,
            )


def define_one(
    name: str, kind: str, meaning: str, section: str, default: str, choices: Sequence[str] = ()
) -> None:
    """Defines one flag that is None until it is given.

    Args:
        name: Its name.
        kind: "integer", "number", "boolean", "string", "array", "object" or "enum".
        meaning: What it means.
        section: Where help lists it.
        default: The default, as help shows it.
        choices: The values of an "enum".
    """
    _shown[name] = _Shown(section, default, meaning)
    if kind == "enum":
        flags.DEFINE_enum(name, None, list(choices), meaning)
    else:
        makers = {
            "integer": flags.DEFINE_integer,
            "number": flags.DEFINE_float,
            "boolean": flags.DEFINE_bool,
            "string": flags.DEFINE_string,
            "array": flags.DEFINE_list,
            "object": flags.DEFINE_list,
        }
        makers[kind](name, None, meaning)


def given(cls: type[Options]) -> dict[str, Any]:
    """Returns the options of a class that the command line gives.

    Raises:
        UserError: An item of a mapping is not NAME=NUMBER.
    """
    values = {}
    for option in options(cls):
        if option.name in flags.FLAGS and flags.FLAGS[option.name].value is not None:
            value = flags.FLAGS[option.name].value
            is_mapping = option.kind.get("type") == "object"
            values[option.name] = _mapping(option.name, value) if is_mapping else value
    return values


def format_help(description: str, is_full: bool) -> str:
    """Returns the help of a command.

    Args:
        description: The docstring of its module.
        is_full: Whether to tell all of each flag's meaning, or its first sentence.
    """
    sections: dict[str, list[tuple[str, str]]] = {}
    for module, defined in flags.FLAGS.flags_by_module_dict().items():
        if module.partition(".")[0] not in _LIBRARIES:
            for flag in defined:
                section = _shown[flag.name].section if flag.name in _shown else _RUN
                meaning = _shown[flag.name].meaning if flag.name in _shown else flag.help
                sections.setdefault(section, []).append((_typed(flag), meaning))
    sections[_RUN] = [*sections.pop(_RUN, []), *_EVERYWHERE]
    lines = [description.strip()]
    for section, entries in sections.items():
        lines += ["", f"{section}:"]
        for typed, meaning in entries:
            if is_full:
                lines += [f"  {typed}", *textwrap.wrap(meaning, _WIDTH, **_INDENT)]
            else:
                lines.append(
                    f"  {typed}".ljust(_COLUMN - 1) + f" {meaning.partition('. ')[0].rstrip('.')}."
                )
    return "\n".join(lines)


_INDENT: dict[str, Any] = {"initial_indent": 6 * " ", "subsequent_indent": 6 * " "}


def _typed(flag: flags.Flag) -> str:
    """A flag as it is typed, with its default."""
    if flag.boolean:
        return f"--[no]{flag.name}"
    default = _shown[flag.name].default if flag.name in _shown else _text(flag.default)
    return f"--{flag.name}={default}"


def _text(default: Any) -> str:
    if default is None:
        return ""
    return ",".join(map(str, default)) if isinstance(default, list | dict) else str(default)


def _mapping(name: str, items: list[str]) -> dict[str, float]:
    """Reads NAME=NUMBER, ..."""
    values = {}
    for item in items:
        key, _, number = item.partition("=")
        try:
            values[key] = float(number)
        except ValueError:
            raise UserError(f"--{name} {item!r}: expected NAME=NUMBER") from None
    return values
