"""Warm-up requests: made up of any schema, written and read."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_pipeline.core.errors import UserError
from data_pipeline.schema import Group, Schema
from export.protocol.request import Inputs
from export.release import warmup

DAY_MS = 86_400_000
SCHEMA = Schema(
    (
        Group("item", actions=("buy", "view"), id_type="int"),
        Group("word", id_type="string"),
    ),
    ("item", "word"),
    time_unit="ms",
)


def made_up(directory: Path, max_history: int, **ids: list) -> dict[str, list[Inputs]]:
    """The inputs by target, where these are the known objects of each group."""
    for name, values in ids.items():
        pd.DataFrame({"object": values}).to_parquet(directory / f"{name}.parquet")
    by_target: dict[str, list[Inputs]] = {}
    for target, inputs in warmup.requests(SCHEMA, directory, max_history):
        by_target.setdefault(target, []).append(inputs)
    return by_target


def test_every_target_has_a_full_request_and_an_empty_one(tmp_path: Path) -> None:
    by_target = made_up(tmp_path, 3, item=list(range(500, 700)), word=["a", "b"])
    assert list(by_target) == ["item", "word"]
    for target, candidates in (("item", list(range(500, 600))), ("word", ["a", "b"])):
        full, empty = by_target[target]
        assert full["candidates"].tolist() == [candidates]
        assert full["num_candidates"].tolist() == [len(candidates)]
        assert full["request_time"].tolist() == empty["request_time"].tolist() == [3 * DAY_MS]
        assert full["item_objects"].tolist() == [[500, 501, 502]]
        assert full["item_actions"].tolist() == [["buy", "view", "buy"]]
        assert full["item_times"].tolist() == [[0, DAY_MS, 2 * DAY_MS]]  # Before the query.
        assert full["word_objects"].tolist() == [["a", "b", "a"]]
        assert empty["candidates"].tolist() == [candidates[:1]]
        assert (empty["item_length"].tolist(), empty["word_length"].tolist()) == ([0], [0])


def test_groups_without_a_known_object_are_asked_for_unknown_ones(tmp_path: Path) -> None:
    by_target = made_up(tmp_path, 2, item=[], word=[])
    assert by_target["item"][0]["candidates"].tolist() == [[-1]]
    assert by_target["item"][0]["item_objects"].tolist() == [[-1, -1]]
    assert by_target["word"][0]["candidates"].tolist() == [[""]]
    assert by_target["word"][0]["word_length"].tolist() == [2]


def test_huge_ids_are_exact(tmp_path: Path) -> None:
    by_target = made_up(tmp_path, 1, item=[2**63 - 1], word=["é"])
    assert by_target["item"][0]["candidates"].tolist() == [[2**63 - 1]]


def test_requests_are_read_as_they_were_written(tmp_path: Path) -> None:
    encode = [{"request_time": np.array([2**63 - 1])}, {"request_time": np.array([0, 1])}]
    texts = np.array([["é", ""]], object)
    score: list[Inputs] = [{"item": texts, "none": np.zeros((1, 0), np.float32)}]
    path = tmp_path / warmup.FILE_NAME
    warmup.write(path, {"encode": encode, "score": score, "unasked": []}, "mine")
    read = warmup.read(path)
    assert [signature for signature, _ in read] == ["encode", "encode", "score"]
    assert [inputs["request_time"].tolist() for _, inputs in read[:2]] == [[2**63 - 1], [0, 1]]
    inputs = read[2][1]
    assert inputs["item"].tolist() == [["é".encode(), b""]]
    assert (inputs["none"].shape, inputs["none"].dtype) == ((1, 0), np.float32)


@pytest.mark.parametrize("damage", ["changed", "cut off"])
def test_a_damaged_file_is_reported(tmp_path: Path, damage: str) -> None:
    path = tmp_path / warmup.FILE_NAME
    warmup.write(path, {"encode": [{"request_time": np.array([5])}]}, "mine")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content if damage == "changed" else content[:-1])
    with pytest.raises(UserError, match="requests: is damaged: a record does not match its") as e:
        warmup.read(path)
    assert str(path) in str(e.value)
