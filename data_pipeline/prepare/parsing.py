"""Values of columns, checked and converted as whole arrays."""

import ast
import dataclasses
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from data_pipeline.plain_types import as_floats, as_text

# As it may be written where others of its column have a fraction, too.
_INTEGER = r"^(0|-?[1-9][0-9]*)(\.0+)?$"
_WHOLE = r"^-?[0-9]+\.0$"
IdType = Literal["int", "string"]


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
    """Returns "int" where all of a column's values are integers of 64 bits, otherwise "string".

    Example:

    >>> id_type(pa.chunked_array([["7", "12"]])), id_type(pa.chunked_array([["007", "12"]]))
    ('int', 'string')
    """
    return "int" if first_text(column) is None else "string"


def first_text(column: pa.ChunkedArray) -> int | None:
    """Returns where the first value stands that is no integer of 64 bits; None without any.

    Example:

    >>> first_text(pa.chunked_array([["7", None, "x"]]))
    2
    """
    _, is_bad = _integers(column)
    positions = np.flatnonzero(is_bad & ~pc.is_null(column, nan_is_null=True).to_numpy())
    return int(positions[0]) if len(positions) else None


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
        text = as_text(column)
        values = text.fill_null("").to_numpy(zero_copy_only=False).astype(object)
        is_bad = pc.match_substring_regex(text, r"^$|[\n\r\x00]").fill_null(False).to_numpy(False)
        expected = "a non-empty string without line breaks"
        problems = [Problem(is_bad & ~is_null, name, expected, "unusable id")]
    return values, [Problem(is_null, name, "an id", "null id"), *problems]


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
    positions = pd.Index(choices).get_indexer(as_text(column).to_pandas().to_numpy(object))
    expected = f"one of {', '.join(choices)}"
    return positions, [Problem(positions < 0, name, expected, f"unknown {what}")]


def parse_labels(column: pa.ChunkedArray, name: str) -> tuple[np.ndarray, list[Problem]]:
    """Converts labels.

    Args:
        column: 1 and 0, as numbers or text, or booleans.
        name: Its name.

    Returns:
        int64 [rows], each 0 or 1; and the rows that hold neither.

    Example:

    >>> parse_labels(pa.chunked_array([["1", "0.0", "true", "2"]]), "label")[0].tolist()
    [1, 0, 1, 0]
    """
    words = pc.utf8_lower(as_text(column))
    values, is_other = _integers(words)
    is_true = pc.equal(words, "true").fill_null(False).to_numpy()
    is_bad = is_other & ~is_true & ~pc.equal(words, "false").fill_null(False).to_numpy()
    is_bad |= (values < 0) | (values > 1)
    labels = np.where(is_bad, 0, values + is_true)
    return labels, [Problem(is_bad, name, "one of 0, 1", "unknown label")]


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
    text = as_text(column)
    # Integers of a column of floats, as some that lack one become.
    if text.null_count < len(text) and pc.all(pc.match_substring_regex(text, _WHOLE)).as_py():
        text = pc.replace_substring_regex(text, r"\.0$", "")
    return text.to_pandas().astype(object).where(lambda s: s.notna(), None).to_numpy()


def as_lists(column: pa.ChunkedArray, separator: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the values of a multi-valued feature.

    Args:
        column: Lists; strings to split at `separator`; or lists as Python and JSON write them,
            where all are.
        separator: What separates the values of a string.

    Returns:
        The values, object (str) [all values], and how many each row has, int64 [rows].

    Example:

    >>> values, lengths = as_lists(pa.chunked_array([["drama|crime", "", "drama"]]), "|")
    >>> values.tolist(), lengths.tolist()
    (['drama', 'crime', 'drama'], [2, 0, 1])
    """
    array = column.combine_chunks()
    if not pt.is_list(array.type):
        array = _written_lists(as_text(column).combine_chunks())
    if not pt.is_list(array.type):
        array = pc.split_pattern(array, separator)
    owners = pc.list_parent_indices(array).to_numpy()
    values = as_strings(pa.chunked_array([pc.list_flatten(array)]))
    stripped = np.array([value.strip() if value else "" for value in values], object)
    has_text = stripped != ""
    return stripped[has_text], np.bincount(owners[has_text], minlength=len(array))


def _written_lists(text: pa.Array) -> pa.Array:
    """Lists of what are lists in brackets, all of them; otherwise the text as it is."""
    in_brackets = pc.match_substring_regex(text, r"^\s*(\[.*\])?\s*$")
    if text.null_count == len(text) or not pc.all(in_brackets).as_py():
        return text
    try:
        lists = [ast.literal_eval(value) if value else None for value in text.to_pylist()]
        return pa.array([[str(v) for v in row] if row else row for row in lists])
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return text


def format_value(column: pa.ChunkedArray, position: int) -> str:
    """Returns a value of a column as an error message shows it.

    Example:

    >>> format_value(pa.chunked_array([[None, 7]]), 0), format_value(pa.chunked_array([["x"]]), 0)
    ('empty', "'x'")
    """
    value = column[position].as_py()
    return "empty" if value is None else repr(str(value))[:80]


def _integers(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """int64 [rows], and which rows are no integer of 64 bits (nulls among them)."""
    kind = column.type
    if pt.is_integer(kind) and kind != pa.uint64():
        is_null = pc.is_null(column).to_numpy()
        return column.fill_null(0).to_numpy().astype(np.int64), is_null
    if pt.is_floating(kind):
        floats = as_floats(column)
        is_good = np.isfinite(floats) & (floats == np.floor(floats)) & (np.abs(floats) < 2**53)
        return np.where(is_good, floats, 0).astype(np.int64), ~is_good
    text = as_text(column)
    is_good = pc.match_substring_regex(text, _INTEGER).fill_null(False).to_numpy(False)
    digits = pc.if_else(pa.chunked_array([pa.array(is_good)]), text, "0")
    digits = pc.replace_substring_regex(digits, r"\.0+$", "")
    try:
        return pc.cast(digits, pa.int64()).to_numpy(), ~is_good
    except pa.ArrowInvalid:  # Some are beyond 64 bits: find out which.
        fits = np.array([len(v) <= 20 and -(2**63) <= int(v) < 2**63 for v in digits.to_pylist()])
        digits = pc.if_else(pa.chunked_array([pa.array(fits)]), digits, "0")
        return pc.cast(digits, pa.int64()).to_numpy(), ~(is_good & fits)
