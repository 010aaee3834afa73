"""What is known of the objects of each group, as arrays by object index."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from data_pipeline.fingerprints import NO_VALUE
from data_pipeline.schema import Group, Schema

Catalog = dict[str, dict[str, np.ndarray]]


def load_catalog(directory: str | Path, schema: Schema) -> Catalog:
    """Reads the tables of objects that `prepare` wrote.

    Args:
        directory: Where `prepare` wrote them.
        schema: The schema saved there.

    Returns:
        For each group, by object index (the unknown objects come first):
        `embedding_indices`, int64 [num_objects]: embedding index of the object's id;
        `train_counts`, int64 [num_objects]: training events of the object;
        for each feature NAME `NAME/indices`, int64 [num_values]: embedding indices of its
        values; and for a multi-valued one `NAME/splits`, int64 [num_objects + 1]:
        object i has the values from splits[i] to before splits[i + 1].
        Raw ids and values as fingerprints, `NO_VALUE` where there is none: `fingerprints`, int64
        [num_objects], `NAME/fingerprints`, and for a multi-valued one `NAME/fingerprint_splits`:
        its rare values share an embedding index, but no fingerprint.

    Example:

    >>> catalog = load_catalog(toy_data(), Schema.load(toy_data()))
    >>> sorted(catalog["query"])[:3]
    ['category/fingerprints', 'category/indices', 'embedding_indices']
    """
    return {group.name: _load_group(Path(directory), group) for group in schema.groups}


def _load_group(directory: Path, group: Group) -> dict[str, np.ndarray]:
    table = pq.read_table(directory / "objects" / f"{group.name}.parquet")
    unknown = np.zeros(group.num_oov, np.int64)
    no_value = np.full(group.num_oov, NO_VALUE)

    def lists(name: str) -> tuple[np.ndarray, np.ndarray]:
        """The values of all objects, and where those of each start."""
        column = table[name].combine_chunks()
        lengths = column.value_lengths().to_numpy(zero_copy_only=False)
        splits = np.concatenate([[0], unknown, np.cumsum(lengths)])
        return column.flatten().to_numpy(), splits.astype(np.int64)

    objects = {
        "embedding_indices": np.concatenate(
            [np.arange(group.num_oov), table["embedding_index"].to_numpy()]
        ),
        "train_counts": np.concatenate([unknown, table["train_count"].to_numpy()]),
        "fingerprints": np.concatenate([no_value, table["fingerprint"].to_numpy()]),
    }
    for feature in group.features:
        name = feature.name
        indices, prints = f"feature:{name}", f"fingerprint:{name}"
        if feature.multivalued:
            objects[f"{name}/indices"], objects[f"{name}/splits"] = lists(indices)
            objects[f"{name}/fingerprints"], objects[f"{name}/fingerprint_splits"] = lists(prints)
        else:
            objects[f"{name}/indices"] = np.concatenate([unknown, table[indices].to_numpy()])
            objects[f"{name}/fingerprints"] = np.concatenate([no_value, table[prints].to_numpy()])
    return objects
