"""Delimited text, CSV and TSV: as programs and people write it, each row checked and counted.

What the file does not have to say is found out: its separator, by the columns that are wanted; its
encoding, by its first bytes. Quotes are read as RFC 4180 has them. One that is not closed would
swallow the rows up to the next, so a row that hangs together by a quote must not look like several.
"""

import csv
import dataclasses
import io
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from data_pipeline.core.errors import UserError
from data_pipeline.files import is_compressed, open_bytes
from data_pipeline.schema_parts import Csv

_BLOCK_BYTES = 1 << 24
_BATCH_ROWS = 1 << 17
_SEPARATORS = (",", "\t", ";", "|")
_NAMES = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
# A value is no longer: what is longer is all the file behind a quote.
_MAX_VALUE = 1 << 26


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How a file is written.

    Attributes:
        separator: What stands between values.
        quoting: Whether values may stand in quotes.
        encoding: Name of the encoding, as Python has it.
        names: Names of the columns.
        has_header: Whether the first line holds them.

    Example:

    >>> Dialect(";", True, "utf-16", ("user", "object"), True).described
    'semicolons, UTF-16'
    """

    separator: str
    quoting: bool
    encoding: str
    names: tuple[str, ...]
    has_header: bool

    @property
    def described(self) -> str:
        """What was found out, in words."""
        encoding = self.encoding.upper().replace("-SIG", " with a byte order mark")
        separator = _NAMES.get(self.separator, repr(self.separator))
        return f"{separator}, {encoding}" + ("" if self.has_header else ", no header")


@dataclasses.dataclass(frozen=True)
class Malformed:
    """A row that has too many values, or too few.

    Attributes:
        row: Its number, from 1.
        text: What it holds.
        count: How many values.
        expected: How many there should be.

    Example:

    >>> Malformed(row=3, text="7,5", count=2, expected=3).count
    2
    """

    row: int
    text: str
    count: int
    expected: int


@dataclasses.dataclass(frozen=True)
class Rows:
    """Consecutive rows of a file.

    Attributes:
        table: The columns that are read, strings.
        numbers: The number of each row in the file, from 1: int64 [rows].
        malformed: Rows between them that cannot be read.

    Example:

    >>> Rows(pa.table({"user": ["7"]}), np.array([1]), ()).table.num_rows
    1
    """

    table: pa.Table
    numbers: np.ndarray
    malformed: tuple[Malformed, ...]


def find_dialect(path: Path, columns: Sequence[str], settings: Csv, kind: str) -> Dialect | None:
    """Finds out how a file is written, as far as the settings leave it open.

    Args:
        path: The file.
        columns: Columns that it should have.
        settings: What is known of it.
        kind: "csv" or "tsv".

    Returns:
        How it is written; None where it holds nothing, as some of many part files do.

    Raises:
        UserError: There is no header, or its encoding is not what the settings say.

    Example:

    >>> _ = (tmp / "e.csv").write_text("user;object\\n7;5\\n")
    >>> find_dialect(tmp / "e.csv", ["object"], Csv(), "csv").described
    'semicolons, UTF-8'
    """
    with open_bytes(path) as stream:
        beginning = stream.read(1 << 16)
    if not beginning:
        return None
    encoding = settings.encoding or _encoding(beginning)
    if _is_utf8(encoding):  # Declared, too, a file may begin with a mark.
        encoding = "utf-8-sig" if beginning.startswith(b"\xef\xbb\xbf") else "utf-8"
    quoting = kind == "csv" if settings.quoting is None else settings.quoting
    first = "\t" if kind == "tsv" else ","
    with _open_text(path, encoding) as text:
        try:
            line = next((line for line in text if line.strip()), "")
        except UnicodeError as error:
            raise undecodable(path, encoding) from error
    if not line:
        raise UserError(f"{path}: cannot be read: is empty; expected a header of columns")
    separators = [settings.separator] if settings.separator else [first, *_SEPARATORS]
    found = [_split(line, separator, quoting) for separator in separators]
    if settings.names:
        counts = [len(names) == len(settings.names) for names in found]
        best = counts.index(True) if True in counts else 0
        return Dialect(separators[best], quoting, encoding, settings.names, False)
    fits = [set(columns) <= set(names) for names in found]
    best = fits.index(True) if True in fits else int(np.argmax([len(names) for names in found]))
    return Dialect(separators[best], quoting, encoding, found[best], True)


def read_delimited(
    path: Path, columns: Sequence[str], dialect: Dialect, settings: Csv
) -> Iterator[Rows]:
    """Reads columns of a file.

    Args:
        path: The file.
        columns: Which; its dialect names them.
        dialect: How it is written.
        settings: What is known of it.

    Raises:
        UserError: A quote is not closed, or bytes are none of the encoding.

    Example:

    >>> path = tmp / "e.csv"
    >>> _ = path.write_text('user,object\\n7,"5, or 6"\\n')
    >>> dialect = find_dialect(path, ["object"], Csv(), "csv")
    >>> [rows.table.to_pydict() for rows in read_delimited(path, ["object"], dialect, Csv())]
    [{'object': ['5, or 6']}]
    """
    if _is_utf8(dialect.encoding) and not (dialect.quoting and _has_quotes(path)):
        yield from _read_plain(path, columns, dialect)
    else:
        yield from _read_quoted(path, columns, dialect, settings)


def undecodable(path: Path, encoding: str) -> UserError:
    """Returns the error of a file that is not of an encoding: in which row, and what to do.

    Example:

    >>> _ = (tmp / "e.csv").write_bytes("user\\nZoë".encode("latin-1"))
    >>> print(str(undecodable(tmp / "e.csv", "utf-8")).partition(": ")[2])
    row 1: 'Zoë': is not UTF-8; save it as UTF-8, or name its encoding in the schema, such as ...
    """
    row, text = 0, ""
    with open_bytes(path) as stream:
        for line in stream:
            try:
                line.decode(encoding)
            except UnicodeDecodeError as error:
                around = line[max(0, error.start - 20) : error.end + 20]
                text = f": row {row}: {around.decode('latin-1')!r}"
                break
            except UnicodeError:
                break
            row += bool(line.strip())
    return UserError(
        f"{path}{text}: is not {encoding.upper()}; save it as UTF-8, or name its encoding in the "
        'schema, such as "csv": {"encoding": "latin-1"}'
    )


def _is_utf8(encoding: str) -> bool:
    return encoding.replace("_", "-").lower() in ("utf8", "utf-8", "utf-8-sig", "ascii")


def _encoding(beginning: bytes) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if beginning.startswith(mark):
            return encoding
    # Of UTF-16 every other byte of plain letters is 0.
    for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if len(beginning) > 3 and not any(beginning[start:64:2]):
            return encoding
    return "utf-8"


def _open_text(path: Path, encoding: str) -> io.TextIOWrapper:
    try:
        return io.TextIOWrapper(open_bytes(path), encoding, newline="")
    except (LookupError, ValueError) as error:
        raise UserError(f"csv.encoding is {encoding!r}: no encoding that Python knows") from error


def _split(line: str, separator: str, quoting: bool) -> tuple[str, ...]:
    return tuple(next(_reader([line.strip("\r\n\ufeff")], separator, quoting, strict=False)))


def _reader(lines: Iterable[str], separator: str, quoting: bool, strict: bool = True) -> Any:
    csv.field_size_limit(_MAX_VALUE)
    rule: Any = csv.QUOTE_MINIMAL if quoting else csv.QUOTE_NONE
    return csv.reader(lines, delimiter=separator, quoting=rule, strict=strict)


def _has_quotes(path: Path) -> bool:
    with open_bytes(path) as stream:
        while block := stream.read(1 << 20):
            if b'"' in block:
                return True
    return False


def _read_plain(path: Path, columns: Sequence[str], dialect: Dialect) -> Iterator[Rows]:
    """A file without quotes: a row is a line."""
    malformed: list[Malformed] = []
    header = int(dialect.has_header)

    def skip(row: pa_csv.InvalidRow) -> str:
        number = row.number - header
        malformed.append(
            Malformed(number, row.text.strip(), row.actual_columns, row.expected_columns)
        )
        return "skip"

    parse = pa_csv.ParseOptions(
        delimiter=dialect.separator, quote_char=False, invalid_row_handler=skip
    )
    read = pa_csv.ReadOptions(
        block_size=_BLOCK_BYTES,
        use_threads=False,
        column_names=None if dialect.has_header else list(dialect.names),
    )
    convert = pa_csv.ConvertOptions(
        column_types=dict.fromkeys(columns, pa.string()), include_columns=list(columns)
    )
    next_row = 1
    try:
        source: Any = open_bytes(path) if is_compressed(path) else str(path)
        with pa_csv.open_csv(source, read, parse, convert) as reader:
            for batch in reader:
                # A block may have been parsed ahead: what lies beyond this batch waits.
                skipped = np.array([m.row for m in malformed], np.int64)
                of_batch = _next_rows(next_row, batch.num_rows, skipped)
                last = int(of_batch[-1]) if len(of_batch) else next_row - 1
                while last + 1 in skipped:
                    last += 1
                told = tuple(m for m in malformed if m.row <= last)
                malformed = [m for m in malformed if m.row > last]
                next_row = last + 1
                yield Rows(pa.Table.from_batches([batch]), of_batch, told)
    except pa.ArrowInvalid as error:
        if "UTF8" in str(error):
            raise undecodable(path, dialect.encoding) from error
        if "Empty CSV" not in str(error):  # A header alone, without an end of line.
            raise
    if malformed:
        nothing = pa.table({column: pa.array([], pa.string()) for column in columns})
        yield Rows(nothing, np.zeros(0, np.int64), tuple(malformed))


def _next_rows(first: int, count: int, skipped: np.ndarray) -> np.ndarray:
    """The next numbers of rows from the first on, those that were skipped left out: [count]."""
    candidates = np.arange(first, first + count + len(skipped))
    return candidates[~np.isin(candidates, skipped)][:count]


class _Lines:
    """Lines of a file, and those of the row that is being read."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._stream = stream
        self.of_row: list[str] = []

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = next(self._stream)
        self.of_row.append(line)
        return line


