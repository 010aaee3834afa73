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
        `train_counts`, int64 [num_objects]: training events of the object, and for each target of
        the group `train_counts:TARGET`, those that it predicts;
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
    targets = [schema.target(name) for name in schema.target_names]
    return {
        group.name: _load_group(
            Path(directory), group, [t.name for t in targets if t.group == group.name]
        )
        for group in schema.groups
    }


def target_counts(catalog: Catalog, schema: Schema, target: str) -> np.ndarray:
    """Returns how many training events of a target each object has, int64 [objects].

    Args:
        catalog: What `load_catalog` returned.
        schema: The schema.
        target: The target: of the events of its actions, or of the label that it predicts.

    Example:

    >>> schema, catalog = toy_schema_and_catalog()
    >>> len(target_counts(catalog, schema, "item")) == schema.group("item").num_objects
    True
    """
    return catalog[schema.target(target).group][f"train_counts:{target}"]


def _load_group(directory: Path, group: Group, targets: list[str]) -> dict[str, np.ndarray]:
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
    for target in targets:
        counts = table[f"train_count:{target}"].to_numpy()
        objects[f"train_counts:{target}"] = np.concatenate([unknown, counts])
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
