"""The version of the package: written into prepared data, runs and exports, and read back."""

from data_pipeline.core.errors import UserError

__version__ = "0.5.0"

# The same as a number, for tensors: files and user states of one minor version go together.
MINOR_VERSION = int(__version__.split(".")[1])


def check_version(version: object, what: str, again: str) -> None:
    """Checks that a file was written by a version whose files this one reads.

    Args:
        version: The version that the file names; None where it names none, as before 0.2.0.
        what: The file or directory, for the message.
        again: What to do to have it written anew.

    Raises:
        UserError: Another minor version wrote it.

    Example:

    >>> check_version(__version__, "data/mine", "prepare it again")
    >>> check_version(None, "data/mine", "prepare it again")
    Traceback (most recent call last):
    data_pipeline.core.errors.UserError: data/mine: was written by a version before 0.2.0, this is \
0.5.0: prepare it again
    """
    if isinstance(version, str) and version.split(".")[:2] == __version__.split(".")[:2]:
        return
    writer = f"version {version}" if version else "a version before 0.2.0"
    raise UserError(f"{what}: was written by {writer}, this is {__version__}: {again}")
