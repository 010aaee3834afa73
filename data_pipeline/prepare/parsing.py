"""Values of columns, checked and converted as whole arrays."""

import dataclasses
import datetime
import re
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from data_pipeline.core.errors import UserError

_INTEGER = r"^(0|-?[1-9][0-9]*)$"
_NUMBER = r"^\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*$"
IdType = Literal["int", "string"]

_LATEST = pd.Timestamp("2200-01-01")


@dataclasses.dataclass(frozen=True)
class Problem:
    """Log rows that cannot be used, because of one column.

    Attributes:
        is_bad: Which rows of the batch: bool [rows].
        column: The column.
        expected: What was expected instead.
        reason: The same in a word or two, to count by.

    Example:

    >>> ids, problems = parse_ids(pa.chunked_array([["7", None]]), "user", "int")
    >>> problems[0].is_bad.tolist(), problems[0].reason
    ([False, True], 'null id')
    """

    is_bad: np.ndarray
    column: str
    expected: str
    reason: str


def id_type(column: pa.ChunkedArray) -> IdType:
    """Returns "int" where all of a column's values are integers, otherwise "string".

    Example:

    >>> id_type(pa.chunked_array([["7", "12"]])), id_type(pa.chunked_array([["007", "12"]]))
    ('int', 'string')
    """
    kind = column.type
    if pt.is_dictionary(kind):
        return id_type(pc.cast(column, kind.value_type))
    if pt.is_integer(kind):
        return "int"
    if pt.is_floating(kind):
        values = _floats(column)
        return "int" if np.all((values == np.floor(values)) | np.isnan(values)) else "string"
    if pt.is_string(kind) or pt.is_large_string(kind):
        all_match = pc.all(pc.match_substring_regex(column, _INTEGER)).as_py()
        return "string" if all_match is False else "int"
    return "string"


def parse_ids(column: pa.ChunkedArray, name: str, kind: str) -> tuple[np.ndarray, list[Problem]]:
    """Converts ids.

    Args:
        column: The column.
        name: Its name.
        kind: "int" or "string".

    Returns:
        int64 or object (str) [rows], and the rows that hold no id.

    Example:

    >>> parse_ids(pa.chunked_array([["7", "12"]]), "user", "int")[0].tolist()
    [7, 12]
    """
    is_null = pc.is_null(column, nan_is_null=True).to_numpy()
    if kind == "int":
        values, is_bad = _integers(column)
        expected = "an integer of 64 bits (if the ids are no integers, declare id_type string)"
        problems = [Problem(is_bad & ~is_null, name, expected, "no integer id")]
    else:
        text = _as_text(column)
        values = text.fill_null("").to_numpy(zero_copy_only=False).astype(object)
        is_bad = pc.match_substring_regex(text, r"^$|[\n\r\x00]").fill_null(False).to_numpy(False)
        expected = "a non-empty string without line breaks"
        problems = [Problem(is_bad & ~is_null, name, expected, "unusable id")]
    return values, [Problem(is_null, name, "an id", "null id"), *problems]


def parse_times(column: pa.ChunkedArray, name: str, unit: str) -> tuple[np.ndarray, list[Problem]]:
    """Converts timestamps.

    Args:
        column: Integers or floats in `unit`, datetimes or dates (UTC unless they say
            otherwise), or strings of either kind.
        name: Its name.
        unit: "s" or "ms".

    Returns:
        int64 [rows] in `unit`, floored; and the rows that hold no time.

    Example:

    >>> parse_times(pa.chunked_array([["60", "1970-01-02", "noon"]]), "time", "s")[0].tolist()
    [60, 86400, 0]
    """
    is_null = pc.is_null(column).to_numpy()
    per_second = {"s": 1, "ms": 1000}[unit]
    times = _times_as_floats(column, is_null, per_second)
    is_finite = np.isfinite(times)
    is_negative = is_finite & (times < 0)
    is_late = is_finite & (times >= _LATEST.timestamp() * per_second)
    # Up to the year 2200 a float holds every second and millisecond exactly.
    values = np.where(is_finite & ~is_negative & ~is_late, times, 0).astype(np.int64)
    hint = "a time before the year 2200" + (
        " (if it is in milliseconds, set time_unit to ms)" if unit == "s" else ""
    )
    return values, [
        Problem(is_null, name, "a time", "null time"),
        Problem(~is_finite & ~is_null, name, "a number or an ISO 8601 datetime", "unreadable time"),
        Problem(is_negative, name, "a time of 0 or more", "negative time"),
        Problem(is_late, name, hint, "time beyond the year 2200"),
    ]


