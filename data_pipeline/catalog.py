"""What is known of the objects of each group, as arrays by object index."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

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

    Example:

    >>> catalog = load_catalog(toy_data(), Schema.load(toy_data()))
    >>> sorted(catalog["item"])
    ['category/indices', 'embedding_indices', 'tag/indices', 'tag/splits', 'train_counts']
    """
    return {group.name: _load_group(Path(directory), group) for group in schema.groups}


def _load_group(directory: Path, group: Group) -> dict[str, np.ndarray]:
    table = pq.read_table(directory / "objects" / f"{group.name}.parquet")
    unknown = np.zeros(group.num_oov, np.int64)
    objects = {
        "embedding_indices": np.concatenate(
            [np.arange(group.num_oov), table["embedding_index"].to_numpy()]
        ),
        "train_counts": np.concatenate([unknown, table["train_count"].to_numpy()]),
    }
    for feature in group.features:
        column = table[f"feature:{feature.name}"].combine_chunks()
        if feature.multivalued:
            lengths = column.value_lengths().to_numpy(zero_copy_only=False)
            splits = np.concatenate([[0], unknown, np.cumsum(lengths)])
            objects[f"{feature.name}/splits"] = splits.astype(np.int64)
            objects[f"{feature.name}/indices"] = column.flatten().to_numpy()
        else:
            objects[f"{feature.name}/indices"] = np.concatenate([unknown, column.to_numpy()])
    return objects
