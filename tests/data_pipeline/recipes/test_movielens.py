"""MovieLens, on files in the formats of the real data sets."""

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from data_pipeline.core.errors import UserError
from data_pipeline.recipes import RECIPES
from data_pipeline.recipes.movielens import GENRES_100K
from tests.data_pipeline.recipes.prepared import prepared


def write_movielens(path: Path, form: str) -> None:
    ratings = [(1, 10, 5, 100), (1, 11, 3, 200), (2, 10, 4, 100), (2, 12, 5, 300), (2, 11, 1, 400)]
    movies = [(10, "Heat (1995)", "Action|Crime"), (11, "Big (1988)", "Comedy"), (12, "Odd", "")]
    if form == "100k":
        (path / "u.data").write_text("".join("\t".join(map(str, r)) + "\n" for r in ratings))
        lines = []
        for movie, title, genres in movies:
            flags = [str(int(g in genres.split("|"))) for g in GENRES_100K]
            lines.append("|".join([str(movie), title, "", "", "", *flags]) + "\n")
        (path / "u.item").write_text("".join(lines), encoding="latin-1")
    elif form == "1m":
        (path / "ratings.dat").write_text("".join("::".join(map(str, r)) + "\n" for r in ratings))
        (path / "movies.dat").write_text("".join("::".join(map(str, m)) + "\n" for m in movies))
    else:
        names = ["userId", "movieId", "rating", "timestamp"]
        pd.DataFrame(ratings, columns=names).to_csv(path / "ratings.csv", index=False)
        table = pd.DataFrame(movies, columns=["movieId", "title", "genres"])
        table = table.replace({"genres": {"": "(no genres listed)"}})
        table.to_csv(path / "movies.csv", index=False)


@pytest.mark.parametrize("form", ["100k", "1m", "latest"])
def test_movielens_in_every_format(tmp_path: Path, form: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    write_movielens(source, form)
    schema, manifest, out = prepared("movielens", source, tmp_path)
    assert manifest.events == {"movie": 5}
    group = schema.group("movie")
    assert group.actions == ("rate_1", "rate_3", "rate_4", "rate_5")
    objects = pq.read_table(out / "objects/movie.parquet").to_pylist()
    assert {o["object"] for o in objects} == {10, 11, 12}
    lengths = {o["object"]: len(o["feature:genre"]) for o in objects}
    assert lengths[12] == 0
    assert lengths[11] == 1


def test_movielens_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected a directory that holds u\.data and u\.item"):
        RECIPES["movielens"](tmp_path, tmp_path)
    (tmp_path / "u.data").write_text("1\t2\t3\t4\n")
    with pytest.raises(UserError, match=r"u\.item: cannot be read \(No such file"):
        RECIPES["movielens"](tmp_path, tmp_path)
    (tmp_path / "u.item").write_text("2|Heat (1995)||||" + "|".join("0" * 19) + "\n")
    (tmp_path / "u.data").write_text("1\t2\t3\t4\n1\t2\tgood\t4\n")
    with pytest.raises(UserError, match=r"u\.data: row 2: rating 'good': expected a number"):
        RECIPES["movielens"](tmp_path, tmp_path)


def test_movielens_ids_of_any_size(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "u.item").write_text("2|Heat (1995)||||" + "|".join("0" * 19) + "\n")
    (source / "u.data").write_text(f"{10**30}\t2\t3\t881250949\n1\t2\t3\t881250949\n")
    _, manifest, _ = prepared("movielens", source, tmp_path)
    assert manifest.users == 2
