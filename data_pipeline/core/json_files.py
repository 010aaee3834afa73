"""Small files of JSON, written whole or not at all."""

import hashlib
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


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns values with a checksum of theirs, by which `unsealed` sees that one was changed.

    Example:

    >>> sorted(sealed({"epoch": 3}))
    ['checksum', 'epoch']
    """
    return {**values, "checksum": _checksum(values)}


def unsealed(values: Any, path: Path, advice: str) -> dict[str, Any]:
    """Returns what `sealed` was given.

    Args:
        values: What was read.
        path: Its file, for the message.
        advice: What to do where it was changed.

    Raises:
        UserError: It is not what was sealed.

    Example:

    >>> unsealed(sealed({"epoch": 3}) | {"epoch": 4}, Path("state.json"), "train again")
    Traceback (most recent call last):
    data_pipeline.core.errors.UserError: state.json: is not what was written there, by its \
checksum; train again
    """
    if isinstance(values, dict):
        rest = {name: value for name, value in values.items() if name != "checksum"}
        if values.get("checksum") == _checksum(rest):
            return rest
    raise UserError(f"{path}: is not what was written there, by its checksum; {advice}")


def _checksum(values: Mapping[str, Any]) -> str:
    # As JSON has them: tuples are lists, keys are strings.
    text = json.dumps(json.loads(json.dumps(values)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


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