def parse_choice(
    column: pa.ChunkedArray, name: str, choices: list[str], what: str
) -> tuple[np.ndarray, list[Problem]]:
    """Converts values out of a list of choices to their positions in it.

    Args:
        column: The column.
        name: Its name.
        choices: The values that it may hold.
        what: What a value is, for the reason of a problem.

    Returns:
        int64 [rows], -1 where a value is no choice; and those rows.

    Example:

    >>> parse_choice(pa.chunked_array([["buy", "steal"]]), "action", ["view", "buy"], "action")[0]
    array([ 1, -1])
    """
    positions = pd.Index(choices).get_indexer(_as_text(column).to_pandas().to_numpy(object))
    expected = f"one of {', '.join(choices)}"
    return positions, [Problem(positions < 0, name, expected, f"unknown {what}")]


def parse_lists(column: pa.ChunkedArray, name: str) -> tuple[np.ndarray, list[Problem]]:
    """Converts the ids of lists to numbers that tell them apart.

    Args:
        column: Strings or integers.
        name: Its name.

    Returns:
        int64 [rows], 0 or more; and the rows that hold no id.

    Example:

    >>> numbers, _ = parse_lists(pa.chunked_array([["a", "b", "a"]]), "session")
    >>> numbers[0] == numbers[2] != numbers[1]
    np.True_
    """
    ids, problems = parse_ids(column, name, "string")
    return (pd.util.hash_array(ids) >> np.uint64(1)).astype(np.int64), problems


def parse_positions(column: pa.ChunkedArray, name: str) -> tuple[np.ndarray, list[Problem]]:
    """Converts positions in a list.

    Args:
        column: Integers, or what reads as such.
        name: Its name.

    Returns:
        int64 [rows], and the rows that hold no position.

    Example:

    >>> parse_positions(pa.chunked_array([[1, -1]]), "position")[1][0].is_bad.tolist()
    [False, True]
    """
    positions, is_bad = _integers(column)
    is_bad = is_bad | (positions < 0)
    return positions, [Problem(is_bad, name, "an integer of 0 or more", "no position")]


def as_strings(column: pa.ChunkedArray) -> np.ndarray:
    """Returns the values of a categorical feature as str or None, object [rows].

    Example:

    >>> as_strings(pa.chunked_array([[1.0, None]])).tolist()
    ['1', None]
    """
    return _as_text(column).to_pandas().astype(object).where(lambda s: s.notna(), None).to_numpy()


