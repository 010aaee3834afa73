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


def test_amazon_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected one file reviews_\*_5\.json .* found none"):
        RECIPES["amazon"](tmp_path, tmp_path)
    write_amazon(tmp_path, zipped=False)
    meta = tmp_path / "meta_Electronics.json"
    meta.write_text(meta.read_text() + "__import__('os').abort()\n")
    with pytest.raises(UserError, match=r"meta_Electronics\.json: row 5: .*expected a Python dict"):
        RECIPES["amazon"](tmp_path, tmp_path)
