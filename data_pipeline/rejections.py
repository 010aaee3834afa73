"""What happens to rows that cannot be used: the first one ends the work, or all are listed."""

import collections
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from atrank_tf.errors import UserError
from data_pipeline.sources import Batch
from data_pipeline.values import Problem, shown

FILE_NAME = "rejected.jsonl"


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
        good = np.ones(batch.table.num_rows, bool)
        found = []
        for problem in problems:
            for row in np.flatnonzero(problem.rows & good).tolist():
                value = shown(batch.table[problem.column], row)
                found.append((batch.file, batch.first_row + row, problem, value))
            good &= ~problem.rows
        for file, row, problem, value in sorted(found, key=lambda entry: entry[1]):
            self.add(file, row, problem.column, value, problem.expected, problem.reason)
        return good

    def add(self, file: str, row: int, column: str, value: str, expected: str, reason: str) -> None:
        """Takes note of one row.

        Raises:
            UserError: Rows are not to be skipped.
        """
        message = f"{file}: row {row}: column {column!r}: {value}: expected {expected}"
        if not self._skip:
            raise UserError(f"{message} (--on_bad_rows=skip leaves such rows out)")
        self.counts[reason] += 1
        entry = {"file": file, "row": row, "column": column, "value": value, "reason": reason}
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")


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
