"""Tables of a user's logs: Parquet, CSV, TSV or JSON lines, read in batches."""

import contextlib
import dataclasses
import lzma
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from data_pipeline.core.errors import UserError
from data_pipeline.delimited import Malformed, Rows, find_dialect, read_delimited
from data_pipeline.files import is_compressed, kind_of, path_columns
from data_pipeline.json_lines import read_json_lines
from data_pipeline.plain_types import as_text, is_list, plain, without_words
from data_pipeline.schema_parts import Csv

_BATCH_ROWS = 1 << 18
_CSV = Csv()
_UNREADABLE = (
    pa.ArrowException,
    OSError,
    EOFError,
    UnicodeDecodeError,
    RuntimeError,  # Of archives that are encrypted, or compressed in a way that is not known.
    NotImplementedError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
)


@dataclasses.dataclass(frozen=True)
class Batch:
    """Consecutive log rows of a file.

    Attributes:
        file: The file.
        rows: The number of each log row; a file's first row of data is 1: int64 [rows].
        table: The columns to read. Those of a text file are strings.
        malformed: Log rows between them that cannot be read.
        layout: How the file is written, where that was to be found out.

    Example:

    >>> Batch("events.csv", np.array([1, 2]), pa.table({"user": ["7", "8"]})).table.num_rows
    2
    """

    file: str
    rows: np.ndarray
    table: pa.Table
    malformed: tuple[Malformed, ...] = ()
    layout: str = ""

    def where(self, is_kept: np.ndarray) -> "Batch":
        """Returns the batch of some of its rows, bool [rows]."""
        table = self.table.filter(pa.array(is_kept))
        return dataclasses.replace(self, rows=self.rows[is_kept], table=table, malformed=())


def estimate_rows(files: Sequence[Path]) -> int:
    """Returns about how many log rows files hold, without reading them.

    Raises:
        UserError: A file is not what its suffix says.

    Example:

    >>> pd.DataFrame({"user": [7, 8]}).to_parquet(tmp / "events.parquet")
    >>> estimate_rows([tmp / "events.parquet"])
    2
    """
    total = 0
    for file in files:
        if kind_of(file) == "parquet":
            with readable(file):
                total += pq.read_metadata(file).num_rows
        else:
            total += file.stat().st_size * (8 if is_compressed(file) else 1) // 32
    return total


def read_batches(
    file: Path, columns: Sequence[str], lists: Sequence[str] = (), csv: Csv = _CSV
) -> Iterator[Batch]:
    """Reads columns of a file, batch by batch.

    Args:
        file: A Parquet file, or CSV, TSV or JSON lines, compressed or not; its endings say which.
        columns: The columns to read. One that the file lacks may be in its path: `day=2024-01-01/`.
        lists: Those of them that may hold lists.
        csv: How text files are written; and which texts mean nothing, in files of any kind.

    Yields:
        The file's batches, none of them empty.

    Raises:
        UserError: The file cannot be read, is of no known kind, lacks a column, or holds
            nested values in one.

    Example:

    >>> _ = (tmp / "events.csv").write_text("user,object\\n7,5\\n7,6\\n")
    >>> [batch.table.to_pydict() for batch in read_batches(tmp / "events.csv", ["object"])]
    [{'object': ['5', '6']}]
    """
    batches = _read(file, list(dict.fromkeys(columns)), lists, csv)
    while True:
        with readable(file):
            batch = next(batches, None)
        if batch is None:
            break
        if batch.table.num_rows or batch.malformed:
            yield batch


def read_table(
    files: Sequence[Path], columns: Sequence[str], lists: Sequence[str] = (), csv: Csv = _CSV
) -> list[Batch]:
    """Reads columns of files that are small enough to be in memory.

    Args:
        files: The files.
        columns: As for `read_batches`.
        lists: As for `read_batches`.
        csv: As for `read_batches`.

    Raises:
        UserError: As for `read_batches`; or the files have no rows, or differ in a
            column's type.

    Example:

    >>> _ = (tmp / "items.csv").write_text("object,category\\n5,tea\\n")
    >>> read_table([tmp / "items.csv"], ["category"])[0].table.num_rows
    1
    """
    batches = [batch for file in files for batch in read_batches(file, columns, lists, csv)]
    if not batches:
        raise UserError(f"{files[0]}: has no rows")
    for column in dict.fromkeys(columns):
        batches = _of_one_type(batches, column)
    return batches


