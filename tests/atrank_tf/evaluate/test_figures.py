"""Figures of slices."""

from pathlib import Path
from typing import Any

from atrank_tf.evaluate import figures


def test_a_picture_for_each_target_and_division(tmp_path: Path) -> None:
    summary: dict[str, Any] = {"users": 9, "auc": {"value": 0.75, "low": 0.7, "high": 0.8}}
    unmeasured = {"users": 0, "auc": None}
    divided = {"hour": {"08": summary, "09": unmeasured}, "tag": {}}
    report = {
        "name": "atrank",
        "targets": {"item": {"slices": divided}, "query": {"slices": {"hour": {"08": summary}}}},
        "baselines": {"runs/bpr": {"name": "bpr", "targets": {"item": {"slices": divided}}}},
    }
    paths = figures.write_slices(report, tmp_path)
    assert [path.name for path in paths] == ["slices.item.hour.png", "slices.query.hour.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
