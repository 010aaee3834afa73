"""A run directory: what is said of one that is damaged or empty."""

import json
from pathlib import Path
from typing import Any

import pytest

from atrank_tf import UserError
from atrank_tf.run_directory import RunDirectory
from data_pipeline.version import __version__


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("checkpoints/best.keras", "is not the checkpoint that was saved there; train again in an"),
        ("settings.json", "is not JSON"),
        ("state.json", "is not JSON"),
    ],
)
def test_a_damaged_run(run: Path, tmp_path: Path, name: str, expected: str) -> None:
    copy = tmp_path / "run"
    copy.mkdir()
    (copy / "checkpoints").mkdir()
    for file in ("settings.json", "state.json", "checkpoints/best.keras"):
        (copy / file).write_bytes((run / file).read_bytes())
    (copy / name).write_text("{")
    with pytest.raises(UserError, match=expected):
        RunDirectory(copy).load_best()


@pytest.mark.parametrize(
    "change", [{"epoch": -1}, {"batch": "7"}, {"seconds": None}, {"checksums": 3}]
)
def test_a_damaged_state(run: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    for name in ("settings.json", "state.json"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    state = json.loads((run / "state.json").read_text())
    (tmp_path / "state.json").write_text(json.dumps(state | change))
    with pytest.raises(UserError, match=r"state\.json: is damaged: it is no state of a training"):
        RunDirectory(tmp_path).training_cost()


def test_nothing_trained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no trained model \(no settings\.json there\)"):
        RunDirectory(tmp_path).load_best()
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(UserError, match=r"by a version before 0\.2\.0, .*: train it again"):
        RunDirectory(tmp_path).load_best()
    (tmp_path / "settings.json").write_text(
        json.dumps({"version": __version__, "data_fingerprint": "x"})
    )
    with pytest.raises(UserError, match="holds no checkpoint yet"):
        RunDirectory(tmp_path).load_best()
