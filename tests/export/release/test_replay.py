"""Replays: raw requests of held-out queries, and what model and session loader answer."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from atrank_tf import LastObject
from data_pipeline.batches.options import BatchOptions
from data_pipeline.core.errors import UserError
from data_pipeline.schema import Group, Schema
from export.release import replay

HUGE = 2**63 - 1
SCHEMA = Schema(
    (
        Group("item", actions=("buy", "view"), id_type="int", num_oov=2),
        Group("word", id_type="string", num_oov=1),
    ),
    ("item", "word"),
)


def rows_of(rows: list[list[int]]) -> tf.RaggedTensor:
    return tf.ragged.constant(rows, tf.int64)


def history(objects: list[list[int]]) -> dict[str, tf.RaggedTensor]:
    """Histories of some objects, with actions 1, 2, 1 ... at times 10, 20 ..."""
    actions = [[1 + i % 2 for i in range(len(row))] for row in objects]
    times = [[10 * (i + 1) for i in range(len(row))] for row in objects]
    return {"object": rows_of(objects), "action": rows_of(actions), "time": rows_of(times)}


# Four queries; object indices 0 and 1 of items, and 0 of words, stand for unknown objects.
BATCH: dict[str, Any] = {
    "user": tf.constant([1, 2, 3, 4], tf.int64),
    "query_time": tf.constant([50, 60, 70, HUGE], tf.int64),
    "history": {"item": history([[2, 1, 3], [], [2], [4]]), "word": history([[], [1], [0, 1], []])},
    "candidates": {
        "item": rows_of([[3, 9, 9], [], [4, 9], [4, 9]]),
        "word": rows_of([[], [1], [], []]),
    },
}
BATCH["recurrence"] = BATCH["candidates"]  # Not read by what answers here.


class Data(SimpleNamespace):
    """In place of prepared data: two test batches, both `BATCH`."""

    def batches(self, split: str, options: BatchOptions) -> Iterator[Any]:
        assert (split, options.max_history) == ("test", 100_000)  # All is sent.
        yield from ((BATCH, None), (BATCH, None))


@pytest.fixture
def held_out(tmp_path: Path) -> Any:
    (tmp_path / "objects").mkdir()
    for name, ids in (("item", [500, 7, HUGE]), ("word", ["é"])):
        pd.DataFrame({"object": ids}).to_parquet(tmp_path / f"objects/{name}.parquet")
    return Data(directory=tmp_path, schema=SCHEMA)


def test_requests_are_the_held_out_queries_with_raw_ids(held_out: Any) -> None:
    items, words, *_ = replay.replays(LastObject(SCHEMA), held_out, 3, max_requests=9)
    assert (items.target, words.target) == ("item", "word")
    inputs = items.inputs
    assert inputs["candidates"].tolist() == [[7], [HUGE], [HUGE]]  # The first, of those with any.
    assert inputs["num_candidates"].tolist() == [1, 1, 1]
    assert inputs["request_time"].tolist() == [50, 70, HUGE]
    assert inputs["item_length"].tolist() == [3, 1, 1]
    assert inputs["word_length"].tolist() == [0, 2, 0]
    assert inputs["item_objects"][0, :3].tolist() == [500, -1, 7]
    assert inputs["item_actions"][0, :3].tolist() == ["buy", "view", "buy"]
    assert inputs["item_times"][0, :3].tolist() == [10, 20, 30]
    assert inputs["item_objects"][2, 0] == HUGE
    assert inputs["word_objects"][1, :2].tolist() == ["\0unknown", "é"]
    assert "word_actions" not in inputs
    assert words.inputs["candidates"].tolist() == [["é"]]
    assert words.inputs["request_time"].tolist() == [60]


def test_every_scoring_verb_is_expected_to_answer_the_same(held_out: Any) -> None:
    items, words, *_ = replay.replays(LastObject(SCHEMA), held_out, 3, max_requests=9)
    one, zero = 1 / (1 + np.exp(-1)), 0.5  # Of a logit 1 for the newest object, 0 for others.
    for answered, scores in ((items, [one, zero, one]), (words, [one])):
        verbs = {"score", "score_candidates", "score_examples", "score_memory"}
        assert set(answered.expected) == verbs
        for expected in answered.expected.values():
            np.testing.assert_allclose(expected, scores, rtol=1e-6)


class Explained(LastObject):
    """Reads behavior b of batch row r with 10 r + b, the mean of two spaces."""

    can_explain = True

    def attention(self, history: Any, candidates: Any, query_time: Any) -> dict[str, np.ndarray]:
        weights = (10 * np.arange(4)[:, np.newaxis] + np.arange(5))[:, np.newaxis]
        return dict.fromkeys(candidates, np.stack([weights - 1, weights + 1]))


def test_an_explanation_has_a_weight_for_each_behavior(held_out: Any) -> None:
    items, words, *_ = replay.replays(Explained(SCHEMA), held_out, 3, max_requests=9)
    assert items.expected["explain"].tolist() == [0, 1, 2, 20, 21, 22, 30]  # Of both groups.
    assert words.expected["explain"].tolist() == [10]


@pytest.mark.parametrize(
    ("max_requests", "counts"), [(9, [3, 1, 3, 1]), (4, [3, 1, 1, 1]), (1, [1, 1])]
)
def test_no_more_requests_of_a_target_than_asked_for(
    held_out: Any, max_requests: int, counts: list[int]
) -> None:
    answered = list(replay.replays(LastObject(SCHEMA), held_out, 3, max_requests))
    assert [len(batch.inputs["candidates"]) for batch in answered] == counts
    assert [len(batch.expected["score"]) for batch in answered] == counts


def test_a_target_without_held_out_queries_is_an_error(
    held_out: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidates = {**BATCH["candidates"], "word": rows_of([[], [], [], []])}
    monkeypatch.setitem(BATCH, "candidates", candidates)
    with pytest.raises(
        UserError, match="no test target of 'word' to replay; train without"
    ) as caught:
        list(replay.replays(LastObject(SCHEMA), held_out, 3, 9))
    assert str(caught.value).startswith(f"{held_out.directory}: ")


def test_answers_stand_as_expectations_do() -> None:
    outputs = {
        "replay0/serving_default/score": np.array([0.1, 0.2]),
        "replay0/score_candidates/score": np.array([[0.3], [0.4]]),
        "replay0/score_examples/outputs": np.array([0.5, 0.6]),
        "replay0/explain/item_weights": np.array([[1.0, 2.0, 0.0], [3.0, 0.0, 0.0]]),
        "replay0/explain/word_weights": np.array([[0.0, 0.0], [4.0, 5.0]]),
    }
    inputs = {
        "request_time": np.array([1, 2]),
        "item_length": np.array([2, 1]),
        "word_length": np.array([0, 2]),
    }

    def answers(signature: str, verb: str) -> list[float]:
        return replay.answers(outputs, f"replay0/{signature}", verb, inputs, SCHEMA).tolist()

    assert answers("serving_default", "score") == [0.1, 0.2]
    assert answers("score_candidates", "score_candidates") == [0.3, 0.4]
    assert answers("score_examples", "score_examples") == [0.5, 0.6]
    assert answers("explain", "explain") == [1, 2, 3, 4, 5]  # Request by request, then by group.


@pytest.fixture
def interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shell script in place of Python: the session loader takes its time to start."""
    script = tmp_path / "interpreter"
    script.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    return script


