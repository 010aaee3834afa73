"""The objects of a group: their ids, their side features, and how often they occur.

While logs are prepared an object goes by its *object number*: the position at which it was met,
in its table or else in the events. When all are counted it gets its *object index*, by which
prepared data and models know it; `data_pipeline.schema.Group` says in which order.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from data_pipeline.core.errors import UserError
from data_pipeline.prepare.parsing import as_lists, as_strings, format_value, id_type, parse_ids
from data_pipeline.prepare.rejections import check_table
from data_pipeline.readers import Batch, expand, join_column, read_table
from data_pipeline.schema import Feature, Group


@dataclasses.dataclass
class FeatureValues:
    """Values of a feature, object after object.

    Attributes:
        values: All values, object (str).
        lengths: How many each object has, int64 [objects]; at most 1 unless multi-valued.

    Example:

    >>> genres = FeatureValues(np.array(["drama", "crime", "drama"], object), np.array([2, 0, 1]))
    >>> [values.tolist() for values in np.split(genres.values, np.cumsum(genres.lengths)[:-1])]
    [['drama', 'crime'], [], ['drama']]
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

    Attributes:
        group: The group.
        is_open: Whether events may bring new objects: there is no object table.
        features: Values of the group's features, by feature name.

    Raises:
        UserError: An id in the table is missing or occurs twice.

    Example:

    >>> objects = Objects(Group("item", id_type="int"), None)
    >>> objects.numbers(np.array([70, 50, 70])).tolist()
    [0, 1, 0]
    >>> objects.ids.tolist()
    [70, 50]
    """

    def __init__(self, group: Group, table: list[Batch] | None) -> None:
        self.group = group
        self.is_open = table is None
        self.features: dict[str, FeatureValues] = {}
        self._index = pd.Index([], dtype="int64" if group.id_type == "int" else object)
        self._is_logged = np.zeros(0, bool)
        self._occurrences = np.zeros(0, np.int64)
        self._counts = np.zeros(0, np.int64)
        self._target_counts: dict[str, np.ndarray] = {}
        if table is not None:
            self._read(table)
        self._grow()

    @property
    def ids(self) -> np.ndarray:
        """The ids, int64 or object (str), by object number."""
        return self._index.to_numpy()

    def numbers(self, ids: np.ndarray) -> np.ndarray:
        """Returns the object number of each id, int64; -1 for ids that the object table lacks."""
        numbers = self._index.get_indexer(ids)  # type: ignore[arg-type]
        if self.is_open and (numbers < 0).any():
            new_ids = pd.unique(ids[numbers < 0])
            self._index = self._index.append(pd.Index(new_ids, dtype=self._index.dtype))
            self._grow()
            numbers = self._index.get_indexer(ids)  # type: ignore[arg-type]
        return numbers

    def count(
        self,
        numbers: np.ndarray,
        is_training: np.ndarray,
        is_taken: np.ndarray,
        is_target: Mapping[str, np.ndarray],
    ) -> None:
        """Counts occurrences.

        Args:
            numbers: Object numbers of what occurred, int64 [n].
            is_training: Whether in the training period, bool [n].
            is_taken: Whether anything was done to it: not so for a candidate shown in vain.
            is_target: By target of the group which are its positives, bool [n].
        """
        size = len(self._counts)
        for name, mask in is_target.items():
            counted = np.bincount(numbers[is_training & mask], minlength=size)
            self._target_counts[name] = self.target_counts(name) + counted
        self._is_logged[numbers] = True
        self._occurrences += np.bincount(numbers[is_training], minlength=size)
        self._counts += np.bincount(numbers[is_training & is_taken], minlength=size)

    @property
    def train_counts(self) -> np.ndarray:
        """How often each object was taken in the training period, int64, by object number."""
        return self._counts

    def target_counts(self, target: str) -> np.ndarray:
        """Returns how often each object was a positive of a target in the training period."""
        return self._target_counts.get(target, np.zeros(len(self._counts), np.int64))

    @property
    def train_occurrences(self) -> np.ndarray:
        """How often each was taken or shown in vain: what there is to learn from."""
        return self._occurrences

    @property
    def num_trained(self) -> int:
        """How many objects occurred in the training period."""
        return int((self._occurrences > 0).sum())

    @property
    def num_logged(self) -> int:
        """How many objects occurred at all."""
        return int(self._is_logged.sum())

    def ranked(self) -> np.ndarray:
        """Returns the object numbers in the order of their object indices."""
        by_id = np.argsort(self.ids, kind="stable")
        rank_of_id = np.empty_like(by_id)
        rank_of_id[by_id] = np.arange(len(by_id))
        is_untrained = self._occurrences == 0
        return np.lexsort((rank_of_id, -self._counts, ~self._is_logged, is_untrained))

    def _grow(self) -> None:
        """Makes room for the counts of objects that were met since."""
        num_new = len(self._index) - len(self._counts)
        self._is_logged = np.concatenate([self._is_logged, np.zeros(num_new, bool)])
        self._occurrences = np.concatenate([self._occurrences, np.zeros(num_new, np.int64)])
        self._counts = np.concatenate([self._counts, np.zeros(num_new, np.int64)])
        self._target_counts = {
            target: np.concatenate([counts, np.zeros(num_new, np.int64)])
            for target, counts in self._target_counts.items()
        }

    def _read(self, table: list[Batch]) -> None:
        column = self.group.object_column
        ids_of_batches = []
        for batch in table:
            ids, problems = parse_ids(batch.table[column], column, self.group.id_type)
            check_table(batch, problems)
            ids_of_batches.append(ids)
        self._index = pd.Index(np.concatenate(ids_of_batches))
        self._raise_on_repeats(table, column)
        for feature in self.group.features:
            self.features[feature.name] = _feature_values(table, feature)

    def _raise_on_repeats(self, table: list[Batch], column: str) -> None:
        repeats = np.flatnonzero(self._index.duplicated())
        if not len(repeats):
            return
        position = int(repeats[0])
        for batch in table:
            if position < batch.table.num_rows:
                raise UserError(
                    f"{batch.file}: row {batch.first_row + position}: column {column!r}: "
                    f"{format_value(batch.table[column], position)}: expected each id once"
                )
            position -= batch.table.num_rows


def open_objects(group: Group, base: Path) -> tuple[Group, Objects | None]:
    """Reads a group's object table.

    Args:
        group: The group.
        base: Directory that relative paths start at.

    Returns:
        The group with its `id_type`, and its objects; None where it has no table and its
        id type is still to be found in the events.

    Example:

    >>> _ = (tmp / "items.csv").write_text("object,category\\n70,tea\\n50,\\n")
    >>> group = Group("item", features=(Feature("category"),), objects="items.csv")
    >>> group, objects = open_objects(group, tmp)
    >>> group.id_type, objects.ids.tolist(), objects.features["category"].lengths.tolist()
    ('int', [70, 50], [1, 0])
    """
    if not group.objects:
        return group, Objects(group, None) if group.id_type else None
    columns = [group.object_column, *(f.column or f.name for f in group.features)]
    lists = [f.column or f.name for f in group.features if f.multivalued]
    table = read_table(expand(group.objects, base), columns, lists)
    if not group.id_type:
        ids = join_column(table, group.object_column)
        group = dataclasses.replace(group, id_type=id_type(ids))
    return group, Objects(group, table)


def _feature_values(table: list[Batch], feature: Feature) -> FeatureValues:
    column = join_column(table, feature.column or feature.name)
    if feature.multivalued:
        values, lengths = as_lists(column, feature.separator)
        owners = np.repeat(np.arange(len(lengths)), lengths)
        is_first = ~pd.DataFrame({"owner": owners, "value": values}).duplicated().to_numpy()
        lengths = np.bincount(owners[is_first], minlength=len(lengths))
        return FeatureValues(values[is_first], lengths)
    values = as_strings(column)
    has_value = np.array([value is not None for value in values], bool)
    return FeatureValues(values[has_value], has_value.astype(np.int64))
