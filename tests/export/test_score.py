"""Scoring of requests that lie in a file."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_pipeline.core.errors import UserError
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


def test_a_damaged_model_is_told(saved_model: Path, tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text(json.dumps(REQUEST))
    for name in ("saved_model.pb", "variables/variables.index"):
        copy = tmp_path / name.replace("/", "-")
        shutil.copytree(saved_model, copy)
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(UserError, match=r"cannot be loaded \(.*\); export the run again"):
            list(score_file(copy, tmp_path / "r.jsonl"))
