"""A user state that a client sends back."""

from typing import Any

import numpy as np

from data_pipeline.dataset import TimelineData
from tests.export.inputs import REQUEST, many_inputs


def test_a_state_of_no_numbers_scores_nothing(data: TimelineData, ask: Any) -> None:
    inputs = many_inputs(REQUEST, data.schema)
    state = ask("encode", {n: v for n, v in inputs.items() if "candidates" not in n})
    candidates = {n: inputs[n] for n in ("candidates", "num_candidates", "request_time")}
    both = {n: np.concatenate([v, v]) for n, v in {**state, **candidates}.items()}
    expected = ask("score_memory", both)
    (name, *_) = (n for n, v in state.items() if v.dtype == np.float32)
    for value in (np.nan, np.inf, 3e38):
        broken = {**both, name: both[name].copy()}
        broken[name][1] = value
        outputs = ask("score_memory", broken)
        assert np.isfinite(outputs["logit"]).all()
        np.testing.assert_allclose(outputs["logit"][0], expected["logit"][0], atol=1e-6)
