"""The files of a data set: found, or what is missing is said."""

from pathlib import Path

import pytest

from data_pipeline.core.errors import UserError
from data_pipeline.recipes import RECIPES
from data_pipeline.recipes.files import find_one, require_dir


def test_a_directory_is_taken_as_it_is(tmp_path: Path) -> None:
    assert require_dir(tmp_path, "mine", "a.csv") is tmp_path


def test_no_directory_is_an_error_that_says_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"^--recipe=mine needs --input_dir: a directory that holds"
    ):
        require_dir(None, "mine", "a.csv")
    (tmp_path / "file").touch()
    for path in (tmp_path / "nothing", tmp_path / "file"):
        with pytest.raises(UserError) as caught:
            require_dir(path, "mine", "a.csv")
        assert str(caught.value) == f"{path}: is no directory; expected one that holds a.csv"


@pytest.mark.parametrize("recipe", ["amazon", "movielens"])
def test_recipes_of_files_need_a_directory(tmp_path: Path, recipe: str) -> None:
    with pytest.raises(UserError, match=f"--recipe={recipe} needs --input_dir"):
        RECIPES[recipe](None, tmp_path)
    with pytest.raises(UserError, match="is no directory; expected one that holds"):
        RECIPES[recipe](tmp_path / "no", tmp_path)


def test_the_one_file_of_several_patterns_is_found(tmp_path: Path) -> None:
    (tmp_path / "meta_Books.json.gz").touch()
    (tmp_path / "reviews_Books_5.json").touch()
    assert find_one(tmp_path, "meta_*.json", "meta_*.json.gz") == tmp_path / "meta_Books.json.gz"
    assert find_one(tmp_path, "reviews_*", "*_5.json") == tmp_path / "reviews_Books_5.json"
    assert find_one(tmp_path, "reviews_*") == tmp_path / "reviews_Books_5.json"


@pytest.mark.parametrize(
    ("names", "found"), [((), "none"), (("b.json", "a.json.gz"), r"a\.json\.gz, b\.json")]
)
def test_no_file_or_several_are_an_error_that_names_them(
    tmp_path: Path, names: tuple[str, ...], found: str
) -> None:
    (tmp_path / "other.csv").touch()
    for name in names:
        (tmp_path / name).touch()
    expected = rf": expected one file \*\.json or \*\.json\.gz, found {found}$"
    with pytest.raises(UserError, match=expected) as caught:
        find_one(tmp_path, "*.json", "*.json.gz")
    assert str(caught.value).startswith(f"{tmp_path}: ")