def _read_quoted(
    path: Path, columns: Sequence[str], dialect: Dialect, settings: Csv
) -> Iterator[Rows]:
    """A file that may have quotes, or of another encoding."""
    num_columns = len(dialect.names)
    positions = [dialect.names.index(column) for column in columns]
    chosen: Callable[[list[str]], Sequence[str]] = (
        operator.itemgetter(*positions, positions[0]) if positions else lambda record: ()
    )
    row = 0
    with _open_text(path, dialect.encoding) as stream:
        lines = _Lines(stream)
        reader = _reader(lines, dialect.separator, dialect.quoting)
        if dialect.has_header:
            while not next(reader):
                pass
        lines.of_row.clear()
        while True:
            values, found, malformed = [], [], []
            try:
                for record in itertools.islice(reader, _BATCH_ROWS):
                    if record:
                        row += 1
                        if len(lines.of_row) > 1 and not settings.multiline:
                            _refuse_rows_in_quotes(path, row, lines.of_row, dialect, positions)
                        if len(record) == num_columns:
                            values.append(chosen(record))
                            found.append(row)
                        else:
                            text = "".join(lines.of_row).strip()
                            malformed.append(Malformed(row, text, len(record), num_columns))
                    lines.of_row.clear()
            except csv.Error as error:
                raise _quote_error(path, row + 1, lines.of_row, str(error)) from error
            except UnicodeError as error:
                raise undecodable(path, dialect.encoding) from error
            if not found and not malformed:
                return
            by_column = list(zip(*values, strict=True))[: len(columns)] or [()] * len(columns)
            arrays = [pa.array(of_column, pa.string()) for of_column in by_column]
            table = pa.Table.from_arrays(arrays, names=list(columns))
            yield Rows(table, np.array(found, np.int64), tuple(malformed))


def _refuse_rows_in_quotes(
    path: Path, row: int, lines: Sequence[str], dialect: Dialect, positions: Sequence[int]
) -> None:
    """Refuses a row of several lines one of which looks like a row itself.

    It has values in the columns that are read, none of which begins or ends with a space: in prose
    a space follows a comma.
    """
    for line in lines[1:]:
        values = line.rstrip("\r\n").split(dialect.separator)
        if len(values) > max(positions, default=len(values)):
            read = [values[position] for position in positions]
            if all(value and value == value.strip() for value in read):
                raise _quote_error(path, row, lines, "a value in quotes holds what looks like rows")


def _quote_error(path: Path, row: int, lines: Sequence[str], what: str) -> UserError:
    text = lines[0].strip()[:60] if lines else ""
    return UserError(
        f"{path}: row {row}: {text!r}: {what}; a quote within a value is written twice. If quotes "
        'mean nothing here, set "csv": {"quoting": false} in the schema; if values have lines, '
        '{"multiline": true}'
    )
