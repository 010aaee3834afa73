"""What happens to rows that cannot be used: the first one ends the work, or all are listed."""

import collections
import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from data_pipeline.core.errors import UserError
from data_pipeline.prepare.parsing import Problem, shown
from data_pipeline.readers import Batch

FILE_NAME = "rejected.jsonl"


@dataclasses.dataclass(frozen=True)
class Rejected:
    """A row that cannot be used: where it stands, what it holds, what was expected and why."""

    file: str
    row: int
    column: str
    value: str
    expected: str
    reason: str


class Rejections:
    """Collects the rows that cannot be used.

    Args:
        directory: Where `rejected.jsonl` is written, if there is anything to write.
        skip: Whether to go on without such rows; otherwise the first one is an error.

    Attributes:
        counts: How many rows were left out, by reason.
    """

    def __init__(self, directory: Path, skip: bool) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self._path = directory / FILE_NAME
        self._skip = skip

    def reject(self, batch: Batch, problems: Sequence[Problem]) -> np.ndarray:
        """Takes note of the rows of a batch that have a problem.

        Args:
            batch: The batch.
            problems: What is wrong; a row may have several problems, the first counts.

        Returns:
            Which rows can be used: bool [rows].

        Raises:
            UserError: There is such a row, and rows are not to be skipped.
        """
        first = np.full(batch.table.num_rows, -1)
        for i, problem in reversed(list(enumerate(problems))):
            first[problem.rows] = i
        bad = np.flatnonzero(first >= 0)
        self.add(
            Rejected(
                batch.file,
                batch.first_row + row,
                problems[first[row]].column,
                shown(batch.table[problems[first[row]].column], row),
                problems[first[row]].expected,
                problems[first[row]].reason,
            )
            for row in bad.tolist()
        )
        return first < 0

    def add(self, rejected: Iterable[Rejected]) -> None:
        """Takes note of rows.

        Raises:
            UserError: There is one, and rows are not to be skipped.
        """
        lines = []
        for row in rejected:
            if not self._skip:
                raise UserError(
                    f"{row.file}: row {row.row}: column {row.column!r}: {row.value}: expected "
                    f"{row.expected} (--on_bad_rows=skip leaves such rows out)"
                )
            self.counts[row.reason] += 1
            lines.append(json.dumps(dataclasses.asdict(row)) + "\n")
        if lines:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.writelines(lines)


def check_table(batch: Batch, problems: Sequence[Problem]) -> None:
    """Raises on the first problem of a table that has to be whole, such as one of objects.

    Raises:
        UserError: There is a problem.
    """
    Rejections(Path(), skip=False).reject(batch, problems)


def joined(batches: Sequence[Batch], column: str) -> pa.ChunkedArray:
    """Returns a column of several batches as one."""
    chunks = [chunk for batch in batches for chunk in batch.table[column].chunks]
    return pa.chunked_array(chunks)
