"""Writes that survive: files and directories appear whole, under a lock, or not at all."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from data_pipeline.core.errors import UserError

try:
    import fcntl
except ImportError:  # Windows has no such locks.
    fcntl = None  # type: ignore[assignment]


def replace(partial: Path, path: Path) -> None:
    """Gives a file that was written whole its name, its contents on the disk first.

    Example:

    >>> _ = (tmp / "partial").write_text("whole")
    >>> replace(tmp / "partial", tmp / "file")
    >>> (tmp / "file").read_text()
    'whole'
    """
    sync(partial)
    partial.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Waits until a file, or the names in a directory, are on the disk.

    Example:

    >>> sync(tmp)
    """
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(directory: Path) -> None:
    """Waits until all that is in a directory is on the disk.

    Example:

    >>> sync_tree(tmp)
    """
    for path in sorted(directory.rglob("*")):
        sync(path)
    sync(directory)


def exchange(new: Path, path: Path) -> None:
    """Puts a directory in the place of another, which is removed; or leaves both as they were.

    What was there waits beside it meanwhile, from where `restore` brings it back should the
    process be killed.

    Args:
        new: The directory.
        path: Where it is put; there may be nothing yet.

    Example:

    >>> (tmp / "new").mkdir()
    >>> exchange(tmp / "new", tmp / "data")
    >>> (tmp / "data").is_dir(), (tmp / "new").exists()
    (True, False)
    """
    sync_tree(new)
    waiting = _waiting(path)
    try:
        if path.exists():
            # Of one that was killed when it was done but for this.
            shutil.rmtree(waiting, ignore_errors=True)
            path.rename(waiting)
        new.rename(path)
    except BaseException:
        restore(path)
        raise
    sync(path.parent)
    shutil.rmtree(waiting, ignore_errors=True)


def restore(path: Path) -> None:
    """Brings back what `exchange` had put aside when its process was killed.

    Example:

    >>> restore(tmp / "data")  # Nothing was.
    """
    if _waiting(path).exists() and not path.exists():
        _waiting(path).rename(path)


@contextlib.contextmanager
def locked(file: Path, what: str) -> Iterator[None]:
    """Holds a lock; it ends with the process, however that ends.

    Args:
        file: The file that is locked; its directory is made.
        what: What is written under the lock, for the message.

    Raises:
        UserError: Another process holds it.

    Example:

    >>> with locked(tmp / ".lock", "runs/mine"):
    ...     pass
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UserError(f"{file.parent}: is a file; expected a directory") from error
    with file.open("a+", encoding="utf-8") as stream:
        stream.seek(0)
        holder = stream.read().strip() or "another"
        if not _is_ours(stream, file):
            raise UserError(
                f"{what}: process {holder} is writing it; wait for it, or choose another"
            )
        stream.seek(0)
        stream.truncate()
        stream.write(f"{os.getpid()}\n")
        stream.flush()
        try:
            yield
        finally:
            file.unlink(missing_ok=True)


def _is_ours(stream: TextIO, file: Path) -> bool:
    """Locks an open file, if no one else has; not one that was removed meanwhile."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(stream.fileno()).st_ino == file.stat().st_ino
    except OSError:
        return False


def _waiting(path: Path) -> Path:
    return path.with_name(f".{path.name}.replaced")
