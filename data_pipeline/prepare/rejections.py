"""What happens to log rows that cannot be used: the first ends the work, or all are listed."""

import collections
import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from data_pipeline.core.errors import UserError
from data_pipeline.prepare.parsing import Problem, format_value
from data_pipeline.readers import Batch

FILE_NAME = "rejected.jsonl"


@dataclasses.dataclass(frozen=True)
class Rejected:
    """A log row that cannot be used.

    Attributes:
        file: Its file.
        row: Its number in the file, from 1.
        column: The column that is wrong; "" for the row.
        value: What that holds.
        expected: What was expected instead.
        reason: The same in a word or two, to count by.

    Example:

    >>> Rejected("e.csv", 3, "time", "'noon'", "a number", "unreadable time").reason
    'unreadable time'
    """

    file: str
    row: int
    column: str
    value: str
    expected: str
    reason: str


class Rejections:
    """Collects the log rows that cannot be used.

    Args:
        directory: Where `rejected.jsonl` is written, if there is anything to write.
        skip: Whether to go on without such rows; otherwise the first one is an error.

    Attributes:
        counts: How many rows were left out, by reason.

    Example:

    >>> rejections = Rejections(tmp, skip=True)
    >>> rejections.add([Rejected("e.csv", 3, "time", "'noon'", "a number", "unreadable time")])
    >>> dict(rejections.counts), (tmp / "rejected.jsonl").exists()
    ({'unreadable time': 1}, True)
    """

    def __init__(self, directory: Path, skip: bool) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self._path = directory / FILE_NAME
        self._skip = skip

    def reject(self, batch: Batch, problems: Sequence[Problem]) -> np.ndarray:
        """Takes note of the log rows of a batch that have a problem.

        Args:
            batch: The batch.
            problems: What is wrong; a row may have several problems, the first counts.

        Returns:
            Which rows can be used: bool [rows].

        Raises:
            UserError: There is such a row, and rows are not to be skipped.
        """
        self.add(
            Rejected(
                batch.file,
                bad.row,
                "",
                f"{bad.text[:60]!r}: has {bad.count} values",
                str(bad.expected),
                "wrong number of values",
            )
            for bad in batch.malformed
        )
        first_problem = np.full(batch.table.num_rows, -1)
        for i, problem in reversed(list(enumerate(problems))):
            first_problem[problem.is_bad] = i
        is_good = first_problem < 0
        self.add(
            _rejected(batch, position, problems[first_problem[position]])
            for position in np.flatnonzero(~is_good).tolist()
        )
        return is_good

    def add(self, rejected: Iterable[Rejected]) -> None:
        """Takes note of rows.

        Raises:
            UserError: There is one, and rows are not to be skipped.
        """
        lines = []
        for row in rejected:
            if not self._skip:
                column = f"column {row.column!r}: " if row.column else ""
                raise UserError(
                    f"{row.file}: row {row.row}: {column}{row.value}: expected {row.expected} "
                    "(--on_bad_rows=skip leaves such rows out)"
                )
            self.counts[row.reason] += 1
            lines.append(json.dumps(dataclasses.asdict(row)) + "\n")
        if lines:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.writelines(lines)


def _rejected(batch: Batch, position: int, problem: Problem) -> Rejected:
    """The row at a position of a batch, with its problem."""
    return Rejected(
        file=batch.file,
        row=int(batch.rows[position]),
        column=problem.column,
        value=format_value(batch.table[problem.column], position),
        expected=problem.expected,
        reason=problem.reason,
    )
