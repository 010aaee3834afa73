"""The newest version of a model, kept loaded while others appear and go."""

import contextlib
import dataclasses
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc

from export.protocol.errors import ServingError, print_line
from export.release import versions
from export.serve.servable import Servable

_FIRST_WAIT, _LONGEST_WAIT = 2.0, 60.0  # Seconds.


@dataclasses.dataclass(frozen=True)
class _Failure:
    """Why a version was not loaded, and when to try again: after seconds, or when it changes."""

    why: str
    changed: float
    wait: float
    again: float


class ModelWatcher:
    """Serves the highest version in a directory, as TensorFlow Serving does by default.

    A new one is loaded and warmed up beside the old, which answers meanwhile; then all new
    requests go to the new one, and the old one is unloaded when its last request is answered.
    One that cannot be loaded is reported, and tried again later; the old one stays.

    Args:
        name: The model's name.
        base: Directory of its versions.

    Example:

    >>> watcher = ModelWatcher("atrank", tmp / "atrank")
    >>> watcher.refresh(), watcher.version  # A version may appear later.
    (False, None)
    >>> with watcher.use("atrank") as servable:
    ...     servable.run("score_examples", {"inputs": np.array([b""], object)})
    Traceback (most recent call last):
    export.protocol.errors.ServingError: NOT_FOUND: Servable not found for request: Latest(atrank)
    """

    def __init__(self, name: str, base: Path) -> None:
        self.name = name
        self.base = base
        self._lock = threading.Lock()
        self._current: Servable | None = None
        self._users: dict[int, int] = {}  # By version, requests that it is answering.
        self._retired: dict[int, Servable] = {}
        self._failed: dict[int, _Failure] = {}
        self._loading: int | None = None

    def refresh(self) -> bool:
        """Looks for another highest version, and loads it; takes as long as that takes.

        Returns:
            Whether another version is served now.
        """
        try:
            paths = versions.paths_by_number(self.base)
            newest = max(paths, default=None)
            changed = paths[newest].stat().st_mtime if newest is not None else 0.0
        except OSError as error:
            print_line(f"{self.base}: cannot be looked at: {error.strerror}", sys.stderr)
            return False
        self._failed = {n: f for n, f in self._failed.items() if n in paths}
        if newest in (None, self.version):
            return False
        # One that was being copied is whole later: it is tried again, but not all the time.
        failure = self._failed.get(newest)
        if failure and failure.changed == changed and time.monotonic() < failure.again:
            return False
        self._loading = newest
        try:
            servable = Servable(paths[newest])
        except Exception as error:  # Whatever is wrong with it, the old one stays.
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            why = " ".join(lines[:2]) or type(error).__name__
            wait = min(2 * failure.wait, _LONGEST_WAIT) if failure else _FIRST_WAIT
            self._failed[newest] = _Failure(why, changed, wait, time.monotonic() + wait)
            print_line(
                f"version {newest} cannot be loaded, again in {wait:.0f} s: {why}", sys.stderr
            )
            return False
        finally:
            self._loading = None
        self._failed.pop(newest, None)
        with self._lock:
            old, self._current = self._current, servable
            if old is not None:
                self._retired[old.version] = old
        self._unload()
        return True

    @property
    def version(self) -> int | None:
        """The version that is served, if any."""
        return self._current.version if self._current else None

    @contextlib.contextmanager
    def use(self, name: str, version: int | None = None) -> Iterator[Servable]:
        """Holds a version while a request is answered.

        Args:
            name: The requested model.
            version: Its requested version; None for the newest.

        Raises:
            ServingError: NOT_FOUND.
        """
        with self._lock:
            servable = self._current
            if servable is None or name != self.name or version not in (None, servable.version):
                spec = f"Latest({name})" if version is None else f"Specific({name}, {version})"
                raise ServingError(
                    grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {spec}"
                )
            self._users[servable.version] = self._users.get(servable.version, 0) + 1
        try:
            yield servable
        finally:
            with self._lock:
                self._users[servable.version] -= 1
            self._unload()

    def states(self) -> dict[int, tuple[str, str]]:
        """Returns by version its state, as `ModelVersionStatus.State` names it, and its error."""
        with self._lock:
            states = {number: ("END", f.why) for number, f in self._failed.items()}
            states |= dict.fromkeys(self._retired, ("UNLOADING", ""))
            if self._loading is not None:
                states[self._loading] = ("LOADING", "")
            if self._current:
                states[self._current.version] = ("AVAILABLE", "")
        return states

    def close(self) -> None:
        """Unloads all versions."""
        with self._lock:
            servables = [*self._retired.values(), *([self._current] if self._current else [])]
            self._retired, self._current = {}, None
        for servable in servables:
            servable.close()

    def _unload(self) -> None:
        with self._lock:
            idle = [number for number in self._retired if not self._users.get(number)]
            servables = [self._retired.pop(number) for number in idle]
        for servable in servables:
            servable.close()