def as_lists(column: pa.ChunkedArray, separator: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the values of a multi-valued feature.

    Args:
        column: Lists, or strings to split at `separator`.
        separator: What separates the values of a string.

    Returns:
        The values, object (str) [all values], and how many each row has, int64 [rows].

    Example:

    >>> values, lengths = as_lists(pa.chunked_array([["drama|crime", "", "drama"]]), "|")
    >>> values.tolist(), lengths.tolist()
    (['drama', 'crime', 'drama'], [2, 0, 1])
    """
    array = column.combine_chunks()
    if not (pt.is_list(array.type) or pt.is_large_list(array.type)):
        array = pc.split_pattern(_as_text(column).combine_chunks(), separator)
    owners = pc.list_parent_indices(array).to_numpy()
    values = as_strings(pa.chunked_array([pc.list_flatten(array)]))
    stripped = np.array([value.strip() if value else "" for value in values], object)
    has_text = stripped != ""
    return stripped[has_text], np.bincount(owners[has_text], minlength=len(array))


def format_value(column: pa.ChunkedArray, position: int) -> str:
    """Returns a value of a column as an error message shows it.

    Example:

    >>> format_value(pa.chunked_array([[None, 7]]), 0), format_value(pa.chunked_array([["x"]]), 0)
    ('empty', "'x'")
    """
    value = column[position].as_py()
    return "empty" if value is None else repr(str(value))[:80]


def parse_split_time(value: int | str | None, name: str, unit: str) -> int:
    """Converts a setting, an integer in `unit` or an ISO 8601 date or datetime, to an integer.

    Args:
        value: The setting.
        name: Its name.
        unit: "s" or "ms".

    Raises:
        UserError: It is neither.

    Example:

    >>> parse_split_time("1970-01-02", "split.test_start", "ms")
    86400000
    """
    if value is None:
        raise UserError(f"{name}: missing; a split by time needs it")
    per_second = {"s": 1, "ms": 1000}[unit]
    try:
        if isinstance(value, str) and not re.fullmatch(r"[0-9]+", value):
            stamp = datetime.datetime.fromisoformat(value)
            stamp = stamp if stamp.tzinfo else stamp.replace(tzinfo=datetime.UTC)
            time = int(stamp.timestamp() * per_second)
        else:
            time = int(value)
    except ValueError as error:
        raise UserError(f"{name}: {value!r}: expected an ISO 8601 date or datetime") from error
    if not 0 <= time < _LATEST.timestamp() * per_second:
        raise UserError(f"{name}: {value!r}: expected a time between 1970 and 2200")
    return time


def _times_as_floats(column: pa.ChunkedArray, is_null: np.ndarray, per_second: int) -> np.ndarray:
    """Timestamps of any kind in units of `per_second`, float64 [rows]; NaN for no time."""
    kind = column.type
    if pt.is_timestamp(kind) or pt.is_date(kind):
        return _floats(_datetime_units(column, per_second))
    if pt.is_integer(kind) or pt.is_floating(kind) or pt.is_decimal(kind):
        return _floats(column)
    text = _as_text(column)
    is_number = pc.match_substring_regex(text, _NUMBER).fill_null(False).to_numpy(False)
    strings = text.to_pandas().to_numpy(object)
    times = np.full(len(strings), np.nan)
    times[is_number] = strings[is_number].astype(np.float64)
    is_date = ~is_number & ~is_null
    if is_date.any():
        stamps = pd.to_datetime(
            pd.Series(strings[is_date]), errors="coerce", utc=True, format="ISO8601"
        )
        times[is_date] = _floats(_datetime_units(pa.chunked_array([pa.array(stamps)]), per_second))
    return times


def _datetime_units(column: pa.ChunkedArray, per_second: int) -> pa.ChunkedArray:
    zone = getattr(column.type, "tz", None)
    milliseconds = pc.cast(column, pa.timestamp("ms", zone), safe=False)
    return pc.divide(pc.cast(milliseconds, pa.int64()), 1000 // per_second)


def _integers(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """int64 [rows], and which rows are no integer of 64 bits (nulls among them)."""
    kind = column.type
    if pt.is_integer(kind) and kind != pa.uint64():
        is_null = pc.is_null(column).to_numpy()
        return column.fill_null(0).to_numpy().astype(np.int64), is_null
    if pt.is_floating(kind):
        floats = _floats(column)
        is_good = np.isfinite(floats) & (floats == np.floor(floats)) & (np.abs(floats) < 2**53)
        return np.where(is_good, floats, 0).astype(np.int64), ~is_good
    text = _as_text(column)
    is_good = pc.match_substring_regex(text, _INTEGER).fill_null(False).to_numpy(False)
    digits = pc.if_else(pa.chunked_array([pa.array(is_good)]), text, "0")
    try:
        return pc.cast(digits, pa.int64()).to_numpy(), ~is_good
    except pa.ArrowInvalid:  # Some are beyond 64 bits: find out which.
        fits = np.array([-(2**63) <= int(value) < 2**63 for value in digits.to_pylist()])
        digits = pc.if_else(pa.chunked_array([pa.array(fits)]), digits, "0")
        return pc.cast(digits, pa.int64()).to_numpy(), ~(is_good & fits)


def _floats(column: pa.ChunkedArray) -> np.ndarray:
    floats = pc.cast(column, pa.float64(), safe=False)
    return floats.to_pandas().to_numpy(np.float64, na_value=np.nan)


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pt.is_dictionary(kind):
        column = pc.cast(column, kind.value_type)
        kind = column.type
    if pt.is_floating(kind):
        values = _floats(column)
        if np.all((np.abs(values) < 2**53) & (values == np.floor(values)) | np.isnan(values)):
            column = pc.cast(pa.chunked_array([pa.array(values, from_pandas=True)]), pa.int64())
    return pc.cast(column, pa.string())
