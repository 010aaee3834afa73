"""Small files of JSON, written whole or not at all."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from data_pipeline.core.errors import UserError


def read(path: Path) -> dict[str, Any]:
    """Reads a file.

    Raises:
        UserError: It is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: is not JSON ({error})") from error


def write(path: Path, values: Mapping[str, Any]) -> None:
    """Writes a file; whoever reads it meanwhile finds what was there before."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def check_same(
    found: Mapping[str, Any],
    wanted: Mapping[str, Any],
    but: Collection[str],
    holder: str,
    advice: str,
) -> None:
    """Checks that what a directory was begun with is what it shall go on with.

    Args:
        found: What it was begun with.
        wanted: What it shall go on with.
        but: Names that may differ.
        holder: What holds it, for the message: "DIRECTORY: holds a run".
        advice: What to do about a difference.

    Raises:
        UserError: A name differs.
    """
    for name in sorted({*wanted, *found} - {*but}):
        if wanted.get(name) != found.get(name):
            raise UserError(
                f"{holder} with {name}={found.get(name)!r}, not {wanted.get(name)!r}; {advice}"
            )
