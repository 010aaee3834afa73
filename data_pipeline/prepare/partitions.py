"""Events on disk, divided by user, so that a user's events can be gathered in bounded memory."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import pandas as pd
import pyarrow as pa

Columns = dict[str, np.ndarray]


class Partitions:
    """Files of events; all events of a user are in one of them.

    Args:
        directory: Where the files are written.
        count: How many there are.

    Example:

    >>> with Partitions(tmp, count=2) as partitions:
    ...     partitions.add({"user": np.array([7, 8, 7]), "time": np.array([1, 2, 3])})
    >>> sorted(time for columns in partitions for time in columns["time"].tolist())
    [1, 2, 3]
    """

    def __init__(self, directory: Path, count: int) -> None:
        self._files = [directory / f"partition-{i}.arrow" for i in range(count)]
        self._writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}

    def __enter__(self) -> "Partitions":
        """Begins the writing."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends the writing, so that the partitions can be read."""
        for writer in self._writers.values():
            writer.close()

    def add(self, columns: Columns) -> None:
        """Appends events.

        Args:
            columns: Arrays of one length; `user` decides on the partition.
        """
        partition = pd.util.hash_array(columns["user"]) % np.uint64(len(self._files))
        order = np.argsort(partition, kind="stable")
        numbers = np.arange(len(self._files) + 1, dtype=np.uint64)
        bounds = np.searchsorted(partition[order], numbers)
        table = pa.table(columns).take(order)
        for i, (start, end) in enumerate(itertools.pairwise(bounds)):
            if start < end:
                self._writer(i, table.schema).write_table(table.slice(start, end - start))

    def __iter__(self) -> Iterator[Columns]:
        """Reads the partitions that hold anything, one after the other."""
        for file in self._files:
            if file.exists():
                with pa.ipc.open_stream(str(file)) as reader:
                    table = reader.read_all()
                yield {
                    name: table[name].to_pandas().to_numpy(object)
                    if pa.types.is_string(table[name].type)
                    else table[name].to_numpy()
                    for name in table.column_names
                }

    def _writer(self, i: int, schema: pa.Schema) -> pa.ipc.RecordBatchStreamWriter:
        if i not in self._writers:
            self._writers[i] = pa.ipc.new_stream(str(self._files[i]), schema)
        return self._writers[i]
