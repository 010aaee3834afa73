"""A loaded version: deadlines, and files that are damaged."""

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from data_pipeline.dataset import TimelineData
from export.protocol.errors import ServingError
from export.serve.servable import Servable
from tests.export.inputs import REQUEST, changed, many_inputs


def test_a_run_ends_with_its_deadline(data: TimelineData, ask: Any) -> None:
    inputs = many_inputs(REQUEST, data.schema)
    expected = ask("score_candidates", inputs)["logit"]
    long = changed(inputs, candidates=[[110] * 200_000], num_candidates=[200_000])
    with pytest.raises(ServingError) as caught:
        ask("score_candidates", long, (), time.monotonic() - 1)
    assert caught.value.code.name == "DEADLINE_EXCEEDED"
    logits = ask("score_candidates", inputs, (), time.monotonic() + 60)["logit"]
    np.testing.assert_array_equal(logits, expected)


def test_half_a_vocabulary_is_not_loaded(saved_model: Path, tmp_path: Path) -> None:
    shutil.copytree(saved_model, tmp_path / "1")
    path = tmp_path / "1/assets/item_objects.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Invalid vocab_size in .*but got 2"):
        Servable(tmp_path / "1")
