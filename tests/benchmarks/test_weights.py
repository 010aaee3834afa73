"""Other ways to store weights: in fewer bits, and as constants of the export's graph."""

from pathlib import Path

import numpy as np
import pytest

from atrank_tf.settings import Settings
from atrank_tf.training import train
from benchmarks import constant_weights, weight_precision
from data_pipeline.dataset import TimelineData
from export.export_model import export_model
from export.verify import Verification

TABLE = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)


def test_int8_rows_have_a_scale_each() -> None:
    table = TABLE * np.array([[1.0], [100.0], [0.0]] * 3, np.float32)
    rounded, size = weight_precision.as_int8_tables(table, is_table=True)
    largest = np.abs(table).max(axis=1, keepdims=True)
    assert (np.abs(rounded - table) <= largest / 254 * 1.001).all()
    assert np.abs(rounded - table).max() > 0
    assert all(len(np.unique(row)) <= 255 for row in rounded)
    assert size == 9 * 5 + 9 * 4
    kept, size = weight_precision.as_int8_tables(table, is_table=False)
    np.testing.assert_array_equal(kept, table)
    assert size == 9 * 5 * 4


def test_bfloat16_keeps_eight_bits() -> None:
    rounded, size = weight_precision.as_bfloat16(TABLE, is_table=True)
    np.testing.assert_allclose(rounded, TABLE, rtol=2**-8)
    assert (rounded != TABLE).any()
    assert size == 9 * 5 * 2


def test_what_is_measured(
    data: TimelineData,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lost(weight: np.ndarray, is_table: bool) -> weight_precision.Rounded:
        return np.zeros_like(weight), 0

    monkeypatch.setitem(weight_precision.PRECISIONS, "none", lost)
    run = tmp_path_factory.mktemp("run")
    settings = Settings(model="bpr", epochs=1, targets=["item"], model_settings={"width": 8})
    train(str(data.directory), str(run), settings)
    found = weight_precision.measure(str(run))
    assert [r["weights"] for r in found] == ["float32", "bfloat16", "int8 tables", "none"]
    sizes = [r["bytes"] for r in found]
    assert sizes[0] == 2 * sizes[1]
    assert sizes[2] < sizes[0]
    aucs = [r["auc"]["value"] for r in found]
    for r, auc in zip(found, aucs, strict=True):
        assert r["difference"]["value"] == pytest.approx(auc - aucs[0])
    assert aucs[0] > 0.55
    assert aucs[1:3] == pytest.approx([aucs[0]] * 2, abs=0.02)
    assert aucs[3] == 0.5
    assert sizes[3] == 0


def test_constants_take_the_place_of_variables(
    data: TimelineData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = []

    def export(*args: str) -> tuple[Path, Verification]:
        exported.append(export_model(*args))
        return exported[-1]

    monkeypatch.setattr(constant_weights, "export_model", export)
    for shape in ("HISTORIES", "CANDIDATES", "BATCHES"):
        monkeypatch.setattr(constant_weights, shape, (2,))
    settings = Settings(model="popularity", targets=["item"])
    train(str(data.directory), str(tmp_path), settings)
    size, found = constant_weights.measure(str(tmp_path), 0.1)
    (_, variables), (_, constants) = exported  # Verified: both score as the model does.
    assert variables.variable_bytes - constants.variable_bytes >= variables.weight_bytes
    assert size["constants"] != size["variables"]
    assert found["variables"] > 0 < found["constants"]