def _of_one_type(batches: list[Batch], column: str) -> list[Batch]:
    """Batches whose column is of one type: text, where parts differ and none holds lists."""
    kinds = [batch.table[column].type for batch in batches]
    if len(set(kinds)) == 1:
        return batches
    kind = next((k for k in kinds if is_list(k)), pa.string())
    unified = []
    for batch in batches:
        values = batch.table[column]
        if values.null_count == len(values):
            values = pa.chunked_array([pa.nulls(len(values), kind)])
        elif is_list(kind) != is_list(values.type):
            raise UserError(f"{batch.file}: column {column!r}: is {values.type}, elsewhere {kind}")
        elif not is_list(kind):
            values = as_text(values)
        position = batch.table.column_names.index(column)
        table = batch.table.set_column(position, column, values)
        unified.append(dataclasses.replace(batch, table=table))
    return unified


def join_column(batches: Sequence[Batch], column: str) -> pa.ChunkedArray:
    """Returns a column of several batches as one.

    Example:

    >>> batches = [Batch("a.csv", np.array([1]), pa.table({"user": [user]})) for user in (7, 8)]
    >>> join_column(batches, "user").to_pylist()
    [7, 8]
    """
    chunks = [chunk for batch in batches for chunk in batch.table[column].chunks]
    return pa.chunked_array(chunks, batches[0].table[column].type)


@contextlib.contextmanager
def readable(file: Path) -> Iterator[None]:
    """Turns what can go wrong while a file is read into one line about it.

    Raises:
        UserError: It went wrong.

    Example:

    >>> with readable(Path("e.csv")):
    ...     raise OSError("Input/output error")
    Traceback (most recent call last):
    data_pipeline.core.errors.UserError: e.csv: cannot be read: Input/output error
    """
    try:
        yield
    except _UNREADABLE as error:
        reason = str(error).strip().splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{file}: cannot be read: {reason}") from error


def _read(file: Path, columns: list[str], lists: Sequence[str], csv: Csv) -> Iterator[Batch]:
    kind, in_path = kind_of(file), path_columns(file)
    own = [column for column in columns if column not in in_path]
    if kind in ("csv", "tsv"):
        dialect = find_dialect(file, own, csv, kind)
        if dialect is None:
            return
        in_file = _require(file, columns, dialect.names, in_path)
        for rows in read_delimited(file, in_file, dialect, csv):
            yield _batch(file, rows, columns, in_path, csv, dialect.described)
        return
    if kind == "parquet":
        tables = _read_parquet(file, columns, lists, in_path)
    else:
        tables = read_json_lines(file, own, lists)
    next_row = 1
    for table in tables:
        found = np.arange(next_row, next_row + table.num_rows)
        next_row += table.num_rows
        yield _batch(file, Rows(table, found, ()), columns, in_path, csv, "")


def _batch(
    file: Path, rows: Rows, columns: list[str], in_path: Mapping[str, str], csv: Csv, layout: str
) -> Batch:
    """A batch of all columns, those of the file's path among them."""
    words = list(csv.nulls)
    arrays = []
    for column in columns:
        if column in rows.table.column_names:
            array = without_words(plain(rows.table[column]), words)
        else:
            value = None if in_path[column] in words else in_path[column]
            array = pa.chunked_array([pa.array([value] * len(rows.numbers), pa.string())])
        arrays.append(array)
    table = pa.Table.from_arrays(arrays, names=columns)
    return Batch(str(file), rows.numbers, table, rows.malformed, layout)


def _read_parquet(
    file: Path, columns: list[str], lists: Sequence[str], in_path: Mapping[str, str]
) -> Iterator[pa.Table]:
    parquet = pq.ParquetFile(file)
    own = _require(file, columns, parquet.schema_arrow.names, in_path)
    for column in own:
        kind = parquet.schema_arrow.field(column).type
        may_be_list = column in lists
        if pt.is_nested(kind.value_type if is_list(kind) and may_be_list else kind):
            expected = "plain values or lists of them" if may_be_list else "plain values"
            raise UserError(f"{file}: column {column!r}: is {kind}; expected {expected}")
    for batch in parquet.iter_batches(_BATCH_ROWS, columns=own):
        yield pa.Table.from_batches([batch])


def _require(
    file: Path, columns: list[str], names: Sequence[str], in_path: Mapping[str, str]
) -> list[str]:
    """Checks that each column is there once, in the file or in its path; returns the file's."""
    for column in columns:
        if names.count(column) > 1:
            raise UserError(f"{file}: column {column!r} is there {names.count(column)} times")
        if column not in names and column not in in_path:
            raise UserError(f"{file}: no column {column!r}; its columns are {', '.join(names)}")
    return [column for column in columns if column in names]
