"""Tables of a user's logs: Parquet, CSV or JSON lines, read in batches."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from atrank_tf.errors import UserError

_BATCH_ROWS = 1 << 18
_BLOCK_BYTES = 1 << 24
_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_JSON = (".jsonl", ".ndjson", ".json")
_PARQUET = (".parquet", ".pq")


@dataclasses.dataclass(frozen=True)
class Batch:
    """Consecutive rows of a file.

    Attributes:
        file: The file.
        first_row: Number of the first row; a file's first row of data is 1.
        table: The columns that were asked for. Those of a CSV file are strings.
    """

    file: str
    first_row: int
    table: pa.Table


def expand(pattern: str, base: Path) -> list[Path]:
    """Returns the files that a path or glob means, sorted.

    Args:
        pattern: A path or glob; relative ones start at `base`.
        base: A directory.

    Raises:
        UserError: There are none.
    """
    path = base / pattern
    files = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    if not files:
        raise UserError(f"{path}: no such file")
    return files


def estimate_rows(files: Sequence[Path]) -> int:
    """Returns about how many rows files hold, without reading them.

    Raises:
        UserError: A file is not what its suffix says.
    """
    total = 0
    for file in files:
        if file.suffix in _PARQUET:
            with _readable(file):
                total += pq.read_metadata(file).num_rows
        else:
            total += file.stat().st_size * (8 if file.suffix == ".gz" else 1) // 32
    return total


def read_batches(file: Path, columns: Sequence[str]) -> Iterator[Batch]:
    """Reads columns of a file, batch by batch.

    Args:
        file: A Parquet file, or CSV, TSV or JSON lines, gzipped or not; its suffix tells.
        columns: The columns to read.

    Yields:
        The file's batches, none of them empty.

    Raises:
        UserError: The file cannot be read, is of no known kind, is empty, or lacks a column.
    """
    row = 1
    tables = _read(file, list(dict.fromkeys(columns)))
    while True:
        with _readable(file):
            table = next(tables, None)
        if table is None:
            break
        if table.num_rows:
            yield Batch(str(file), row, table)
            row += table.num_rows
    if row == 1:
        raise UserError(f"{file}: has no rows")


def read_table(files: Sequence[Path], columns: Sequence[str]) -> list[Batch]:
    """Reads columns of files that are small enough to be in memory."""
    return [batch for file in files for batch in read_batches(file, columns)]


@contextlib.contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Turns what can go wrong while a file is read into one line about it."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{file}: cannot be read: {reason}") from error


def _read(file: Path, columns: list[str]) -> Iterator[pa.Table]:
    suffixes = [suffix for suffix in file.suffixes if suffix != ".gz"]
    kind = suffixes[-1].lower() if suffixes else ""
    if kind in _PARQUET:
        parquet = pq.ParquetFile(file)
        _require(file, columns, parquet.schema_arrow.names)
        for batch in parquet.iter_batches(_BATCH_ROWS, columns=columns):
            yield pa.Table.from_batches([batch])
    elif kind in _SEPARATORS:
        parse = pa_csv.ParseOptions(delimiter=_SEPARATORS[kind])
        read = pa_csv.ReadOptions(block_size=_BLOCK_BYTES)
        with pa_csv.open_csv(str(file), read_options=read, parse_options=parse) as reader:
            _require(file, columns, reader.schema.names)
        convert = pa_csv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.string()),
            include_columns=columns,
            null_values=[""],
            strings_can_be_null=True,
        )
        with pa_csv.open_csv(str(file), read, parse, convert) as reader:
            for batch in reader:
                yield pa.Table.from_batches([batch])
    elif kind in _JSON:
        read = pa_json.ReadOptions(block_size=_BLOCK_BYTES)
        with pa.input_stream(str(file), compression="detect") as stream:
            for batch in pa_json.open_json(stream, read_options=read):
                _require(file, columns, batch.schema.names)
                yield pa.Table.from_batches([batch]).select(columns)
    else:
        expected = ", ".join([*_PARQUET, *_SEPARATORS, *_JSON])
        raise UserError(f"{file}: suffix {file.suffix!r}: expected one of {expected}, or with .gz")


def _require(file: Path, columns: list[str], found: list[str]) -> None:
    for column in columns:
        if column not in found:
            raise UserError(f"{file}: no column {column!r}; its columns are {', '.join(found)}")
