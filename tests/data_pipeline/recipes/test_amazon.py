"""Amazon's reviews, on files in the format of the real data set."""

import gzip
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from data_pipeline.core.errors import UserError
from data_pipeline.recipes import RECIPES
from tests.data_pipeline.recipes.prepared import prepared

REVIEWS = [("u1", "a", 86_400), ("u1", "b", 2 * 86_400), ("u2", "a", 86_400), ("u1", "c", 0)]
META = [
    {"asin": "a", "categories": [["Electronics", "Phones"]], "title": "it's"},
    {"asin": "b", "categories": [["Electronics"], ["Office", "Paper"]]},
    {"asin": "c", "categories": [["Electronics", "Phones"]]},
    {"asin": "unsold", "categories": [["Electronics", "Radios"]]},
]


def write_amazon(path: Path, zipped: bool) -> None:
    reviews = "".join(
        json.dumps({"reviewerID": u, "asin": a, "unixReviewTime": t, "helpful": [0, 1]}) + "\n"
        for u, a, t in REVIEWS
    )
    meta = "".join(repr(item) + "\n" for item in META)  # Python literals, as in the real file.
    for name, text in (("reviews_Electronics_5.json", reviews), ("meta_Electronics.json", meta)):
        if zipped:
            with gzip.open(path / f"{name}.gz", "wt") as stream:
                stream.write(text)
        else:
            (path / name).write_text(text)


@pytest.mark.parametrize("zipped", [True, False])
def test_amazon(tmp_path: Path, zipped: bool) -> None:
    source = tmp_path / "source"
    source.mkdir()
    write_amazon(source, zipped)
    schema, manifest, out = prepared("amazon", source, tmp_path)
    assert manifest.users == 2
    assert manifest.events == {"item": 4}
    assert schema.group("item").num_objects == 1 + 3
    objects = pq.read_table(out / "objects/item.parquet").to_pylist()
    rows = {o["object"]: o["feature:category"] for o in objects}
    assert rows["a"] == rows["c"] != rows["b"]


def test_amazon_without_metadata_has_no_categories(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    write_amazon(source, zipped=False)
    (source / "meta_Electronics.json").unlink()
    _, manifest, out = prepared("amazon", source, tmp_path)
    assert manifest.events == {"item": 4}
    assert len(pq.read_table(out / "objects/item.parquet")) == 3


def test_amazon_parses_only_what_is_wanted(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    write_amazon(source, zipped=False)
    meta = source / "meta_Electronics.json"
    meta.write_text("{'asin': 'unsold', 'categories': " + 99 * "[" + "\n" + meta.read_text())
    prepared("amazon", source, tmp_path)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"{'asin': 'a', 'categories': [['x', '\xff']]}", "row 5: .*expected a Python dictionary"),
        (b"{'asin': 'a', 'x': " + 5000 * b"[", "row 5: .*expected a Python dictionary"),
        (b"{'asin': 'a', 'categories': []}", r"row 5: .*\(IndexError\)"),
    ],
)
def test_amazon_lines_that_cannot_be_read(tmp_path: Path, line: bytes, expected: str) -> None:
    write_amazon(tmp_path, zipped=False)
    meta = tmp_path / "meta_Electronics.json"
    meta.write_bytes(meta.read_bytes() + line)
    with pytest.raises(UserError, match=expected):
        RECIPES["amazon"](tmp_path, tmp_path)


def test_amazon_numbers_are_names_and_damage_is_told(tmp_path: Path) -> None:
    write_amazon(tmp_path, zipped=True)
    reviews = tmp_path / "reviews_Electronics_5.json.gz"
    meta = tmp_path / "meta_Electronics.json.gz"
    meta.write_bytes(gzip.compress(b"{'asin': 'a', 'categories': [['x', 7]]}"))
    RECIPES["amazon"](tmp_path, tmp_path)
    assert "7" in pq.read_table(tmp_path / "items.parquet")["category"].to_pylist()
    for file in (meta, reviews):
        file.write_bytes(file.read_bytes()[:-9])
        with pytest.raises(UserError, match=f"{file.name}: cannot be read: Compressed file ended"):
            RECIPES["amazon"](tmp_path, tmp_path)


def test_amazon_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected one file reviews_\*_5\.json .* found none"):
        RECIPES["amazon"](tmp_path, tmp_path)
    write_amazon(tmp_path, zipped=False)
    meta = tmp_path / "meta_Electronics.json"
    meta.write_text(meta.read_text() + "__import__('os').abort()\n")
    with pytest.raises(UserError, match=r"meta_Electronics\.json: row 5: .*expected a Python dict"):
        RECIPES["amazon"](tmp_path, tmp_path)
