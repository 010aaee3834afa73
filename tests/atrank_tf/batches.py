"""Hand-made batches for the models, as `data_pipeline` would give them."""

from typing import Any

import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

from data_pipeline import ragged
from data_pipeline.schema import Schema

QUERY_TIME = 1_600_000_000
Event = tuple[int, int, int]  # object index, action index, time
# user, query_time, history: {group: [Event]}, candidates: {group: [object index]}
Example = dict[str, Any]


def make_batch(examples: list[Example], schema: Schema) -> dict[str, Any]:
    """Lays examples out as a batch."""

    def as_ragged(rows: list[list[int]]) -> tf.RaggedTensor:
        flat = np.array([value for row in rows for value in row], np.int64)
        return ragged.from_row_lengths(flat, np.array([len(r) for r in rows], np.int64))

    histories = {
        group.name: [example["history"].get(group.name, []) for example in examples]
        for group in schema.groups
    }
    return {
        "user": tf.constant([example.get("user", 0) for example in examples], tf.int64),
        "query_time": tf.constant([example["query_time"] for example in examples], tf.int64),
        "history": {
            name: {
                key: as_ragged([[event[i] for event in events] for events in rows])
                for i, key in enumerate(("object", "action", "time"))
            }
            for name, rows in histories.items()
        },
        "candidates": {
            target: as_ragged([example["candidates"].get(target, []) for example in examples])
            for target in schema.target_names
        },
    }


def examples_of(schema: Schema, max_events: int = 6) -> st.SearchStrategy[Example]:
    """Any example: groups may be empty, candidates few, times up to far in the past."""

    def event(group: Any) -> st.SearchStrategy[Event]:
        return st.tuples(
            st.integers(0, group.num_objects - 1),
            st.integers(0, group.num_actions - 1),
            st.integers(0, QUERY_TIME - 1),
        )

    return st.fixed_dictionaries(
        {
            "user": st.integers(0, schema.num_users - 1),
            "query_time": st.just(QUERY_TIME),
            "history": st.fixed_dictionaries(
                {g.name: st.lists(event(g), max_size=max_events) for g in schema.groups}
            ),
            "candidates": st.fixed_dictionaries(
                {
                    t: st.lists(st.integers(0, schema.group(t).num_objects - 1), max_size=3)
                    for t in schema.target_names
                }
            ),
        }
    )
