"""Logs of lists, a row each: what was shown together, and which of it was taken."""

import dataclasses

import numpy as np
import pandas as pd
import pyarrow as pa

from data_pipeline.prepare.parsing import as_lists, as_strings
from data_pipeline.prepare.rejections import Rejected
from data_pipeline.readers import Batch, Malformed
from data_pipeline.schema import Columns
from data_pipeline.schema_parts import PACKED_LIST, PACKED_POSITION


def unpacked(
    batch: Batch, columns: Columns, labels: tuple[str, ...]
) -> tuple[Batch, list[Rejected]]:
    """Gives each object that was shown a row for itself.

    Args:
        batch: Its `columns.object` holds several objects, first to last; each column of labels
            those that were taken.
        columns: The columns, with the `separator`.
        labels: Columns of labels that are in the batch.

    Returns:
        The batch, its labels 0 and 1, with columns for the list and the position of each row; and
        what was taken without being shown.

    Example:

    >>> table = pa.table({"user": ["7", "8"], "object": ["a|b|c", "b"], "label": ["c", None]})
    >>> table = table.append_column("time", pa.array(["100", "100"]))
    >>> batch = Batch("e.csv", np.array([1, 2]), table)
    >>> batch, _ = unpacked(batch, Columns(separator="|"), ("label",))
    >>> batch.table["object"].to_pylist(), batch.table["label"].to_pylist()
    (['a', 'b', 'c', 'b'], ['0', '0', '1', '0'])
    """
    shown, lengths = as_lists(batch.table[columns.object], columns.separator)
    owners = np.repeat(np.arange(len(lengths)), lengths)
    pairs = _pairs(owners, shown)
    table = batch.table.take(pa.array(owners))
    found = {columns.object: shown}
    strange: list[Rejected] = []
    for label in labels:
        taken, num_taken = as_lists(batch.table[label], columns.separator)
        of_taken = _pairs(np.repeat(np.arange(len(num_taken)), num_taken), taken)
        found[label] = np.where(pairs.isin(of_taken), "1", "0")
        for position in np.flatnonzero(~of_taken.isin(pairs)).tolist():
            row = int(np.searchsorted(np.cumsum(num_taken), position, side="right"))
            strange.append(
                Rejected(
                    file=batch.file,
                    row=int(batch.rows[row]),
                    column=label,
                    value=repr(taken[position]),
                    expected=f"objects of {columns.object!r}, which were shown",
                    reason="taken, but not shown",
                )
            )
    position = np.arange(len(owners)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    # A list is told by what it is, so that it is the same whatever file it stands in.
    times = pd.Series(as_strings(table[columns.time]), dtype=object).fillna("")
    joined = pd.Series(shown, dtype=object).groupby(owners).transform("|".join)
    found |= {PACKED_POSITION: position, PACKED_LIST: (times + ":" + joined).to_numpy(object)}
    for name, values in found.items():
        column = pa.array(values, pa.string() if values.dtype == object else None)
        column = column.cast(pa.string())
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, column)
        else:
            table = table.append_column(name, column)
    empty = [
        Malformed(int(row), "", 0, 1) for row in batch.rows[np.flatnonzero(lengths == 0)].tolist()
    ]
    malformed = tuple(sorted([*batch.malformed, *empty], key=lambda bad: bad.row))
    rows = batch.rows[owners]
    return dataclasses.replace(batch, rows=rows, table=table, malformed=malformed), strange


def _pairs(owners: np.ndarray, values: np.ndarray) -> pd.Series:
    return pd.Series(owners).astype(str) + "\0" + pd.Series(values, dtype=object)
