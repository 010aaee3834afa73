"""The export: what cannot be exported is no version."""

from pathlib import Path
from typing import Any

import keras
import pytest

from atrank_tf import UserError
from atrank_tf.run_directory import RunDirectory
from data_pipeline.dataset import TimelineData
from export import verify as verify_module
from export.export_model import export_model
from export.release import warmup


def write_nothing(archive: keras.export.ExportArchive, path: str, **_: Any) -> None:
    """In place of `write_out`."""
    Path(path).mkdir()


def test_models_without_a_history_cannot_be_exported(data: TimelineData, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.begin(
        {"model": "bpr", "groups": [], "loss": "bpr"},
        data.manifest.fingerprint,
        data.directory / "objects",
    )
    with pytest.raises(UserError, match="bpr knows users by id alone"):
        export_model(tmp_path / "run", tmp_path / "atrank")
    with pytest.raises(UserError, match="holds no trained model"):
        export_model(tmp_path / "nothing", tmp_path / "atrank")


def test_an_export_that_fails_verification_is_no_version(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise UserError("scores differ")

    # Whatever is written, and how, which takes its time.
    monkeypatch.setattr(keras.export.ExportArchive, "add_endpoint", lambda *_: None)
    monkeypatch.setattr(keras.export.ExportArchive, "write_out", write_nothing)
    monkeypatch.setattr(warmup, "requests", lambda *_: [])
    monkeypatch.setattr(verify_module, "verify", fail)
    with pytest.raises(UserError, match="scores differ"):
        export_model(run, tmp_path / "atrank")
    assert list((tmp_path / "atrank").iterdir()) == []
