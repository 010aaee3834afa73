"""The serving graph, run by the session loader: its scores are the Keras model's."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from atrank_tf.models.registry import make_model, model_names
from atrank_tf.run_directory import RunDirectory
from data_pipeline.dataset import TimelineData
from export.graph.inputs import RawInputs
from export.graph.scorer import Scorer
from tests.atrank_tf.batches import make_batch
from tests.conftest import DAY, START
from tests.export.inputs import (
    HISTORY,
    QUERY_TIME,
    REQUEST,
    changed,
    example,
    inputs_of,
    many_inputs,
)


def test_scores_are_the_keras_models(run: Path, data: TimelineData, score: Any) -> None:
    model = RunDirectory(run).load_best()
    ids = {}
    for group in data.schema.groups:
        known = pq.read_table(run / f"objects/{group.name}.parquet")["object"].to_pylist()
        ids[group.name] = {o: group.num_oov + i for i, o in enumerate(known)}
    actions = {"buy": 1, "view": 2}
    history = {
        name: [
            (ids[name][e["object"]], actions.get(e.get("action", ""), 1), e["time"]) for e in events
        ]
        for name, events in HISTORY.items()
    }
    rows = [ids["item"][c] for c in REQUEST["candidates"]]
    batch = make_batch(
        [{"query_time": QUERY_TIME, "history": history, "candidates": {"item": rows}}], data.schema
    )
    np.testing.assert_allclose(score(inputs_of(REQUEST, data.schema)), model(batch), atol=1e-5)


def test_many_candidates_are_scored_like_one_a_row(
    data: TimelineData, ask: Any, score: Any
) -> None:
    expected = score(inputs_of(REQUEST, data.schema))
    inputs = many_inputs(REQUEST, data.schema)
    outputs = ask("score_candidates", inputs)
    np.testing.assert_allclose(outputs["logit"], expected[np.newaxis], atol=1e-5)
    np.testing.assert_allclose(outputs["score"], 1 / (1 + np.exp(-outputs["logit"])), atol=1e-6)

    state = ask("encode", {n: v for n, v in inputs.items() if "candidates" not in n})
    candidates = {n: inputs[n] for n in ("candidates", "num_candidates", "request_time")}
    again = ask("score_memory", {**state, **candidates})
    np.testing.assert_allclose(again["logit"], outputs["logit"], atol=1e-6)

    # Two users at once, of whom the first has fewer candidates and the second no history.
    second = {**REQUEST, "history": {}}
    both = {
        name: np.concatenate([value, value])
        for name, value in {**inputs, "num_candidates": np.array([2])}.items()
    }
    both |= {"item_length": np.array([3, 0]), "query_length": np.array([1, -4])}
    both["num_candidates"][1] = 7
    outputs = ask("score_candidates", both)
    np.testing.assert_allclose(outputs["logit"][0, :2], expected[:2], atol=1e-5)
    assert outputs["score"][0, 2] == 0
    assert outputs["logit"][0, 2] == np.finfo(np.float32).min
    np.testing.assert_allclose(
        outputs["logit"][1], score(inputs_of(second, data.schema)), atol=1e-5
    )


def test_examples_are_scored_like_rows(data: TimelineData, ask: Any, score: Any) -> None:
    whole = {
        f"{group}_{name}s": [event[name] for event in events]
        for group, events in HISTORY.items()
        for name in events[0]
    }
    candidate = {"candidate": [110], "request_time": [QUERY_TIME]}
    cases = [
        ({**whole, **candidate}, REQUEST["history"]),
        (candidate, {}),
        # Where columns are of different lengths, the shortest tells.
        ({**whole, **candidate, "item_times": whole["item_times"][:1], "query_times": []},
         {"item": HISTORY["item"][:1]}),
    ]  # fmt: skip
    serialized = np.array([example(**features) for features, _ in cases], object)
    outputs = ask("score_examples", {"inputs": serialized})
    for number, (_, history) in enumerate(cases):
        request = {**REQUEST, "candidates": [110], "history": history}
        expected = 1 / (1 + np.exp(-score(inputs_of(request, data.schema))))
        np.testing.assert_allclose(outputs["outputs"][number], expected[0], atol=1e-6)
    assert set(outputs) == {"outputs"}  # Servers refuse to regress by a signature of more.
    nothing = ask("score_examples", {"inputs": np.array([b""], object)})
    assert np.isfinite(nothing["outputs"]).all()


def test_an_explanation_stands_where_the_behavior_stood(
    run: Path, data: TimelineData, ask: Any, tmp_path: Path
) -> None:
    events = [{"object": 101 + i, "action": "buy", "time": START + (i + 1) * DAY} for i in range(5)]
    late = {"object": 101, "action": "buy", "time": QUERY_TIME}
    shuffled = [events[3], late, events[0], events[4], events[1], events[2]]
    request = {
        "time": QUERY_TIME,
        "history": {"item": shuffled, "query": HISTORY["query"]},
        "candidates": [110],
    }
    inputs = inputs_of(request, data.schema)
    explained = ask("explain", inputs)
    item, query = explained["item_weights"][0], explained["query_weights"][0]
    # Neither what came too late nor what is older than the newest three.
    assert (item > 0).tolist() == [True, False, False, True, False, True]
    assert item.sum() + query.sum() == pytest.approx(1, abs=1e-5)

    model = RunDirectory(run).load_best()
    raw = RawInputs(data.schema, run / "objects", tmp_path, max_history=3)
    tensors = {name: tf.constant(value) for name, value in inputs.items()}
    history, (candidate, _) = raw.newest(raw.history(tensors)), raw.candidate(tensors, "item")
    weights = model.attention(history, {"item": candidate}, tensors["request_time"])["item"]
    of_events = {
        group: weights.numpy()[:, 0, 0, positions].mean(axis=0)
        for group, positions in (("item", slice(0, 3)), ("query", slice(3, 4)))
    }
    np.testing.assert_allclose(item[[5, 0, 3]], of_events["item"], atol=1e-6)
    np.testing.assert_allclose(query, of_events["query"], atol=1e-6)

    nothing = ask("explain", changed(inputs, item_length=[0], query_length=[0]))
    assert not nothing["item_weights"].any()
    assert not nothing["query_weights"].any()


@pytest.mark.parametrize("name", sorted(set(model_names()) - {"atrank", "bpr"}))
def test_every_model_is_asked_by_the_same_code(
    name: str, data: TimelineData, run: Path, tmp_path: Path
) -> None:
    raw = RawInputs(data.schema, run / "objects", tmp_path, max_history=3)
    scorer = Scorer(make_model(name, data.schema, data.catalog), raw)
    rows = {k: tf.constant(v) for k, v in inputs_of(REQUEST, data.schema).items()}
    several = {k: tf.constant(v) for k, v in many_inputs(REQUEST, data.schema).items()}
    expected = scorer.score(rows, "item")["logit"]
    logits = scorer.score_candidates(several, "item")["logit"]
    np.testing.assert_allclose(logits[0], expected, atol=1e-5)
    state = scorer.encode(several)
    assert set(state) == set(scorer.state.specs)
    for key, spec in scorer.state.specs.items():
        assert spec.is_compatible_with(state[key]), key
    again = scorer.score_memory({**several, **state}, "item")["logit"]
    np.testing.assert_allclose(again, logits, atol=1e-6)


@st.composite
def rows(draw: st.DrawFn, width: int = 4) -> dict[str, list]:
    """Any row that the signature's types allow."""
    numbers = (
        st.integers(-(2**63), 2**63 - 1) | st.integers(95, 145) | st.integers(START, QUERY_TIME)
    )

    def list_of(values: st.SearchStrategy) -> list:
        return draw(st.lists(values, min_size=width, max_size=width))

    row = {}
    for name in ("item", "query"):
        row[f"{name}_objects"] = list_of(numbers)
        row[f"{name}_times"] = list_of(numbers)
        row[f"{name}_length"] = draw(st.one_of(st.integers(-3, 7), numbers))
    row["item_actions"] = list_of(st.sampled_from(["buy", "view", "", "\0", "é"]))
    row["candidates"] = list_of(numbers)
    row["num_candidates"] = draw(st.one_of(st.integers(-3, 7), numbers))
    return {**row, "candidate": draw(numbers), "request_time": draw(numbers)}


