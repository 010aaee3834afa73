"""What a server is sent, whatever it is, becomes what the model reads."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import tensorflow as tf

from atrank_tf import LastObject
from data_pipeline.dataset import TimelineData
from export.graph.inputs import RawInputs
from export.graph.scorer import Scorer
from tests.conftest import DAY, START
from tests.export.inputs import HISTORY, QUERY_TIME, REQUEST, changed, inputs_of, many_inputs
from tests.exports import Inputs


def test_what_the_graph_handles(data: TimelineData, score: Any) -> None:
    base = inputs_of({**REQUEST, "candidates": [110]}, data.schema)
    expected = score(base)
    empty = score(inputs_of({**REQUEST, "history": {}, "candidates": [110]}, data.schema))
    assert np.isfinite(expected).all()
    assert abs(expected - empty) > 1e-3

    # A server pads with the first element, to any width; lengths tell what is real.
    padded = {
        name: np.concatenate([value, np.repeat(value[:, :1], 4, axis=1)], axis=1)
        if value.ndim == 2
        else value
        for name, value in base.items()
    }
    np.testing.assert_allclose(score(padded), expected, atol=1e-6)
    nothing = {"item_length": [0], "query_length": [0]}
    np.testing.assert_allclose(score(changed(base, **nothing)), empty, atol=1e-6)
    negative = {"item_length": [-7], "query_length": [-1]}
    np.testing.assert_allclose(score(changed(base, **negative)), empty, atol=1e-6)
    beyond = {"item_length": [99], "query_length": [2**40]}
    np.testing.assert_allclose(score(changed(base, **beyond)), expected, atol=1e-6)

    # What happens at the request or after it is not seen; nor is a time below 0.
    for at in (QUERY_TIME, QUERY_TIME + 5, -1):
        late = changed(base, item_times=[[at] * 3], query_times=[[at]])
        np.testing.assert_allclose(score(late), empty, atol=1e-6)

    # The order of the behaviors does not matter.
    backwards = {n: v[:, ::-1] if v.ndim == 2 else v for n, v in base.items()}
    np.testing.assert_allclose(score(backwards), expected, atol=1e-6)

    # Unknown objects and actions have rows of their own.
    unknown = changed(base, item_objects=[[1, 2, 3]], item_actions=[["", "?", "steal"]])
    assert np.isfinite(score(unknown)).all()
    assert np.isfinite(score(changed(base, candidate=[2**62]))).all()


def test_columns_that_do_not_fit_leave_neighbours_alone(data: TimelineData, ask: Any) -> None:
    """A server pads each input to a width of its own when it joins requests."""
    inputs = many_inputs(REQUEST, data.schema)
    expected = ask("score_candidates", inputs)
    state = ask("encode", {n: v for n, v in inputs.items() if "candidates" not in n})
    candidates = {n: inputs[n] for n in ("candidates", "num_candidates", "request_time")}

    def joined(request: Inputs, name: str) -> Inputs:
        """The request, and one like it but that a column is wider by two."""
        wide = {n: np.concatenate([v, v]) for n, v in request.items()}
        wide[name] = np.concatenate([wide[name], wide[name][:, :1], wide[name][:, :1]], axis=1)
        return wide

    for name in ("item_objects", "item_actions", "item_times", "query_objects", "query_times"):
        outputs = ask("score_candidates", joined(inputs, name))
        np.testing.assert_allclose(outputs["logit"][:1], expected["logit"], atol=1e-5)
    padded = [n for n, v in state.items() if v.ndim > 1]
    assert len(padded) > 1
    for name in padded:
        outputs = ask("score_memory", joined({**state, **candidates}, name))
        np.testing.assert_allclose(outputs["logit"][:1], expected["logit"], atol=1e-5)


def test_models_that_read_the_order_get_that_of_the_timelines(
    data: TimelineData, run: Path, tmp_path: Path
) -> None:
    raw = RawInputs(data.schema, run / "objects", tmp_path, max_history=3)
    scorer = Scorer(LastObject(data.schema), raw)
    # The last of one instant is the last object index, wherever a request puts it.
    known = pq.read_table(run / "objects/item.parquet")["object"].to_pylist()
    first, last = sorted([102, 105], key=known.index)
    for events in (HISTORY["item"], HISTORY["item"][::-1]):
        request = {
            "time": QUERY_TIME,
            "history": {"item": events},
            "candidates": [101, first, last],
        }
        inputs = {k: tf.constant(v) for k, v in inputs_of(request, data.schema).items()}
        assert scorer.score(inputs, "item")["logit"].numpy().tolist() == [0.0, 0.0, 1.0]


def test_the_newest_are_encoded_and_candidates_looked_up_in_all(
    data: TimelineData, score: Any, run: Path, tmp_path: Path
) -> None:
    events = [{"object": 100 + i, "action": "buy", "time": START + i * DAY} for i in range(30)]
    whole = {"time": QUERY_TIME, "history": {"item": events}, "candidates": [110]}
    newest = {**whole, "history": {"item": events[-3:]}}
    raw = RawInputs(data.schema, run / "objects", tmp_path, max_history=3)
    inputs = inputs_of(whole, data.schema)
    history = raw.history({name: tf.constant(value) for name, value in inputs.items()})
    assert history["item"]["time"].to_list() == [[event["time"] for event in events]]
    encoded = raw.newest(history)["item"]["time"].to_list()
    assert encoded == [[event["time"] for event in events[-3:]]]
    # 110 is among the older ones.
    difference = score(inputs) - score(inputs_of(newest, data.schema))
    assert abs(difference).item() > 0.01


def test_no_rows_at_all(data: TimelineData, score: Any) -> None:
    base = inputs_of(REQUEST, data.schema)
    assert score({name: value[:0] for name, value in base.items()}).shape == (0,)
