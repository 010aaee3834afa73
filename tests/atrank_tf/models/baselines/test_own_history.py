"""Own history: a user's habits, compared with a count in plain Python."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from atrank_tf.models.baselines.own_history import OwnHistory
from data_pipeline.dataset import TimelineData
from tests.atrank_tf.batches import QUERY_TIME, make_batch

GAPS = [1, 60, 3600, 86_400, 30 * 86_400, 365 * 86_400]  # Far enough apart for float32.


@pytest.fixture(scope="module")
def model(data: TimelineData) -> OwnHistory:
    return OwnHistory(data.schema, data.catalog)


def random_examples(data: TimelineData, count: int) -> list[dict[str, Any]]:
    """Examples with all objects as candidates, of which users touched some again and again."""
    random = np.random.default_rng(0)
    examples = []
    for _ in range(count):
        history = {}
        for name, actions in (("item", 2), ("query", 1)):
            group = data.schema.group(name)
            known = random.integers(group.num_oov, group.num_objects, 4)
            gaps = sorted(random.choice(GAPS, random.integers(0, 12)), reverse=True)
            history[name] = [
                (int(random.choice(known)), int(random.integers(1, actions + 1)), QUERY_TIME - gap)
                for gap in gaps
            ]
        candidates = {t: [*range(data.schema.group(t).num_objects)] for t in history}
        examples.append({"query_time": QUERY_TIME, "history": history, "candidates": candidates})
    return examples


def test_it_ranks_by_count_then_recency_then_popularity(
    data: TimelineData, model: OwnHistory
) -> None:
    examples = random_examples(data, 12)
    scores = iter(model(make_batch(examples, data.schema)).numpy().tolist())
    for target in data.schema.target_names:
        popularity = data.catalog[target]["train_counts"].tolist()
        for example in examples:
            ranked = []
            for index in example["candidates"][target]:
                times = [t for o, _, t in example["history"][target] if o == index]
                key = (len(times), max(times, default=0), popularity[index])
                ranked.append((key, next(scores)))
            by_habit = [key for key, _ in sorted(ranked, key=lambda pair: pair[1])]
            assert by_habit == sorted(key for key, _ in ranked)
            # Equal only where all is equal.
            assert len({score for _, score in ranked}) == len({key for key, _ in ranked})
    assert next(scores, None) is None


def test_unknown_objects_have_no_habits(data: TimelineData, model: OwnHistory) -> None:
    known = data.schema.group("item").num_oov
    touched = [(0, 1, QUERY_TIME - 5), (known, 1, QUERY_TIME)]  # What is now is not before.
    example = {"query_time": QUERY_TIME, "history": {"item": touched}}
    example["candidates"] = {"item": [0, known, known + 1]}
    scores = model(make_batch([example], data.schema)).numpy()
    counts = data.catalog["item"]["train_counts"][[0, known, known + 1]]
    np.testing.assert_allclose(scores, np.log1p(counts) / 64, rtol=1e-5)
    assert scores.max() < 1


def test_it_needs_no_training_and_is_saved(
    data: TimelineData, model: OwnHistory, tmp_path: Path
) -> None:
    assert OwnHistory.looks_up()
    assert not model.is_trained
    assert not model.trainable_weights
    batch = make_batch(random_examples(data, 3), data.schema)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(batch), model(batch))
    assert loaded.get_config() == model.get_config()
