"""The types of ids, found out from the logs where a schema does not declare them."""

from typing import Any

import numpy as np
import pyarrow as pa

from data_pipeline.prepare.parsing import first_text, format_value
from data_pipeline.readers import Batch


class FoundType:
    """The type of the ids of users or of a group, as it is found out.

    Args:
        what: What the ids are of.
        declared: The type that is declared; "" for none.

    Attributes:
        kind: "int" where all that were seen are integers of 64 bits, otherwise "string"; "" as
            long as none was seen.
        note: What was found out, and by what; "" where the type is declared.

    Example:

    >>> found = FoundType("ids of user", "")
    >>> table = pa.table({"user": ["7", "ann"]})
    >>> found.see(Batch("e.csv", np.array([1, 2]), table), "user", np.ones(2, bool))
    >>> found.kind, found.note
    ('string', "ids of user are strings, since row 2 of e.csv has 'ann'")
    """

    def __init__(self, what: str, declared: str) -> None:
        self.kind: Any = declared
        self.note = ""
        self._what = what
        self._is_declared = bool(declared)

    def see(self, batch: Batch, column: str, chosen: np.ndarray) -> None:
        """Takes note of the ids of chosen rows, bool [rows]."""
        if self._is_declared or self.kind == "string" or not chosen.any():
            return
        ids = batch.table[column].filter(pa.array(chosen))
        position = first_text(ids)
        self.kind = "int" if position is None else "string"
        if position is None:
            shown = ids.slice(0, 1000).drop_null().unique().to_pylist()[:3]
            examples = ", ".join(map(str, shown))
            self.note = self.note or f"{self._what} are integers, such as {examples}"
        else:
            row = int(batch.rows[chosen][position])
            self.note = (
                f"{self._what} are strings, since row {row} of {batch.file} has "
                f"{format_value(ids, position)}"
            )
