"""Version directories: `BASE/1`, `BASE/2`, ..., of which servers load the highest."""

import os
import shutil
from pathlib import Path


def numbers(base: Path) -> list[int]:
    """Returns the versions in a directory, lowest first; none where there is no directory."""
    if not base.is_dir():
        return []
    return sorted(int(p.name) for p in base.iterdir() if p.name.isdecimal() and p.is_dir())


def publish(written: Path, base: Path) -> Path:
    """Makes a directory the next version.

    A server that polls `base` sees the version whole or not at all, after a crash of the
    machine, too: its files are on disk before it gets its name.

    Args:
        written: What shall be the version, on the same file system as `base`.
        base: Directory of the versions.

    Returns:
        The version's directory.
    """
    for path in [*written.rglob("*"), written]:
        _to_disk(path)
    version = base / str(max(numbers(base), default=0) + 1)
    written.rename(version)
    _to_disk(base)
    return version


def prune(base: Path, keep: int) -> list[int]:
    """Removes all but the newest versions.

    Args:
        base: Directory of the versions.
        keep: How many to keep, at least 1.

    Returns:
        The versions that were removed.
    """
    old = numbers(base)[:-keep]
    for number in old:
        # Servers would find half of a version: it loses its name first.
        nameless = base / f".pruned-{number}"
        (base / str(number)).rename(nameless)
        shutil.rmtree(nameless)
    return old


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
