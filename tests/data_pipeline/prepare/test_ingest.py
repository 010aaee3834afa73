"""Ingest: which tables and columns are read, and every message that a row of them can bring."""

import dataclasses
from pathlib import Path

import pandas as pd
import pytest

from data_pipeline.core.errors import UserError
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Columns, Group, Schema
from tests.data_pipeline.prepare.failures import ACTIONS, HEADER, ITEM, SHOWN, TWO, failure
from tests.data_pipeline.prepare.logs import records, write


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("1,5,", "row 2: column 'time': empty: expected a time"),
        ("1,5,-4", "row 2: column 'time': '-4': expected a time of 0 or more"),
        ("1,5,nan", "row 2: column 'time': empty: expected a time"),
        ("1,5,inf", "row 2: column 'time': 'inf': expected a number or an ISO 8601 datetime"),
        ("1,5,2017-13-45", "row 2: column 'time': '2017-13-45': expected a number or an ISO"),
        ("1,5,1500000000000", "row 2: column 'time': '1500000000000': expected a time before"),
        (",5,9", "row 2: column 'user': empty: expected an id"),
        ("1,,9", "row 2: column 'object': empty: expected an id"),
        ("1,5x,9", "row 2: column 'object': '5x': expected an integer of 64 bits"),
        ("1,9223372036854775808,9", "row 2: column 'object': '9223372036854775808': expected an"),
        ("u,5,9", "row 2: column 'user': 'u': expected an integer of 64 bits"),
        ("1,5,8", "row 2: column 'object': user 1, time 8: a duplicate: expected each event once"),
    ],
)
def test_bad_row(tmp_path: Path, row: str, expected: str) -> None:
    # Of several files the second is read after the types of ids are known.
    schema = Schema(
        (Group("item", id_type="int"),), ("item",), user_id_type="int", duplicates="fail"
    )
    message = failure(tmp_path, schema, e=f"{HEADER}1,5,8\n{row}\n1,6,9\n")
    assert message.startswith(f"e.csv: {expected}")


@pytest.mark.parametrize(
    ("schema", "header", "row", "expected"),
    [
        (ACTIONS, "action", "steal", "column 'action': 'steal': expected one of buy, view"),
        (TWO, "group", "item2", "column 'group': 'item2': expected one of item, query"),
    ],
)
def test_bad_choice(tmp_path: Path, schema: Schema, header: str, row: str, expected: str) -> None:
    good = {"action": "buy", "group": "item"}[header]
    text = f"user,object,time,{header}\n1,5,8,{good}\n1,6,9,{row}\n"
    assert failure(tmp_path, schema, e=text).startswith(f"e.csv: row 2: {expected}")


def test_text_ids_must_fit_on_a_line(tmp_path: Path) -> None:
    text = HEADER + '1,a,8\n1,"a\nb",9\n'
    (tmp_path / "e.csv").write_text(text)
    frame = pd.DataFrame({"user": [1, 1], "object": ["a", "a\nb"], "time": [8, 9]})
    frame.to_parquet(tmp_path / "e.parquet")
    with pytest.raises(UserError, match=r"row 2: column 'object': .*without line breaks"):
        prepare(ITEM, tmp_path / "out", [str(tmp_path / "e.parquet")])


def test_bad_label(tmp_path: Path) -> None:
    shown = "user,object,time,label\n1,5,8,1\n1,5,9,2\n"
    message = failure(tmp_path, SHOWN, e=HEADER + "1,5,8\n", shown=shown)
    assert message.startswith("shown.csv: row 2: column 'label': '2': expected one of 0, 1")


def test_repeated_candidate(tmp_path: Path) -> None:
    shown = "user,object,time,label\n1,5,8,1\n1,5,8,0\n"
    schema = dataclasses.replace(SHOWN, duplicates="fail")
    assert "a duplicate" in failure(tmp_path, schema, e=HEADER + "1,5,8\n", shown=shown)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (ITEM, "group 'item' names no table of events, and no common events are given"),
        (Schema((Group("item", events="no*.csv"),), ("item",)), "no*.csv: no such file"),
        (
            Schema((Group("item", events="own.csv", objects="no.csv"),), ("item",)),
            "no.csv: no such file",
        ),
    ],
)
def test_missing_source(tmp_path: Path, schema: Schema, expected: str) -> None:
    assert failure(tmp_path, schema, own=HEADER + "1,5,8\n") == expected


def test_common_events_that_no_group_is_left_for(tmp_path: Path) -> None:
    schema = Schema((Group("item", events="own.csv"),), ("item",))
    message = failure(tmp_path, schema, own=HEADER + "1,5,8\n", e=HEADER + "1,5,9\n")
    assert message == "common events are given, but every group names a table of its own"


def test_common_events_of_several_groups_need_a_group_column(tmp_path: Path) -> None:
    schema = Schema((Group("item"), Group("query")), ("item",))
    message = failure(tmp_path, schema, e=HEADER + "1,5,8\n")
    assert message.startswith("columns.group: missing; the common events may be of 2 groups")


def test_several_actions_need_an_action_column(tmp_path: Path) -> None:
    schema = Schema((Group("item", actions=("buy", "view")),), ("item",))
    message = failure(tmp_path, schema, e=HEADER + "1,5,8\n")
    assert message.startswith("columns.action: missing")


def test_own_table_with_own_columns(tmp_path: Path) -> None:
    frame = pd.DataFrame({"who": [1], "what": ["q"], "at": [3], "how": ["typed"]})
    write(frame, tmp_path / "searches.csv")
    columns = Columns(user="who", object="what", time="at", action="how")
    group = Group("query", actions=("spoken", "typed"), events="searches.csv", columns=columns)
    prepare(Schema((group,), ("query",)), tmp_path / "out", base_dir=tmp_path)
    assert records(tmp_path / "out")["1"]["query/action"] == [2]
