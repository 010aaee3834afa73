"""Columns of any type as plain ones: what programs write in many types is one thing here."""

import uuid

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns a column as integers, floats, times, booleans, strings, or lists of those.

    Strings that are stored otherwise, dictionaries, UUIDs and decimals become strings; decimals
    without a fraction read as integers do.

    Raises:
        ArrowException: The values are none of these, such as bytes that are no text.

    Example:

    >>> plain(pa.chunked_array([pa.array(["a", "b", "a"]).dictionary_encode()])).to_pylist()
    ['a', 'b', 'a']
    """
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        is_uuid = "uuid" in str(kind)
        column = pa.chunked_array([_storage(chunk) for chunk in column.chunks], kind.storage_type)
        return _uuids(column) if is_uuid else plain(column)
    if pt.is_dictionary(kind):
        return plain(pc.cast(column, kind.value_type))
    if pt.is_fixed_size_binary(kind):
        return _uuids(column) if kind.byte_width == 16 else pc.cast(column, pa.binary())
    if _is_text(kind) or pt.is_decimal(kind):
        return pc.cast(column, pa.string())
    if pt.is_float16(kind):
        return pc.cast(column, pa.float32())
    if is_list(kind):
        if pt.is_list_view(kind) or pt.is_large_list_view(kind):  # Which have no cast.
            array = pa.array(column.to_pylist(), pa.list_(kind.value_type))
        else:
            array = column.combine_chunks()
        if not pt.is_list(array.type):
            array = pc.cast(array, pa.list_(kind.value_type))
        if _is_text(kind.value_type) or pt.is_dictionary(kind.value_type):
            array = pc.cast(array, pa.list_(pa.string()))
        return pa.chunked_array([array])
    return column


def is_list(kind: pa.DataType) -> bool:
    """Returns whether a type is of lists.

    Example:

    >>> is_list(pa.list_(pa.int64())), is_list(pa.string())
    (True, False)
    """
    checks = (pt.is_list, pt.is_large_list, pt.is_fixed_size_list)
    views = (pt.is_list_view, pt.is_large_list_view)
    return any(check(kind) for check in (*checks, *views))


def without_words(column: pa.ChunkedArray, words: list[str]) -> pa.ChunkedArray:
    """Returns a column whose texts that mean nothing, such as "NULL", are null.

    Example:

    >>> without_words(pa.chunked_array([["7", "NULL"]]), ["NULL"]).to_pylist()
    ['7', None]
    """
    if not pt.is_string(column.type) or not words:
        return column
    is_word = pc.is_in(column, value_set=pa.array(words, pa.string()))
    return pc.if_else(is_word, pa.scalar(None, pa.string()), column)


def as_floats(column: pa.ChunkedArray) -> np.ndarray:
    """Returns numbers as float64 [rows], NaN for none.

    Example:

    >>> as_floats(pa.chunked_array([[7, None]])).tolist()
    [7.0, nan]
    """
    floats = pc.cast(column, pa.float64(), safe=False)
    return floats.to_pandas().to_numpy(np.float64, na_value=np.nan)


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns a column as strings; each whole number as the integer that it is.

    Example:

    >>> as_text(pa.chunked_array([[7.0, 0.5, None]])).to_pylist()
    ['7', '0.5', None]
    """
    if not pt.is_floating(column.type):
        return pc.cast(column, pa.string())
    values = as_floats(column)
    is_whole = (np.abs(values) < 2**53) & (values == np.floor(values))
    whole = pc.cast(pa.array(np.where(is_whole, values, 0).astype(np.int64)), pa.string())
    others = [None if np.isnan(value) else repr(value) for value in values[~is_whole].tolist()]
    text = whole.to_numpy(zero_copy_only=False).astype(object)
    text[~is_whole] = others
    return pa.chunked_array([pa.array(text, pa.string())])


def _is_text(kind: pa.DataType) -> bool:
    texts = (pt.is_string, pt.is_large_string, pt.is_string_view)
    binaries = (pt.is_binary, pt.is_large_binary, pt.is_binary_view)
    return any(check(kind) for check in (*texts, *binaries))


def _storage(chunk: pa.Array) -> pa.Array:
    return chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk


def _uuids(column: pa.ChunkedArray) -> pa.ChunkedArray:
    values = [
        None if value is None else str(uuid.UUID(bytes=value)) for value in column.to_pylist()
    ]
    return pa.chunked_array([pa.array(values, pa.string())])
