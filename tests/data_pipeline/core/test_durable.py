"""Directories are exchanged whole, and one process writes at a time."""

import subprocess
import sys
from pathlib import Path

import pytest

from data_pipeline.core import durable
from data_pipeline.core.errors import UserError


def directory(path: Path, text: str) -> Path:
    path.mkdir()
    (path / "file").write_text(text)
    return path


def test_what_was_there_is_replaced(tmp_path: Path) -> None:
    old, new = directory(tmp_path / "data", "old"), directory(tmp_path / "new", "new")
    durable.exchange(new, old)
    assert (old / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


class Interrupted(BaseException):
    pass


@pytest.mark.parametrize("at", [1, 2])
def test_an_interrupted_exchange_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    old, new = directory(tmp_path / "data", "old"), directory(tmp_path / "new", "new")
    rename, calls = Path.rename, []

    def interrupted(path: Path, target: Path) -> Path:
        calls.append(path)
        if len(calls) == at:
            raise Interrupted
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", interrupted)
        with pytest.raises(Interrupted):
            durable.exchange(new, old)
    assert (old / "file").read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"data", "new"}


def test_what_a_killed_exchange_put_aside_is_brought_back(tmp_path: Path) -> None:
    directory(tmp_path / ".data.replaced", "old")
    durable.restore(tmp_path / "data")
    assert (tmp_path / "data/file").read_text() == "old"
    directory(tmp_path / ".data.replaced", "older")
    durable.restore(tmp_path / "data")
    assert (tmp_path / "data/file").read_text() == "old"


HOLDER = """
import sys, time
from pathlib import Path
from data_pipeline.core import durable
with durable.locked(Path(sys.argv[1]), "runs/a"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_is_of_one_process_and_ends_with_it(tmp_path: Path) -> None:
    lock = tmp_path / "run/.lock"
    line = [sys.executable, "-c", HOLDER, str(lock)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        expected = f"runs/a: process {process.pid} is writing it; wait for it, or choose another"
        with pytest.raises(UserError, match=expected), durable.locked(lock, "runs/a"):
            pass
        process.kill()
    with durable.locked(lock, "runs/a"):
        assert lock.read_text().strip().isdecimal()
    assert not lock.exists()
