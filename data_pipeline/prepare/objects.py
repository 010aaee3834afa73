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

from data_pipeline.files import expand
from data_pipeline.prepare.parsing import Problem, as_lists, as_strings, id_type, parse_ids
from data_pipeline.prepare.rejections import Rejections
from data_pipeline.readers import Batch, join_column, read_table
from data_pipeline.schema import Csv, Feature, Group


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

    With an object table these are its rows, in its order; then, or without one, the other
    objects of the events.

    Args:
        group: The group, its `id_type` known.
        table: Batches of its object table; None where it has none.
        rejections: What takes note of rows of the table whose id is missing, or there already.

    Attributes:
        group: The group.
        num_in_table: How many objects its table has; None where it has none.

    Example:

    >>> objects = Objects(Group("item", id_type="int"), None, Rejections(tmp, skip=False))
    >>> objects.numbers(np.array([70, 50, 70])).tolist()
    [0, 1, 0]
    >>> objects.ids.tolist()
    [70, 50]
    """

    def __init__(self, group: Group, table: list[Batch] | None, rejections: Rejections) -> None:
        self.group = group
        self.num_in_table: int | None = None
        self._features: dict[str, FeatureValues] = {}
        self._index = pd.Index([], dtype="int64" if group.id_type == "int" else object)
        self._is_logged = np.zeros(0, bool)
        self._occurrences = np.zeros(0, np.int64)
        self._counts = np.zeros(0, np.int64)
        self._target_counts: dict[str, np.ndarray] = {}
        if table is not None:
            self._read(table, rejections)
            self.num_in_table = len(self._index)
        self._grow()

    @property
    def ids(self) -> np.ndarray:
        """The ids, int64 or object (str), by object number."""
        return self._index.to_numpy()

    def numbers(self, ids: np.ndarray) -> np.ndarray:
        """Returns the object number of each id, int64; ids that are new get the next ones."""
        numbers = self._index.get_indexer(ids)  # type: ignore[arg-type]
        if (numbers < 0).any():
            new_ids = pd.unique(ids[numbers < 0])
            self._index = self._index.append(pd.Index(new_ids, dtype=self._index.dtype))
            self._grow()
            numbers = self._index.get_indexer(ids)  # type: ignore[arg-type]
        return numbers

    def features(self, name: str) -> FeatureValues:
        """Returns the values of a feature: none of objects that the table lacks."""
        values = self._features[name]
        num_without = len(self._index) - len(values.lengths)
        lengths = np.concatenate([values.lengths, np.zeros(num_without, np.int64)])
        return FeatureValues(values.values, lengths)

    @property
    def num_missing(self) -> int:
        """How many objects of the events the table lacks; 0 where there is none."""
        return 0 if self.num_in_table is None else len(self._index) - self.num_in_table

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

    def _read(self, table: list[Batch], rejections: Rejections) -> None:
        column = self.group.object_column
        parsed = [parse_ids(b.table[column], column, self.group.id_type) for b in table]
        is_id = [~np.any([p.is_bad for p in problems], axis=0) for _, problems in parsed]
        is_repeat = np.zeros(sum(map(len, is_id)), bool)
        good_ids = [ids[is_good] for (ids, _), is_good in zip(parsed, is_id, strict=True)]
        is_repeat[np.concatenate(is_id)] = pd.Index(np.concatenate(good_ids)).duplicated()
        good, first = [], 0
        for batch, (ids, problems) in zip(table, parsed, strict=True):
            repeats = Problem(is_repeat[first : first + len(ids)], column, "each id once", "twice")
            is_good = rejections.reject(batch, [*problems, repeats])
            good.append(batch.where(is_good))
            first += len(ids)
        kept = [parse_ids(b.table[column], column, self.group.id_type)[0] for b in good]
        self._index = pd.Index(np.concatenate(kept))
        for feature in self.group.features:
            self._features[feature.name] = _feature_values(good, feature)


def open_objects(
    group: Group, base: Path, rejections: Rejections, csv: Csv
) -> tuple[Group, Objects | None]:
    """Reads a group's object table.

    Args:
        group: The group.
        base: Directory that relative paths start at.
        rejections: What takes note of its rows that cannot be used.
        csv: How text files are written.

    Returns:
        The group with its `id_type`, and its objects; None where it has no table and its
        id type is still to be found in the events.

    Example:

    >>> _ = (tmp / "items.csv").write_text("object,category\\n70,tea\\n50,\\n")
    >>> group = Group("item", features=(Feature("category"),), objects="items.csv")
    >>> group, objects = open_objects(group, tmp, Rejections(tmp, skip=False), Csv())
    >>> group.id_type, objects.ids.tolist(), objects.features("category").lengths.tolist()
    ('int', [70, 50], [1, 0])
    """
    if not group.objects:
        return group, Objects(group, None, rejections) if group.id_type else None
    columns = [group.object_column, *(f.column or f.name for f in group.features)]
    lists = [f.column or f.name for f in group.features if f.multivalued]
    table = read_table(expand(group.objects, base), columns, lists, csv)
    if not group.id_type:
        ids = join_column(table, group.object_column)
        group = dataclasses.replace(group, id_type=id_type(ids))
    return group, Objects(group, table, rejections)


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
