"""What other libraries share: the protocol's data, the clock, the results. Needs NumPy alone.

Each is a script that runs in an environment of its own, where nothing of this repository is
installed; it finds this module because it lies beside it. So all of them learn from the same
events, rank the same candidates and are timed alike.
"""

import argparse
import importlib.metadata
import json
import math
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SPLITS = ("validation", "test")


class Protocol:
    """The data that all libraries share, read from `protocol.npz`.

    Args:
        path: The file.
        max_history: How many of the newest behaviors a history has at most.
    """

    def __init__(self, path: Path, max_history: int) -> None:
        with np.load(path) as file:
            self.arrays = {name: file[name] for name in file.files}
        self.max_history = max_history
        self.num_items = int(self.arrays["num_items"])
        self.num_trained = int(self.arrays["num_trained"])
        self.num_feature_values = int(self.arrays["num_feature_values"])
        self.users, self.items = self.arrays["train_user"], self.arrays["train_item"]
        self.times = self.arrays["train_time"]
        self._touched = np.unique(self._pairs(self.users, self.items))

    def _pairs(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        return users * (self.num_items + 1) + items

    def features(self) -> np.ndarray:
        """The items' feature values, a row an item, filled up with zeros."""
        splits = self.arrays["item_feature_splits"]
        width = max(1, int(np.diff(splits).max()))
        return windows(self.arrays["item_feature_rows"], splits[:-1], splits[1:], width)[0]

    def num_queries(self, split: str) -> int:
        """How many queries a split has; each has one history and several candidates."""
        return len(self.arrays[f"{split}_user"])

    def candidates(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """All candidates of a split, one after the other, and the query that each belongs to."""
        counts = np.diff(self.arrays[f"{split}_candidates_splits"])
        return self.arrays[f"{split}_candidates"], np.repeat(np.arange(len(counts)), counts)

    def histories(self, split: str, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The histories of queries, oldest first, and their lengths."""
        splits = self.arrays[f"{split}_history_splits"]
        begin, end = splits[queries], splits[queries + 1]
        return windows(self.arrays[f"{split}_history"], begin, end, self.max_history)

    def negatives(self, users: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """One item for each user: uniform among what training saw and the user did not touch."""
        items = random.integers(1, self.num_trained + 1, len(users))
        for _ in range(100):  # Whoever touched everything keeps what was drawn last.
            touched = np.flatnonzero(np.isin(self._pairs(users, items), self._touched))
            if not len(touched):
                break
            items[touched] = random.integers(1, self.num_trained + 1, len(touched))
        return items


def windows(
    values: np.ndarray, begin: np.ndarray, end: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """The newest `width` of `values[begin:end]` as rows that zeros fill up, and their lengths."""
    lengths = np.minimum(end - begin, width)
    positions = (end - lengths)[:, None] + np.arange(width)
    is_real = np.arange(width) < lengths[:, None]
    return np.where(is_real, np.append(values, 0)[np.where(is_real, positions, -1)], 0), lengths


def strictly_before(users: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the history of each event begins and ends, among events sorted by (user, time).

    Events of the same instant do not see each other, in training as in evaluation.
    """
    positions = np.arange(len(users))
    is_new_user = np.append(True, users[1:] != users[:-1])
    is_new_time = is_new_user | np.append(True, times[1:] != times[:-1])
    begin = np.maximum.accumulate(np.where(is_new_user, positions, 0))
    return begin, np.maximum.accumulate(np.where(is_new_time, positions, 0))


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The flags that every script has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--protocol", type=Path, required=True, help="protocol.npz")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=300, help="budget of training alone")
    parser.add_argument("--epochs", type=int, default=1000, help="epochs at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max_history", type=int, default=100)
    parser.add_argument("--evaluations", type=int, default=10, help="points of a whole budget")
    return parser


class Recorder:
    """Counts what was trained in which time, and scores the candidates in between.

    Args:
        options: The flags.
        protocol: The shared data.
        epoch_targets: How many positives an epoch has.
        score: Returns the scores of a split's candidates. Its time is not counted.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        protocol: Protocol,
        epoch_targets: int,
        score: Callable[[str], np.ndarray],
    ) -> None:
        self._options, self._protocol, self._score = options, protocol, score
        self._epoch_targets = epoch_targets
        self._curve: list[dict[str, float]] = []
        self._scores: dict[str, np.ndarray] = {}
        self._targets, self._seconds = 0, 0.0
        # Ever rarer, as for the forms of our own model: curves are steep at their start.
        self._due = list(np.geomspace(options.seconds / 30, options.seconds, options.evaluations))
        self._resumed: float | None = None

    def trained(self, targets: int) -> bool:
        """To be called after each batch. Returns whether training is over.

        The first batch starts the clock: tracing and warming up are not counted.
        """
        now = time.monotonic()
        if self._resumed is None:
            self._resumed = now
            return False
        self._seconds, self._resumed = self._seconds + now - self._resumed, now
        self._targets += targets
        epochs = self._targets // self._epoch_targets
        over = self._seconds >= self._options.seconds or epochs >= self._options.epochs
        if over or self._seconds >= self._due[0]:
            self._evaluate()
            self._due = [due for due in self._due if due > self._seconds] or [math.inf]
        return over

    def _evaluate(self) -> None:
        point = {
            "epoch": round(self._targets / self._epoch_targets, 4),
            "seconds": round(self._seconds, 3),
            "targets": self._targets,
        }
        self._curve.append(point)
        for split in SPLITS:
            scores = np.asarray(self._score(split), np.float32)
            if scores.shape != self._protocol.arrays[f"{split}_candidates"].shape:
                raise AssertionError(f"{scores.shape} scores for the candidates of {split}")
            self._scores[f"{split}_{len(self._curve)}"] = scores
        scoring = time.monotonic() - self._resumed  # type: ignore[operator]
        print(
            f"epoch {point['epoch']:.2f}  {self._seconds:.0f} s  "
            f"{self._targets / self._seconds:,.0f} targets/s  (scored in {scoring:.1f} s)",
            file=sys.stderr,
            flush=True,
        )
        self._resumed = time.monotonic()

    def write(self, name: str, packages: tuple[str, ...], settings: dict[str, Any]) -> None:
        """Writes the scores and, last, `result.json`; each appears complete or not at all."""
        shared = ("seconds", "epochs", "seed", "max_history")
        result = {
            "name": name,
            "versions": {"python": platform.python_version()}
            | {package: importlib.metadata.version(package) for package in packages},
            "settings": {key: getattr(self._options, key) for key in shared}
            | settings
            | {"cpus": len(os.sched_getaffinity(0)), "targets_per_epoch": self._epoch_targets},
            "curve": self._curve,
            "targets_per_second": round(self._targets / self._seconds, 1),
            "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        directory = self._options.output_dir
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / "scores.npz.tmp").open("wb") as file:
            np.savez(file, **self._scores)  # type: ignore[arg-type]
        (directory / "result.json.tmp").write_text(json.dumps(result, indent=2) + "\n")
        for file_name in ("scores.npz", "result.json"):
            (directory / f"{file_name}.tmp").replace(directory / file_name)
