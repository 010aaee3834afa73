"""Every message that a mistake in the logs, the schema or the flags can bring."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_pipeline.core.errors import UserError
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Columns, Group, Schema, Split

Command = Callable[..., subprocess.CompletedProcess[str]]

ITEM = Schema(groups=(Group("item"),), targets=("item",))
ACTIONS = Schema(
    (Group("item", actions=("buy", "view")),), ("item",), columns=Columns(action="action")
)
TWO = Schema((Group("item"), Group("query")), ("item",), columns=Columns(group="group"))
TABLE = Schema((Group("item", objects="objects.csv"),), ("item",))
SHOWN = Schema((Group("item", impressions="shown.csv"),), ("item",))
HEADER = "user,object,time\n"


def failure(tmp_path: Path, schema: Schema, **files: str) -> str:
    """The message that preparing these files ends with; nothing may be left behind."""
    for name, text in files.items():
        (tmp_path / f"{name}.csv").write_text(text)
    before = set(tmp_path.iterdir())
    events = [str(tmp_path / "e.csv")] if "e" in files else []
    with pytest.raises(UserError) as caught:
        prepare(schema, tmp_path / "out", events, base_dir=tmp_path)
    assert set(tmp_path.iterdir()) == before
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{tmp_path}/", "")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("1,5,", "row 2: column 'time': empty: expected a time"),
        ("1,5,-4", "row 2: column 'time': '-4': expected a time of 0 or more"),
        ("1,5,nan", "row 2: column 'time': 'nan': expected a number or an ISO 8601 datetime"),
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
    schema = Schema((Group("item", id_type="int"),), ("item",), user_id_type="int")
    found = failure(tmp_path, schema, e=f"{HEADER}1,5,8\n{row}\n1,6,9\n")
    assert found.startswith(f"e.csv: {expected}")


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


def test_the_first_bad_row_is_told(tmp_path: Path) -> None:
    text = HEADER + "1,5,8\n1,6,-1\n,7,9\n"
    assert failure(tmp_path, ITEM, e=text).startswith("e.csv: row 2: column 'time'")


def test_text_ids_must_fit_on_a_line(tmp_path: Path) -> None:
    text = HEADER + '1,a,8\n1,"a\nb",9\n'
    (tmp_path / "e.csv").write_text(text)
    frame = pd.DataFrame({"user": [1, 1], "object": ["a", "a\nb"], "time": [8, 9]})
    frame.to_parquet(tmp_path / "e.parquet")
    with pytest.raises(UserError, match=r"row 2: column 'object': .*without line breaks"):
        prepare(ITEM, tmp_path / "out", [str(tmp_path / "e.parquet")])


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
    found = failure(tmp_path, TABLE, e=HEADER + "1,5,8\n1,6,9\n", objects=objects)
    assert found.startswith(expected)


def test_bad_label(tmp_path: Path) -> None:
    shown = "user,object,time,label\n1,5,8,1\n1,5,9,2\n"
    found = failure(tmp_path, SHOWN, e=HEADER + "1,5,8\n", shown=shown)
    assert found.startswith("shown.csv: row 2: column 'label': '2': expected one of 0, 1")


def test_repeated_candidate(tmp_path: Path) -> None:
    shown = "user,object,time,label\n1,5,8,1\n1,5,8,0\n"
    assert "a duplicate" in failure(tmp_path, SHOWN, e=HEADER + "1,5,8\n", shown=shown)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "cannot be read: "),
        ("user,thing,time\n1,2,3\n", "no column 'object'; its columns are user, thing, time"),
        (HEADER + "1,2,3\n1,2\n", "cannot be read: .*Expected 3 columns, got 2"),
    ],
)
def test_bad_file(tmp_path: Path, text: str, expected: str) -> None:
    assert re.match(f"e.csv: {expected}", failure(tmp_path, ITEM, e=text))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("e.parquet", b"no parquet", "e.parquet: cannot be read: "),
        ("e.csv.gz", b"no gzip", "e.csv.gz: cannot be read: "),
        ("e.jsonl", b'{"user": 1,\n', "e.jsonl: cannot be read: "),
        ("e.jsonl", b'{"user": 1, "object": 2}\n', "e.jsonl: no column 'time'"),
        ("e.xlsx", b"", "e.xlsx: suffix '.xlsx': expected one of .parquet, .pq, .csv"),
    ],
)
def test_unreadable_file(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        prepare(ITEM, tmp_path / "out", [str(tmp_path / name)])
    assert str(caught.value).replace(f"{tmp_path}/", "").startswith(expected)


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
    found = failure(tmp_path, schema, own=HEADER + "1,5,8\n", e=HEADER + "1,5,9\n")
    assert found == "common events are given, but every group names a table of its own"


def test_common_events_of_several_groups_need_a_group_column(tmp_path: Path) -> None:
    schema = Schema((Group("item"), Group("query")), ("item",))
    found = failure(tmp_path, schema, e=HEADER + "1,5,8\n")
    assert found.startswith("columns.group: missing; the common events may be of 2 groups")


def test_several_actions_need_an_action_column(tmp_path: Path) -> None:
    schema = Schema((Group("item", actions=("buy", "view")),), ("item",))
    found = failure(tmp_path, schema, e=HEADER + "1,5,8\n")
    assert found.startswith("columns.action: missing")


def test_no_rows_at_all(tmp_path: Path) -> None:
    assert failure(tmp_path, ITEM, e=HEADER) == "group 'item': there is no event of it"
    found = failure(tmp_path, TABLE, e=HEADER + "1,5,8\n", objects="object\n")
    assert found == "objects.csv: has no rows"


def test_a_group_without_events(tmp_path: Path) -> None:
    text = "user,object,time,group\n1,5,8,item\n"
    assert failure(tmp_path, TWO, e=text) == "group 'query': there is no event of it"


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        (Split("time", 5, None), "split.test_start: missing; a split by time needs it"),
        (Split("time", "soon", 5), "split.validation_start: 'soon': expected an ISO 8601 date"),
        (Split("time", 9, 5), "split: validation_start 9 is after test_start 5"),
        (Split(validation_users=2), "split.validation_users is 2: expected 0 to 1"),
    ],
)
def test_bad_split(tmp_path: Path, split: Split, expected: str) -> None:
    schema = Schema((Group("item"),), ("item",), split=split)
    assert failure(tmp_path, schema, e=HEADER + "1,5,8\n").startswith(expected)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"on_bad_rows": "ignore"}, "on_bad_rows 'ignore': expected fail or skip"),
        ({"memory_budget_mb": 0}, "memory_budget_mb is 0: expected 1 or more"),
    ],
)
def test_bad_argument(tmp_path: Path, arguments: dict, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        prepare(ITEM, tmp_path / "out", **arguments)


def test_nothing_but_bad_rows(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text(HEADER + "1,5,-8\n")
    with pytest.raises(UserError, match=r"group 'item'|no row of the logs can be used"):
        prepare(ITEM, tmp_path / "out", [str(tmp_path / "e.csv")], on_bad_rows="skip")
    assert not (tmp_path / "out").exists()


def test_a_failed_overwrite_keeps_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text(HEADER + "1,5,8\n")
    prepare(ITEM, tmp_path / "out", [str(tmp_path / "e.csv")])
    manifest = (tmp_path / "out/manifest.json").read_text()
    (tmp_path / "e.csv").write_text(HEADER + "1,5,-8\n")
    with pytest.raises(UserError):
        prepare(ITEM, tmp_path / "out", [str(tmp_path / "e.csv")], overwrite=True)
    assert (tmp_path / "out/manifest.json").read_text() == manifest


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "error: missing: --output_dir (Where the prepared data appears.); see --help"),
        (("--output_dir=out",), "error: give either --recipe, or --schema for data of your own"),
        (("--output_dir=out", "extra"), "error: unexpected argument 'extra'"),
        (("--output_dir=out", "--schema=no.json"), "error: no.json: cannot be read (No such file"),
        (("--output_dir=out", "--schema=bad.json"), "error: bad.json: is not JSON"),
        (
            ("--output_dir=out", "--schema=odd.json"),
            "error: odd.json: groups: Field required; targets: Field required; group: Unexpected",
        ),
        (
            ("--output_dir=out", "--schema=good.json", "--events=e.csv"),
            "error: e.csv: row 1: column 'time': '-8': expected a time of 0 or more",
        ),
        (
            ("--output_dir=out", "--recipe=movielens"),
            "error: --recipe=movielens needs --input_dir: a directory that holds u.data",
        ),
        (
            ("--output_dir=out", "--recipe=movielens", "--events=e.csv"),
            "error: --events goes with --schema",
        ),
    ],
)
def test_command_line_says_it_in_one_line(
    tmp_path: Path, command: Command, arguments: tuple[str, ...], expected: str
) -> None:
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "odd.json").write_text('{"group": []}')
    (tmp_path / "good.json").write_text(json.dumps(ITEM.to_dict()))
    (tmp_path / "e.csv").write_text(HEADER + "1,5,-8\n")
    done = command("data_pipeline.prepare", *arguments)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert expected in done.stderr
    if done.stderr.startswith("error: "):
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_command_line_prepares_and_says_what_is_next(tmp_path: Path, command: Command) -> None:
    (tmp_path / "schema.json").write_text(json.dumps(ITEM.to_dict()))
    (tmp_path / "e.csv").write_text(HEADER + "1,5,8\n1,6,9\n")
    done = command(
        "data_pipeline.prepare", "--schema=schema.json", "--events=e.csv", "--output_dir=out"
    )
    assert done.returncode == 0, done.stderr
    assert "wrote out: 1 users" in done.stdout
    assert "next: python -m atrank_tf.train --data_dir=out" in done.stdout


@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(tmp_path: Path, kill: signal.Signals) -> None:
    (tmp_path / "schema.json").write_text(json.dumps(ITEM.to_dict()))
    number = np.arange(3_000_000)  # Seconds of work; the signal comes as soon as it begins.
    events = pd.DataFrame({"user": number % 1000, "object": number % 77, "time": number})
    events.to_parquet(tmp_path / "e.parquet")
    line = [sys.executable, "-m", "data_pipeline.prepare", "--schema=schema.json"]
    line += ["--events=e.parquet", "--output_dir=out"]
    process = subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob(".out-*")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(kill)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + kill
    assert stderr == "error: interrupted\n"
    assert {path.name for path in tmp_path.iterdir()} == {"e.parquet", "schema.json"}
