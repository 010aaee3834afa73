"""The objects of a group: their ids, their side features, and how often they occur."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from data_pipeline.core.errors import UserError
from data_pipeline.prepare.parsing import as_lists, as_strings, id_type, parse_ids, shown
from data_pipeline.prepare.rejections import check_table, joined
from data_pipeline.readers import Batch, expand, read_table
from data_pipeline.schema import Feature, Group


@dataclasses.dataclass
class FeatureValues:
    """Values of a feature, object after object.

    Attributes:
        values: All values, object (str).
        lengths: How many each object has, int64 [objects]; at most 1 unless multi-valued.
    """

    values: np.ndarray
    lengths: np.ndarray


class Objects:
    """The objects of one group, numbered as they are met.

    With an object table these are its rows, in its order, and no others; without one, the
    objects of the events.

    Args:
        group: The group, its `id_type` known.
        table: Batches of its object table; None where it has none.

    Raises:
        UserError: An id in the table is missing or occurs twice.
    """

    def __init__(self, group: Group, table: list[Batch] | None) -> None:
        self.group = group
        self.is_open = table is None
        self.features: dict[str, FeatureValues] = {}
        self._index = pd.Index([], dtype="int64" if group.id_type == "int" else object)
        self._logged = np.zeros(0, bool)
        self._occurrences = np.zeros(0, np.int64)
        self._counts = np.zeros(0, np.int64)
        if table is not None:
            self._read(table)
        self._grow()

    @property
    def ids(self) -> np.ndarray:
        """The ids, int64 or object (str), by number."""
        return self._index.to_numpy()

    def numbers(self, ids: np.ndarray) -> np.ndarray:
        """Returns the numbers of objects, int64; -1 for those that the object table lacks."""
        found = self._index.get_indexer(ids)
        if self.is_open and (found < 0).any():
            new = pd.unique(ids[found < 0])
            self._index = self._index.append(pd.Index(new, dtype=self._index.dtype))
            self._grow()
            found = self._index.get_indexer(ids)
        return found

    def count(self, numbers: np.ndarray, is_training: np.ndarray, is_taken: np.ndarray) -> None:
        """Counts occurrences.

        Args:
            numbers: Which objects occurred, int64 [n].
            is_training: Whether in the training period, bool [n].
            is_taken: Whether anything was done to it: not so for a candidate shown in vain.
        """
        size = len(self._counts)
        self._logged[numbers] = True
        self._occurrences += np.bincount(numbers[is_training], minlength=size)
        self._counts += np.bincount(numbers[is_training & is_taken], minlength=size)

    @property
    def train_counts(self) -> np.ndarray:
        """How often each object was taken in the training period, int64, by number."""
        return self._counts

    @property
    def train_occurrences(self) -> np.ndarray:
        """The same with the times it was shown in vain: what there is to learn from."""
        return self._occurrences

    @property
    def num_trained(self) -> int:
        """How many objects occurred in the training period."""
        return int((self._occurrences > 0).sum())

    @property
    def num_logged(self) -> int:
        """How many objects occurred at all."""
        return int(self._logged.sum())

    def ranked(self) -> np.ndarray:
        """Returns the numbers in the order of their rows; see `atrank_tf.schema.Group`."""
        by_id = np.argsort(self.ids, kind="stable")
        rank_of_id = np.empty_like(by_id)
        rank_of_id[by_id] = np.arange(len(by_id))
        is_new = self._occurrences == 0
        return np.lexsort((rank_of_id, -self._counts, ~self._logged, is_new))

    def _grow(self) -> None:
        more = len(self._index) - len(self._counts)
        self._logged = np.concatenate([self._logged, np.zeros(more, bool)])
        self._occurrences = np.concatenate([self._occurrences, np.zeros(more, np.int64)])
        self._counts = np.concatenate([self._counts, np.zeros(more, np.int64)])

    def _read(self, table: list[Batch]) -> None:
        column = self.group.object_column
        parts = []
        for batch in table:
            ids, problems = parse_ids(batch.table[column], column, self.group.id_type)
            check_table(batch, problems)
            parts.append(ids)
        self._index = pd.Index(np.concatenate(parts))
        self._raise_on_repeats(table, column)
        for feature in self.group.features:
            self.features[feature.name] = _feature_values(table, feature)

    def _raise_on_repeats(self, table: list[Batch], column: str) -> None:
        repeats = np.flatnonzero(self._index.duplicated())
        if not len(repeats):
            return
        row = int(repeats[0])
        for batch in table:
            if row < batch.table.num_rows:
                raise UserError(
                    f"{batch.file}: row {batch.first_row + row}: column {column!r}: "
                    f"{shown(batch.table[column], row)}: expected each id once"
                )
            row -= batch.table.num_rows


def open_objects(group: Group, base: Path) -> tuple[Group, Objects | None]:
    """Reads a group's object table.

    Args:
        group: The group.
        base: Directory that relative paths start at.

    Returns:
        The group with its `id_type`, and its objects; None where it has no table and its
        id type is still to be found in the events.
    """
    if not group.objects:
        return group, Objects(group, None) if group.id_type else None
    columns = [group.object_column, *(f.column or f.name for f in group.features)]
    lists = [f.column or f.name for f in group.features if f.multivalued]
    table = read_table(expand(group.objects, base), columns, lists)
    if not group.id_type:
        group = dataclasses.replace(group, id_type=id_type(joined(table, group.object_column)))
    return group, Objects(group, table)


def _feature_values(table: list[Batch], feature: Feature) -> FeatureValues:
    column = joined(table, feature.column or feature.name)
    if feature.multivalued:
        values, lengths = as_lists(column, feature.separator)
        owner = np.repeat(np.arange(len(lengths)), lengths)
        first = ~pd.DataFrame({"owner": owner, "value": values}).duplicated().to_numpy()
        return FeatureValues(values[first], np.bincount(owner[first], minlength=len(lengths)))
    values = as_strings(column)
    is_there = np.array([value is not None for value in values], bool)
    return FeatureValues(values[is_there], is_there.astype(np.int64))
