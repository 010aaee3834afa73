"""The harness of other libraries: the clock, the scores, whole files."""

import json
from pathlib import Path

import numpy as np

from benchmarks.other_libraries import harness
from benchmarks.protocol import Protocol
from data_pipeline import TimelineData


def test_other_libraries_are_scored_in_between_and_leave_whole_files(
    movies: TimelineData, tmp_path: Path
) -> None:
    Protocol(movies, max_history=5).write(tmp_path / "protocol.npz")
    arguments = [f"--protocol={tmp_path / 'protocol.npz'}", f"--output_dir={tmp_path / 'out'}"]
    options = harness.arguments("").parse_args([*arguments, "--epochs=2", "--seconds=1000"])
    protocol = harness.Protocol(options.protocol, max_history=5)
    recorder = harness.Recorder(
        options, protocol, 10, lambda split: np.zeros(len(protocol.candidates(split)[0]))
    )
    assert [recorder.trained(10) for _ in range(3)] == [False, False, True]  # One to warm up.
    recorder.write("mine", ("numpy",), {"batch_size": 3})
    result = json.loads((tmp_path / "out/result.json").read_text())
    assert [point["targets"] for point in result["curve"]] == [20]
    assert result["settings"]["batch_size"] == 3
    assert set(np.load(tmp_path / "out/scores.npz")) == {"validation_1", "test_1"}

    users = np.repeat(protocol.users[:1], 500)
    negatives = protocol.negatives(users, np.random.default_rng(0))
    touched = protocol.items[protocol.users == users[0]]
    assert set(negatives.tolist()) == set(range(1, protocol.num_trained + 1)) - set(
        touched.tolist()
    )
