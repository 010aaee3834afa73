"""What the recipes share: finding the files of a data set."""

from pathlib import Path

from data_pipeline.core.errors import UserError


def require_dir(input_dir: Path | None, recipe: str, holds: str) -> Path:
    """Returns the directory of a data set's files.

    Args:
        input_dir: The directory; None where the command line names none.
        recipe: Name of the recipe, for the message.
        holds: What the directory should hold, for the message.

    Raises:
        UserError: It is None, or no directory.

    Example:

    >>> require_dir(None, "movielens", "u.data and u.item")
    Traceback (most recent call last):
    data_pipeline.core.errors.UserError: --recipe=movielens needs --input_dir: a directory that ...
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

    Example:

    >>> (tmp / "meta_Books.json.gz").touch()
    >>> find_one(tmp, "meta_*.json", "meta_*.json.gz").name
    'meta_Books.json.gz'
    """
    files = sorted({file for pattern in patterns for file in directory.glob(pattern)})
    if len(files) != 1:
        names = ", ".join(file.name for file in files) or "none"
        raise UserError(f"{directory}: expected one file {' or '.join(patterns)}, found {names}")
    return files[0]
