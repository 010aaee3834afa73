"""A run directory: what is said of one that is damaged or empty."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from atrank_tf import UserError
from atrank_tf.run_directory import RunDirectory
from data_pipeline.core import json_files
from data_pipeline.manifest import sha256
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


@pytest.mark.parametrize("change", [{"epoch": 7}, {"checksum": "x"}, {"more": 3}])
@pytest.mark.parametrize("name", ["state.json", "settings.json"])
def test_a_file_that_was_changed(
    run: Path, tmp_path: Path, name: str, change: dict[str, Any]
) -> None:
    for file in ("settings.json", "state.json"):
        (tmp_path / file).write_bytes((run / file).read_bytes())
    values = json.loads((run / name).read_text())
    (tmp_path / name).write_text(json.dumps(values | change))
    copy = RunDirectory(tmp_path)
    read = {"state.json": copy.training_cost, "settings.json": copy.settings}[name]
    with pytest.raises(UserError, match=f"{name}: is not what was written there, by its checksum"):
        read()


STRANGERS: dict[str, dict[str, Any]] = {
    "a lambda": {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"function": {"class_name": "__lambda__", "config": {"code": "4wEA"}}},
    },
    "a function": {"module": "os", "class_name": "system", "config": "touch hacked"},
    "a class": {"module": "subprocess", "class_name": "Popen", "config": {"args": "touch hacked"}},
    "nothing": {},
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_a_strangers_checkpoint_runs_no_code(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Also one that was signed as a run's own."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, tmp_path / "run")
    best = tmp_path / "run/checkpoints/best.keras"
    with zipfile.ZipFile(best) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files["config.json"] = json.dumps(STRANGERS[kind]).encode()
    with zipfile.ZipFile(best, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    state = json.loads((tmp_path / "run/state.json").read_text())
    state["checksums"]["best"] = sha256(best)
    del state["checksum"]
    json_files.write(tmp_path / "run/state.json", json_files.sealed(state))
    with pytest.raises(UserError, match=r"best\.keras: cannot be loaded \("):
        RunDirectory("run").load_best()
    assert not (tmp_path / "hacked").exists()


def test_nothing_trained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no trained model \(no settings\.json there\)"):
        RunDirectory(tmp_path).load_best()
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(UserError, match=r"by a version before 0\.2\.0, .*: train it again"):
        RunDirectory(tmp_path).load_best()
    settings = {"version": __version__, "data_fingerprint": "x"}
    json_files.write(tmp_path / "settings.json", json_files.sealed(settings))
    with pytest.raises(UserError, match="holds no checkpoint yet"):
        RunDirectory(tmp_path).load_best()
