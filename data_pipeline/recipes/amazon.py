"""Amazon reviews, 5-core, in the files and by the protocol of the ATRank paper."""

import ast
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pandas as pd

from data_pipeline.core.errors import UserError
from data_pipeline.core.progress import Progress
from data_pipeline.readers import read_batches
from data_pipeline.recipes.files import find_one, require_dir
from data_pipeline.schema import Columns, Feature, Group, Schema, Split, Vocabulary

_HOLDS = "reviews_*_5.json[.gz] and meta_*.json[.gz]"


def build(input_dir: Path | None, work_dir: Path) -> Schema:
    """Makes the tables of one group, item, with its category.

    A user's last query time is the test's; evaluate with one negative, as the paper does.
    Of two users in a hundred the query time before it is the validation's. Electronics 5-core
    must come to 192,403 users, 63,001 items, 801 categories and 1,689,188 behaviors.

    Args:
        input_dir: Directory of the two files.
        work_dir: Where the tables are written.

    Returns:
        The schema; its paths are relative to `work_dir`.

    Raises:
        UserError: A file is missing, or a line cannot be parsed.

    Example:

    >>> review = '{"reviewerID": "u1", "asin": "a", "unixReviewTime": 86400}'
    >>> _ = (tmp / "reviews_Books_5.json").write_text(review)
    >>> _ = (tmp / "meta_Books.json").write_text("{'asin': 'a', 'categories': [['Books', 'Art']]}")
    >>> schema = build(tmp, tmp)
    >>> pd.read_parquet(tmp / "items.parquet")["category"].tolist()
    ['Art']
    """
    source = require_dir(input_dir, "amazon", _HOLDS)
    reviews = find_one(source, "reviews_*_5.json", "reviews_*_5.json.gz").resolve()
    meta = find_one(source, "meta_*.json", "meta_*.json.gz")
    reviewed: set[str] = set()
    for batch in read_batches(reviews, ["asin"]):
        reviewed.update(batch.table["asin"].to_pylist())
    items = pd.DataFrame(_read_meta(meta, reviewed), columns=["asin", "category"])
    items.drop_duplicates("asin").to_parquet(work_dir / "items.parquet")
    return Schema(
        groups=(
            Group(
                "item",
                features=(Feature("category"),),
                objects="items.parquet",
                object_column="asin",
                events=str(reviews),
                columns=Columns("reviewerID", "asin", "unixReviewTime"),
                id_type="string",
            ),
        ),
        targets=("item",),
        vocabularies=(Vocabulary("item", min_count=1), Vocabulary("category", min_count=1)),
        split=Split("leave_last_out", validation_users=0.02),
        user_id_type="string",
    )


def _read_meta(path: Path, wanted: set[str]) -> Iterator[tuple[str, str]]:
    """Item and category of each wanted line: the last of its last path, as in the paper."""
    progress = Progress(f"reading {path.name}", "lines")
    with _open(path) as lines:
        for row, line in enumerate(lines, start=1):
            progress.advance(1)
            try:
                item = ast.literal_eval(line)
                if item["asin"] in wanted:
                    yield item["asin"], item["categories"][-1][-1]
            except (ValueError, SyntaxError, KeyError, IndexError, TypeError) as error:
                raise UserError(
                    f"{path}: row {row}: {line.strip()[:60]!r}: expected a Python dictionary "
                    f"with 'asin' and 'categories' ({type(error).__name__})"
                ) from error


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")
