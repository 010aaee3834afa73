"""JSON lines: one object a line, its values as they were written."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_pipeline.core.errors import UserError
from data_pipeline.files import open_bytes

_BATCH_ROWS = 1 << 17


def read_json_lines(path: Path, columns: Sequence[str], lists: Sequence[str]) -> Iterator[pa.Table]:
    """Reads columns of a file of JSON lines.

    Numbers are the text that they were written as: one of 70 digits, or beyond 2^53, is none of a
    computer's numbers, and may well be an id.

    Args:
        path: The file.
        columns: Which to read; a line may lack some.
        lists: Those that may hold lists.

    Yields:
        Tables of strings, or of lists of strings.

    Raises:
        UserError: A line is no JSON object, or a value is nested; or no line has a column.

    Example:

    >>> _ = (tmp / "e.jsonl").write_text('{"user": 18446744073709551615}\\n')
    >>> [table.to_pydict() for table in read_json_lines(tmp / "e.jsonl", ["user"], [])]
    [{'user': ['18446744073709551615']}]
    """
    missing, names = set(columns), set[str]()
    rows: list[list[Any]] = []
    are_lists: dict[str, bool] = {}
    decoder = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
    with open_bytes(path) as stream:
        row = 0
        for line in stream:
            if not line.strip():
                continue
            row += 1
            values = _object(path, row, line, decoder)
            if missing:
                missing.difference_update(values)
                names.update(values)
            rows.append([_plain(path, row, c, values.get(c), c in lists) for c in columns])
            for column in lists:
                value = values.get(column)
                is_list = isinstance(value, list)
                if value is not None and are_lists.setdefault(column, is_list) != is_list:
                    raise UserError(
                        f"{path}: row {row}: column {column!r}: {json.dumps(value)[:60]}: "
                        "expected a list in every row, or in none"
                    )
            if len(rows) == _BATCH_ROWS:
                yield _table(path, row, rows, columns)
                rows = []
    if missing and row:
        column = next(c for c in columns if c in missing)
        raise UserError(f"{path}: no column {column!r}; its columns are {', '.join(sorted(names))}")
    if rows:
        yield _table(path, row, rows, columns)


def _object(path: Path, row: int, line: bytes, decoder: json.JSONDecoder) -> dict[str, Any]:
    where = f"{path}: row {row}"
    try:
        values = decoder.decode(line.decode("utf-8-sig" if row == 1 else "utf-8").strip())
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: is not UTF-8 ({line[error.start : error.end]!r})") from error
    except (ValueError, RecursionError) as error:
        text = line[:60].decode(errors="replace").strip()
        raise UserError(f"{where}: {text!r}: expected one JSON object a line") from error
    if not isinstance(values, dict):
        raise UserError(f"{where}: is a {type(values).__name__}: expected one JSON object a line")
    return values


def _plain(path: Path, row: int, column: str, value: Any, may_be_list: bool) -> Any:
    """A value as text, or as a list of texts."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if (
        isinstance(value, list)
        and may_be_list
        and not any(isinstance(v, (list, dict)) for v in value)
    ):
        return [_plain(path, row, column, v, False) for v in value]
    expected = "a plain value or a list of them" if may_be_list else "a plain value"
    shown = json.dumps(value)[:60]
    raise UserError(f"{path}: row {row}: column {column!r}: {shown}: expected {expected}")


def _table(path: Path, last_row: int, rows: list[list[Any]], columns: Sequence[str]) -> pa.Table:
    if not columns:  # All of them are in the path.
        return pa.table({"": pa.nulls(len(rows))})
    arrays = []
    for column, values in zip(columns, zip(*rows, strict=True), strict=True):
        has_lists = any(isinstance(value, list) for value in values)
        try:
            arrays.append(pa.array(values, pa.list_(pa.string()) if has_lists else pa.string()))
        except UnicodeEncodeError as error:
            bad = next(i for i, value in enumerate(values) if _is_broken(value))
            raise UserError(
                f"{path}: row {last_row - len(rows) + 1 + bad}: column {column!r}: "
                f"{values[bad]!r}: expected text (half of a surrogate pair is none)"
            ) from error
    return pa.Table.from_arrays(arrays, names=list(columns))


def _is_broken(value: Any) -> bool:
    try:
        str(value if isinstance(value, str) else "".join(v or "" for v in value or [])).encode()
    except UnicodeEncodeError:
        return True
    return False
