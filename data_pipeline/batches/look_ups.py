"""The look-ups of a batch's candidates, in the whole timelines of their block.

Timelines are sorted once a block, whatever `max_history` is.
"""

import tensorflow as tf

from data_pipeline import ragged
from data_pipeline.batches.block import Block
from data_pipeline.catalog import Catalog
from data_pipeline.recurrence import ID
from data_pipeline.schema import Schema
from data_pipeline.touches import Touches, Values, sort_touches, touch_keys

# By group and field the values of all objects.
ObjectValues = dict[str, dict[str, tf.Tensor | tf.RaggedTensor]]


def object_values(catalog: Catalog, schema: Schema) -> ObjectValues:
    """Returns the fingerprints of objects' ids and features, by object index.

    Args:
        catalog: What is known of the objects of each group.
        schema: The schema.

    Example:

    >>> schema, catalog = toy_schema_and_catalog()
    >>> sorted(object_values(catalog, schema)["item"])
    ['', 'category', 'tag']
    """
    values: ObjectValues = {}
    for group in schema.groups:
        objects = catalog[group.name]
        of_group = values.setdefault(group.name, {ID: tf.constant(objects["fingerprints"])})
        for feature in group.features:
            flat = tf.constant(objects[f"{feature.name}/fingerprints"], tf.int64)
            of_group[feature.name] = flat
            if feature.multivalued:
                splits = objects[f"{feature.name}/fingerprint_splits"]
                of_group[feature.name] = ragged.from_row_splits(flat, splits, validate=False)
    return values


def sort_block(block: Block, schema: Schema, values: ObjectValues) -> Touches:
    """Sorts all that the users of a block touched.

    Args:
        block: What `parse_timelines` returned.
        schema: The schema.
        values: What `object_values` returned.

    Example:

    >>> data = TimelineData(toy_data())
    >>> shard = tf.data.TFRecordDataset(str(data.directory / data.manifest.shards[0].file))
    >>> from data_pipeline.batches.block import parse_timelines
    >>> block = parse_timelines(next(iter(shard.batch(2))), data.schema)
    >>> found = sort_block(block, data.schema, object_values(data.catalog, data.schema))
    >>> bool(tf.reduce_all(found.keys[1:] >= found.keys[:-1]))
    True
    """
    keys, times = [], []
    for group in schema.groups:
        objects = block[f"{group.name}/object"]
        of_group, behaviors = touch_keys(
            schema,
            group,
            values_of(values[group.name], objects.flat_values),
            block[f"{group.name}/action"].flat_values,
            ragged.row_ids(objects),
        )
        keys.append(of_group)
        times.append(tf.gather(block[f"{group.name}/time"].flat_values, behaviors))
    return sort_touches(tf.concat(keys, axis=0), tf.concat(times, axis=0))


def values_of(of_group: Values, objects: tf.Tensor) -> Values:
    """Returns the values of some objects of a group, by field.

    Args:
        of_group: The values of all its objects.
        objects: Object indices, int64 [n].

    Example:

    >>> fingerprints = tf.constant([70, 80, 90], tf.int64)
    >>> values_of({ID: fingerprints}, tf.constant([2, 0], tf.int64))[ID].numpy().tolist()
    [90, 70]
    """
    return {field: tf.gather(values, objects) for field, values in of_group.items()}
