"""The objects of a group: every message that their table can bring."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from data_pipeline.dataset import TimelineData
from data_pipeline.fingerprints import NO_VALUE
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Feature, Group, Schema
from tests.data_pipeline.prepare.failures import HEADER, ITEM, TABLE, TWO, failure


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ("object\n5\n6\n5\n", "objects.csv: row 3: column 'object': '5': expected each id once"),
        ("object,x\n5,1\n,2\n", "objects.csv: row 2: column 'object': empty: expected an id"),
        ("id\n5\n", "objects.csv: no column 'object'; its columns are id"),
    ],
)
def test_bad_table_of_objects(tmp_path: Path, objects: str, expected: str) -> None:
    message = failure(tmp_path, TABLE, e=HEADER + "1,5,8\n1,6,9\n", objects=objects)
    assert message.startswith(expected)


def test_objects_that_the_table_lacks_have_no_features(tmp_path: Path) -> None:
    (tmp_path / "objects.csv").write_text("object,color\n5,red\n")
    (tmp_path / "e.csv").write_text(HEADER + "1,5,8\n1,6,9\n")
    group = Group("item", objects="objects.csv", features=(Feature("color"),))
    schema = Schema((group,), ("item",))
    manifest = prepare(schema, tmp_path / "out", [str(tmp_path / "e.csv")], base_dir=tmp_path)
    assert manifest.events == {"item": 2}
    assert "1 objects of item are not in objects.csv: they have no features" in manifest.notes
    catalog = TimelineData(tmp_path / "out").catalog["item"]
    assert sorted(catalog["color/fingerprints"] == NO_VALUE) == [False, True, True]


def test_bad_rows_of_a_table_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "objects.csv").write_text("object,color\n5,red\nNULL,blue\n6,green\n5,black\n")
    (tmp_path / "e.csv").write_text(HEADER + "1,5,8\n1,6,9\n")
    group = Group("item", objects="objects.csv", features=(Feature("color"),))
    events = [str(tmp_path / "e.csv")]
    manifest = prepare(
        Schema((group,), ("item",)), tmp_path / "out", events, tmp_path, on_bad_rows="skip"
    )
    assert manifest.rejected == {"null id": 1, "twice": 1}
    colors = pq.read_table(tmp_path / "out/vocabularies/color.parquet")["value"].to_pylist()
    assert sorted(colors) in (["green", "red"], [])


def test_no_rows_at_all(tmp_path: Path) -> None:
    assert failure(tmp_path, ITEM, e=HEADER) == "group 'item': there is no event of it"
    message = failure(tmp_path, TABLE, e=HEADER + "1,5,8\n", objects="object\n")
    assert message == "objects.csv: has no rows"


def test_a_group_without_events(tmp_path: Path) -> None:
    text = "user,object,time,group\n1,5,8,item\n"
    assert failure(tmp_path, TWO, e=text) == "group 'query': there is no event of it"
