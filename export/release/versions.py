"""Version directories: `BASE/1`, `BASE/2`, ..., of which servers load the highest."""

import contextlib
import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from data_pipeline.core import durable
from data_pipeline.core.errors import UserError

PARTIAL = ".partial-"
_PRUNED = ".pruned-"
_ABANDONED_SECONDS = 3600.0
_NUMBER = re.compile(r"[0-9]{1,18}")  # Digits of other scripts are none.
_NAME = re.compile(r"[\w.-]+", re.ASCII)


def paths_by_number(base: Path) -> dict[int, Path]:
    """Returns the versions in a directory, lowest first, and where each is.

    Names with leading zeros are numbers, too, as servers have it.

    Args:
        base: Directory of the versions, which need not be there.

    Example:

    >>> for name in ("10", "9", "notes"):
    ...     (tmp / "listed" / name).mkdir(parents=True)
    >>> list(paths_by_number(tmp / "listed"))
    [9, 10]
    """
    if not base.is_dir():
        return {}
    paths = [p for p in base.iterdir() if _NUMBER.fullmatch(p.name) and p.is_dir()]
    return {int(path.name): path for path in sorted(paths, key=lambda path: int(path.name))}


def model_name(base: Path, name: str = "") -> str:
    """Returns what servers know a model by.

    Args:
        base: Directory of its versions.
        name: The model's name; "" for that of the directory.

    Raises:
        UserError: It has characters that a path of a URL, or a config, may not have.

    Example:

    >>> model_name(Path("serving/atrank")), model_name(Path("serving/atrank"), "home-page")
    ('atrank', 'home-page')
    """
    name = name or base.resolve().name
    if not _NAME.fullmatch(name):
        raise UserError(f"{base}: model name {name!r}: expected letters, digits, '.', '_', '-'")
    return name


def publish(written: Path, base: Path) -> Path:
    """Makes a directory the next version.

    A server that polls `base` sees the version whole or not at all, after a crash of the
    machine, too: its files are on disk before it gets its name. It is the newest, whatever
    other exports of this machine do meanwhile.

    Args:
        written: What shall be the version, on the same file system as `base`.
        base: Directory of the versions.

    Returns:
        The version's directory.

    Example:

    >>> (tmp / "published" / "1").mkdir(parents=True)
    >>> (tmp / "published" / ".partial-new").mkdir()
    >>> publish(tmp / "published" / ".partial-new", tmp / "published").name
    '2'
    """
    durable.sync_tree(written)
    with _locked(base):
        while True:
            version = base / str(max(paths_by_number(base), default=0) + 1)
            try:
                written.rename(version)
            except OSError:  # What knows nothing of the lock has put one there.
                if not version.exists():
                    raise
            else:
                durable.sync(base)
                return version


def prune(base: Path, keep: int) -> list[int]:
    """Removes all but the newest versions.

    Args:
        base: Directory of the versions.
        keep: How many to keep, at least 1.

    Returns:
        The versions that were removed.

    Example:

    >>> for name in ("1", "2", "3"):
    ...     (tmp / "pruned" / name).mkdir(parents=True)
    >>> prune(tmp / "pruned", keep=1)
    [1, 2]
    """
    with _locked(base):
        old = list(paths_by_number(base).items())[:-keep]
        for number, path in old:
            # Servers would find half of a version: it loses its name first.
            path.rename(base / f"{_PRUNED}{number}")
    clear(base)
    return [number for number, _ in old]


def clear(base: Path) -> None:
    """Removes what was half removed, or half written, when a process was killed.

    Args:
        base: Directory of the versions.

    Example:

    >>> (tmp / "cleared" / ".pruned-3").mkdir(parents=True)
    >>> clear(tmp / "cleared")
    >>> list((tmp / "cleared").iterdir())
    []
    """
    long_ago = time.time() - _ABANDONED_SECONDS
    for path in [*base.glob(f"{_PRUNED}*"), *base.glob(f"{PARTIAL}*")]:
        # Another export may be at work, and clear the same, too.
        with contextlib.suppress(FileNotFoundError):
            if path.name.startswith(PARTIAL) and path.lstat().st_mtime >= long_ago:
                continue
            if path.is_symlink():
                path.unlink()
            else:
                shutil.rmtree(path)


@contextlib.contextmanager
def _locked(base: Path) -> Iterator[None]:
    """Waits until no other export names or renames versions, and keeps others waiting.

    Else a number that was the next one when it was looked up may be an old one when it is
    used: published, and pruned by another export since.
    """
    descriptor = os.open(base, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # Unlocks, as the end of the process does.
