"""What the recipes share: finding the files of a data set."""

from pathlib import Path

from data_pipeline.core.errors import UserError


def require_dir(input_dir: Path | None, recipe: str, holds: str) -> Path:
    """Returns the directory of a data set's files.

    Raises:
        UserError: It was not given, or is none.
    """
    if input_dir is None:
        raise UserError(f"--recipe={recipe} needs --input_dir: a directory that holds {holds}")
    if not input_dir.is_dir():
        raise UserError(f"{input_dir}: is no directory; expected one that holds {holds}")
    return input_dir


def find_one(directory: Path, *patterns: str) -> Path:
    """Returns the one file of a directory that matches a pattern.

    Raises:
        UserError: There is none, or there are several.
    """
    found = sorted(file for pattern in patterns for file in directory.glob(pattern))
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise UserError(f"{directory}: expected one file {' or '.join(patterns)}, found {names}")
    return found[0]
