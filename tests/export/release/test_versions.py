"""Version directories: they count up, appear whole, and go."""

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from atrank_tf import UserError
from export.release import versions


def test_versions_count_up_and_appear_whole(tmp_path: Path) -> None:
    for name in ("7", "notes", ".partial-1/saved_model/variables"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / ".partial-1/saved_model/variables/data").write_text("1")
    assert versions.publish(tmp_path / ".partial-1/saved_model", tmp_path) == tmp_path / "8"
    assert (tmp_path / "8/variables/data").read_text() == "1"
    assert list(versions.paths_by_number(tmp_path)) == [7, 8]
    assert versions.paths_by_number(tmp_path / "nothing") == {}
    with pytest.raises(FileNotFoundError):
        versions.publish(tmp_path / "no", tmp_path)
    with pytest.raises(UserError, match="model name 'a b': expected letters, digits"):
        versions.model_name(tmp_path / "a b")


def test_old_versions_are_pruned(tmp_path: Path) -> None:
    for name in ("1", "002", "10", "notes", ".pruned-0", ".partial-new", ".partial-old"):
        (tmp_path / name / "variables").mkdir(parents=True)
    (tmp_path / "3").symlink_to(tmp_path / "notes")
    os.utime(tmp_path / ".partial-old", (0, 0))  # Of an export that was killed.
    assert versions.prune(tmp_path, keep=5) == []
    assert versions.prune(tmp_path, keep=1) == [1, 2, 3]
    assert {p.name for p in tmp_path.iterdir()} == {"10", "notes", ".partial-new"}


def test_exports_at_once_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    def export(number: int) -> list[int]:
        published = []
        for turn in range(20):
            versions.clear(tmp_path)
            written = tmp_path / f"{versions.PARTIAL}{number}-{turn}"
            (written / "variables").mkdir(parents=True)
            published.append(int(versions.publish(written, tmp_path).name))
            versions.prune(tmp_path, keep=2)
        return published

    with ThreadPoolExecutor(4) as pool:
        published = list(pool.map(export, range(4)))
    assert all(numbers == sorted(numbers) for numbers in published)
    assert sorted(itertools.chain.from_iterable(published)) == list(range(1, 81))
    versions.clear(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"79", "80"}
