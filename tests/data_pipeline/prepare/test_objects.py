"""The objects of a group: every message that their table can bring."""

from pathlib import Path

import pytest

from tests.data_pipeline.prepare.failures import HEADER, ITEM, TABLE, TWO, failure


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ("object\n5\n", "e.csv: row 2: column 'object': '6': expected an object of objects.csv"),
        ("object\n5\n6\n5\n", "objects.csv: row 3: column 'object': '5': expected each id once"),
        ("object,x\n5,1\n,2\n", "objects.csv: row 2: column 'object': empty: expected an id"),
        ("id\n5\n", "objects.csv: no column 'object'; its columns are id"),
    ],
)
def test_bad_table_of_objects(tmp_path: Path, objects: str, expected: str) -> None:
    message = failure(tmp_path, TABLE, e=HEADER + "1,5,8\n1,6,9\n", objects=objects)
    assert message.startswith(expected)


def test_no_rows_at_all(tmp_path: Path) -> None:
    assert failure(tmp_path, ITEM, e=HEADER) == "group 'item': there is no event of it"
    message = failure(tmp_path, TABLE, e=HEADER + "1,5,8\n", objects="object\n")
    assert message == "objects.csv: has no rows"


def test_a_group_without_events(tmp_path: Path) -> None:
    text = "user,object,time,group\n1,5,8,item\n"
    assert failure(tmp_path, TWO, e=text) == "group 'query': there is no event of it"
