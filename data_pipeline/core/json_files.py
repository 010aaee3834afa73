"""Small files of JSON, written whole or not at all."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from data_pipeline.core import durable
from data_pipeline.core.errors import UserError


def read(path: Path) -> dict[str, Any]:
    """Reads a file.

    Raises:
        UserError: It is not JSON.

    Example:

    >>> _ = (tmp / "costs.json").write_text('{"seconds": 5.0}')
    >>> read(tmp / "costs.json")
    {'seconds': 5.0}
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not JSON ({error})") from error


def write(path: Path, values: Mapping[str, Any]) -> None:
    """Writes a file; whoever reads it meanwhile finds what was there before.

    Example:

    >>> write(tmp / "costs.json", {"seconds": 5.0})
    >>> read(tmp / "costs.json")
    {'seconds': 5.0}
    """
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    durable.replace(partial, path)


def check_same(
    recorded: Mapping[str, Any],
    wanted: Mapping[str, Any],
    but: Collection[str],
    holder: str,
    advice: str,
) -> None:
    """Checks that what a directory was begun with is what it shall go on with.

    Args:
        recorded: What it was begun with.
        wanted: What it shall go on with.
        but: Names that may differ.
        holder: What was begun, for the message: "DIRECTORY: holds a run".
        advice: What to do about a difference.

    Raises:
        UserError: A name differs.

    Example:

    >>> recorded, wanted = {"width": 64, "epochs": 3}, {"width": 32, "epochs": 5}
    >>> check_same(recorded, wanted, ("epochs",), "runs/a: holds a run", "choose another")
    Traceback (most recent call last):
    data_pipeline.core.errors.UserError: runs/a: holds a run with width=64, not 32; choose another
    """
    for name in sorted({*wanted, *recorded} - {*but}):
        if wanted.get(name) != recorded.get(name):
            raise UserError(
                f"{holder} with {name}={recorded.get(name)!r}, not {wanted.get(name)!r}; {advice}"
            )