def test_the_session_loader_gets_the_requests_and_its_outputs_come_back(
    interpreter: Path, tmp_path: Path
) -> None:
    texts = np.array([["é", "a longer one"], [b"zero\0", ""]], object)
    requests = {"replay0/score/request_time": np.array([HUGE]), "replay0/score/x": texts}
    np.savez(tmp_path / "answer.npz", **{"replay0/score/score": np.array([0.5])})
    interpreter.write_text(
        f'#!/bin/sh\necho "$1 $3" > {tmp_path}/told\n'
        f'cp "$4" {tmp_path}/asked.npz\ncp {tmp_path}/answer.npz "$5"\n'
    )
    outputs = replay.run_in_session(tmp_path / "export/1", requests)
    assert outputs.keys() == {"replay0/score/score"}
    assert outputs["replay0/score/score"].tolist() == [0.5]
    assert (tmp_path / "told").read_text() == f"-I {tmp_path}/export/1\n"
    with np.load(tmp_path / "asked.npz", allow_pickle=True) as asked:
        assert asked.keys() == requests.keys()
        assert all(asked[name].tolist() == values.tolist() for name, values in requests.items())


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("echo first >&2; echo 'why ' >&2; exit 1", "why"),
        ("exit 3", "no message"),
        ("echo why >&2; kill -9 $$", r"its process was killed; is there memory enough\?"),
        ("echo why >&2; kill -6 $$", "ended by signal 6, after: why"),
        ("kill -11 $$", "ended by signal 11, after: no message"),
    ],
)
def test_how_the_session_loader_ended_is_said_in_one_line(
    interpreter: Path, end: str, reason: str
) -> None:
    interpreter.write_text(f"#!/bin/sh\n{end}\n")
    expected = rf"^export/1: the session loader cannot run it: {reason}$"
    with pytest.raises(UserError, match=expected):
        replay.run_in_session(Path("export/1"), {})
