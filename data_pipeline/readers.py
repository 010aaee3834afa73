"""Tables of a user's logs: Parquet, CSV or JSON lines, read in batches."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq
import pyarrow.types as pt

from data_pipeline.core.errors import UserError

_BATCH_ROWS = 1 << 18
_BLOCK_BYTES = 1 << 24
_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_JSON = (".jsonl", ".ndjson", ".json")
_PARQUET = (".parquet", ".pq")


@dataclasses.dataclass(frozen=True)
class Batch:
    """Consecutive log rows of a file.

    Attributes:
        file: The file.
        first_row: Number of the first log row; a file's first row of data is 1.
        table: The columns to read. Those of a CSV file are strings.

    Example:

    >>> Batch("events.csv", 1, pa.table({"user": ["7", "8"]})).table.num_rows
    2
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

    Example:

    >>> (tmp / "views.csv").touch()
    >>> [file.name for file in expand("*.csv", tmp)]
    ['views.csv']
    """
    path = base / pattern
    if path.is_file():
        return [path]
    if not path.is_dir():
        matches = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
        files = sorted(match for match in matches if match.is_file())
        if files:
            return files
    raise UserError(f"{path}: {'is a directory' if path.is_dir() else 'no such file'}")


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
        if file.suffix in _PARQUET:
            with _readable(file):
                total += pq.read_metadata(file).num_rows
        else:
            total += file.stat().st_size * (8 if file.suffix == ".gz" else 1) // 32
    return total


def read_batches(file: Path, columns: Sequence[str], lists: Sequence[str] = ()) -> Iterator[Batch]:
    """Reads columns of a file, batch by batch.

    Args:
        file: A Parquet file, or CSV, TSV or JSON lines, gzipped or not; its suffix says which.
        columns: The columns to read.
        lists: Those of them that may hold lists.

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
    row = 1
    tables = _read(file, list(dict.fromkeys(columns)))
    while True:
        with _readable(file):
            table = next(tables, None)
            if table is None:
                break
            table = _with_text(table)
        if row == 1:
            _require_plain(file, table, lists)
        if table.num_rows:
            yield Batch(str(file), row, table)
            row += table.num_rows


def read_table(
    files: Sequence[Path], columns: Sequence[str], lists: Sequence[str] = ()
) -> list[Batch]:
    """Reads columns of files that are small enough to be in memory.

    Args:
        files: The files.
        columns: As for `read_batches`.
        lists: As for `read_batches`.

    Raises:
        UserError: As for `read_batches`; or the files have no rows, or differ in a
            column's type.

    Example:

    >>> _ = (tmp / "items.csv").write_text("object,category\\n5,tea\\n")
    >>> read_table([tmp / "items.csv"], ["category"])[0].table.num_rows
    1
    """
    batches = [batch for file in files for batch in read_batches(file, columns, lists)]
    if not batches:
        raise UserError(f"{files[0]}: has no rows")
    for batch in batches:
        for column in columns:
            kind, first_kind = batch.table[column].type, batches[0].table[column].type
            if kind != first_kind:
                raise UserError(
                    f"{batch.file}: column {column!r}: is {kind}, "
                    f"but {first_kind} in {batches[0].file}"
                )
    return batches


def join_column(batches: Sequence[Batch], column: str) -> pa.ChunkedArray:
    """Returns a column of several batches as one.

    Example:

    >>> batches = [Batch("a.csv", 1, pa.table({"user": [user]})) for user in (7, 8)]
    >>> join_column(batches, "user").to_pylist()
    [7, 8]
    """
    return pa.chunked_array([chunk for batch in batches for chunk in batch.table[column].chunks])


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
    suffix = suffixes[-1].lower() if suffixes else ""
    if suffix in _PARQUET:
        return _read_parquet(file, columns)
    if suffix in _SEPARATORS:
        return _read_csv(file, columns, _SEPARATORS[suffix])
    if suffix in _JSON:
        return _read_json(file, columns)
    expected = ", ".join([*_PARQUET, *_SEPARATORS, *_JSON])
    raise UserError(f"{file}: suffix {file.suffix!r}: expected one of {expected}, or with .gz")


def _read_parquet(file: Path, columns: list[str]) -> Iterator[pa.Table]:
    parquet = pq.ParquetFile(file)
    _require(file, columns, parquet.schema_arrow.names)
    for batch in parquet.iter_batches(_BATCH_ROWS, columns=columns):
        yield pa.Table.from_batches([batch])


def _read_csv(file: Path, columns: list[str], separator: str) -> Iterator[pa.Table]:
    parse = pa_csv.ParseOptions(delimiter=separator)
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


def _read_json(file: Path, columns: list[str]) -> Iterator[pa.Table]:
    read = pa_json.ReadOptions(block_size=_BLOCK_BYTES)
    with pa.input_stream(str(file), compression="detect") as stream:
        schema = pa_json.open_json(stream, read_options=read).schema
    _require(file, columns, schema.names)
    parse = pa_json.ParseOptions(
        explicit_schema=pa.schema([(c, _json_type(schema.field(c).type)) for c in columns]),
        unexpected_field_behavior="ignore",
    )
    with pa.input_stream(str(file), compression="detect") as stream:
        for batch in pa_json.open_json(stream, read, parse):
            yield pa.Table.from_batches([batch]).select(columns)


def _json_type(kind: pa.DataType) -> pa.DataType:
    # Strings that look like dates stay what they are; a column of nulls may become strings.
    return pa.string() if pt.is_timestamp(kind) or pt.is_null(kind) else kind


def _with_text(table: pa.Table) -> pa.Table:
    """Some writers of Parquet store strings as bytes."""
    for i, field in enumerate(table.schema):
        if pt.is_binary(field.type) or pt.is_large_binary(field.type):
            table = table.set_column(i, field.name, table.column(i).cast(pa.string()))
    return table


def _require_plain(file: Path, table: pa.Table, lists: Sequence[str]) -> None:
    for field in table.schema:
        kind = field.type
        is_list = pt.is_list(kind) or pt.is_large_list(kind)
        if pt.is_nested(kind.value_type if is_list and field.name in lists else kind):
            expected = "plain values or lists of them" if field.name in lists else "plain values"
            raise UserError(f"{file}: column {field.name!r}: is {kind}; expected {expected}")


def _require(file: Path, columns: list[str], names: list[str]) -> None:
    for column in columns:
        if column not in names:
            raise UserError(f"{file}: no column {column!r}; its columns are {', '.join(names)}")