@given(st.lists(rows(), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_any_row_gets_an_answer_that_its_neighbours_do_not_change(
    ask: Any, several: list[dict[str, list]]
) -> None:
    def answers(chosen: list[dict[str, list]]) -> dict[str, np.ndarray]:
        columns = {name: [row[name] for row in chosen] for name in chosen[0]}
        actions = np.array(columns.pop("item_actions"), object)
        inputs = {"item_actions": actions, **{n: np.array(c) for n, c in columns.items()}}
        candidates = {name: inputs.pop(name) for name in ("candidates", "num_candidates")}
        candidate = inputs.pop("candidate")
        query_time = {"request_time": inputs["request_time"]}
        state = ask("encode", inputs)
        outputs = {
            "serving_default": ask("serving_default", {**inputs, "candidate": candidate}),
            "explain": ask("explain", {**inputs, "candidate": candidate}),
            "score_candidates": ask("score_candidates", {**inputs, **candidates}),
            "score_memory": ask("score_memory", {**state, **candidates, **query_time}),
        }
        return {f"{n} {key}": v for n, out in outputs.items() for key, v in out.items()}

    together = answers(several)
    assert all(np.isfinite(values).all() for values in together.values())
    alone = [answers([row]) for row in several]
    for name, values in together.items():
        expected = np.concatenate([answer[name] for answer in alone])
        np.testing.assert_allclose(values, expected, atol=1e-5, err_msg=name)
