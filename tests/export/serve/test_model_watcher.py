"""Versions come and go."""

import shutil
from pathlib import Path

import pytest

from export.serve import model_watcher
from export.serve.model_watcher import ModelWatcher
from tests.export.serve.loaded import Loaded


def test_versions_come_and_go(
    saved_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile = []

    def load(directory: Path) -> Loaded:
        meanwhile.append({n: state for n, (state, _) in watcher.states().items()})
        return Loaded(directory)

    monkeypatch.setattr(model_watcher, "Servable", load)
    base = tmp_path / "atrank"
    (base / "notes").mkdir(parents=True)
    (base / "99999999999999999999").mkdir()
    watcher = ModelWatcher("atrank", base)
    assert not watcher.refresh()
    (base / "00000001").symlink_to(saved_model)
    assert watcher.refresh()
    assert watcher.version == 1
    assert not watcher.refresh()
    (base / "2").mkdir()  # Its files are still being copied.
    assert not watcher.refresh()
    assert watcher.states()[2][0] == "END"
    assert watcher.version == 1
    with watcher.use("atrank") as servable:
        shutil.copytree(saved_model, base / "2", dirs_exist_ok=True)
        assert watcher.refresh()  # It changed: there is nothing to wait for.
        assert {n: state for n, (state, _) in watcher.states().items()} == {
            1: "UNLOADING",
            2: "AVAILABLE",
        }
        assert not servable.closed  # type: ignore[attr-defined]
    assert servable.closed  # type: ignore[attr-defined]
    assert list(watcher.states()) == [2]
    assert meanwhile[0] == {1: "LOADING"}
    assert meanwhile[-1] == {1: "AVAILABLE", 2: "LOADING"}
    shutil.rmtree(base / "2")  # Taken back.
    assert watcher.refresh()
    assert watcher.version == 1
    watcher.close()
