"""MovieLens, in the formats that GroupLens gives it in: 100k, 1m and latest."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_pipeline.core.errors import UserError
from data_pipeline.recipes.files import require_dir
from data_pipeline.schema import Columns, Feature, Group, Schema

GENRES_100K = [
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
]
_RATING_COLUMNS = ["user", "movie", "rating", "time"]
_HOLDS = "u.data and u.item, or ratings.dat and movies.dat, or ratings.csv and movies.csv"


def build(input_dir: Path | None, work_dir: Path) -> Schema:
    """Makes the tables of one group, movie; a rating's value is the action.

    Any rating is a target. A user's last query time is the test's, the one before it the
    validation's.

    Args:
        input_dir: Directory of the unpacked archive.
        work_dir: Where the tables are written.

    Returns:
        The schema; its paths are relative to `work_dir`.

    Raises:
        UserError: The directory holds none of the formats, or a file cannot be parsed.

    Example:

    >>> _ = (tmp / "ratings.csv").write_text("user,movie,rating,time\\n7,5,4.5,100\\n")
    >>> _ = (tmp / "movies.csv").write_text("movie,title,genre\\n5,Heat (1995),Action|Crime\\n")
    >>> build(tmp, tmp).group("movie").actions
    ('rate_4_5',)
    """
    source = require_dir(input_dir, "movielens", _HOLDS)
    readers = {"u.data": _read_100k, "ratings.dat": _read_1m, "ratings.csv": _read_latest}
    name = next((name for name in readers if (source / name).exists()), None)
    if name is None:
        raise UserError(f"{source}: expected a directory that holds {_HOLDS}")
    try:
        ratings, movies = readers[name](source)
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise UserError(f"{source}: cannot be parsed: {error}") from error
    ratings["rating"] = _numbers(ratings["rating"], source / name)
    values = sorted(ratings["rating"].unique())
    actions = {value: f"rate_{value:g}".replace(".", "_") for value in values}
    ratings = ratings.assign(action=ratings["rating"].map(actions)).drop(columns="rating")
    ratings.to_parquet(work_dir / "ratings.parquet")
    year = movies["title"].str.extract(r"\((\d{4})\)\s*$", expand=False)
    movies.assign(year=year).to_parquet(work_dir / "movies.parquet")
    return Schema(
        groups=(
            Group(
                "movie",
                actions=tuple(actions.values()),
                features=(Feature("genre", multivalued=True), Feature("year")),
                objects="movies.parquet",
                object_column="movie",
                events="ratings.parquet",
                columns=Columns("user", "movie", "time", "action"),
            ),
        ),
        targets=("movie",),
    )


def _numbers(ratings: pd.Series, file: Path) -> pd.Series:
    """Ratings as numbers."""
    numbers = pd.to_numeric(ratings, errors="coerce")
    for position in np.flatnonzero(~np.isfinite(numbers))[:1].tolist():
        value = ratings.iloc[position]
        raise UserError(f"{file}: row {position + 1}: rating {value!r}: expected a number")
    return numbers


def _read_100k(source: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    ratings = pd.read_csv(source / "u.data", sep="\t", names=_RATING_COLUMNS, dtype=str)
    names = ["movie", "title", "released", "video", "url", *GENRES_100K]
    options: Any = {"encoding": "latin-1", "dtype": str}
    movies = pd.read_csv(source / "u.item", sep="|", names=names, **options)
    genres = [
        "|".join(genre for genre, is_set in zip(GENRES_100K, flags, strict=True) if is_set)
        for flags in (movies[GENRES_100K] == "1").to_numpy()
    ]
    return ratings, movies[["movie", "title"]].assign(genre=genres)


def _read_1m(source: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    options: Any = {"sep": "::", "engine": "python", "encoding": "latin-1", "dtype": str}
    ratings = pd.read_csv(source / "ratings.dat", names=_RATING_COLUMNS, **options)
    movies = pd.read_csv(source / "movies.dat", names=["movie", "title", "genre"], **options)
    return ratings, movies


def _read_latest(source: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    names = ["movie", "title", "genre"]
    ratings = pd.read_csv(source / "ratings.csv", header=0, names=_RATING_COLUMNS, dtype=str)
    movies = pd.read_csv(source / "movies.csv", header=0, names=names, dtype=str)
    movies["genre"] = movies["genre"].replace("(no genres listed)", "")
    return ratings, movies
