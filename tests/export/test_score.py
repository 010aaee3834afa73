"""Scoring of requests that lie in a file."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from data_pipeline.dataset import TimelineData
from export.score import score_file
from tests.export.inputs import REQUEST, inputs_of


def test_score_answers_line_by_line(
    saved_model: Path, data: TimelineData, tmp_path: Path, score: Any
) -> None:
    requests = [
        REQUEST,
        {**REQUEST, "candidates": []},
        {**REQUEST, "target": "query", "candidates": [3]},
    ]
    lines = [json.dumps(r, ensure_ascii=False) for r in requests]
    (tmp_path / "r.jsonl").write_text("\n".join([lines[0], "", *lines[1:]]) + "\n")
    answers = list(score_file(saved_model, tmp_path / "r.jsonl"))
    np.testing.assert_allclose(
        answers[0]["logits"], score(inputs_of(REQUEST, data.schema)), atol=1e-5
    )
    expected = 1 / (1 + np.exp(-np.array(answers[0]["logits"])))
    np.testing.assert_allclose(answers[0]["scores"], expected, atol=1e-6)
    assert answers[1] == {"scores": [], "logits": []}
    assert len(answers[2]["scores"]) == 1
