"""Rows that cannot be used: the first one ends the work, or all are listed."""

import dataclasses
import json
from pathlib import Path

import pytest

from data_pipeline.core.errors import UserError
from data_pipeline.prepare.pipeline import prepare
from tests.data_pipeline.prepare.failures import HEADER, ITEM, failure
from tests.data_pipeline.prepare.logs import ONE_GROUP, events_of, write


def test_the_first_bad_row_is_reported(tmp_path: Path) -> None:
    text = HEADER + "1,5,8\n1,6,-1\n,7,9\n"
    assert failure(tmp_path, ITEM, e=text).startswith("e.csv: row 2: column 'time'")


def test_nothing_but_bad_rows(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text(HEADER + "1,5,-8\n")
    with pytest.raises(UserError, match=r"group 'item'|no row of the logs can be used"):
        prepare(ITEM, tmp_path / "out", [str(tmp_path / "e.csv")], on_bad_rows="skip")
    assert not (tmp_path / "out").exists()


def test_skipped_rows_are_listed(tmp_path: Path) -> None:
    frame = events_of(
        [(1, 5, "10"), (None, 5, "11"), (1, None, "12"), (1, 5, "x"), (1, 6, "-3"), (1, 5, "10")]
    )
    source = write(frame, tmp_path / "e.csv")
    schema = dataclasses.replace(ONE_GROUP, duplicates="fail")
    manifest = prepare(schema, tmp_path / "out", [str(source)], on_bad_rows="skip")
    assert manifest.events == {"item": 1}
    listed = [
        json.loads(line) for line in (tmp_path / "out/rejected.jsonl").read_text().splitlines()
    ]
    assert [(entry["row"], entry["reason"]) for entry in listed] == [
        (2, "null id"),
        (3, "null id"),
        (4, "unreadable time"),
        (5, "negative time"),
        (6, "duplicate"),
    ]
    assert manifest.rejected == {
        "null id": 2,
        "unreadable time": 1,
        "negative time": 1,
        "duplicate": 1,
    }
    assert {entry["file"] for entry in listed} == {str(source)}
