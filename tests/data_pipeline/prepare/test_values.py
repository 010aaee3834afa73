"""Values as people and programs write them: none is lost, merged or changed without a word."""

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_pipeline.core.errors import UserError
from data_pipeline.fingerprints import NO_VALUE
from data_pipeline.schema import Columns, Feature, Group, Schema, Split, Vocabulary
from tests.data_pipeline.prepare.failures import HEADER
from tests.data_pipeline.prepare.written import (
    FRAME,
    START,
    objects_of,
    prepared,
    users_of,
    with_csv,
)


@pytest.mark.parametrize("word", ["", "NULL", "null", "\\N", "NaN", "nan"])
@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_null_words_are_no_ids(tmp_path: Path, kind: str, word: str) -> None:
    frame = FRAME.astype({"user": str})
    frame.loc[1, "user"] = word
    path = tmp_path / f"e.{kind}"
    if kind == "parquet":
        frame.to_parquet(path)
    elif kind == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False, sep={"csv": ",", "tsv": "\t"}[kind])
    with pytest.raises(UserError, match="row 2: column 'user': empty: expected an id"):
        prepared(tmp_path, path)
    manifest = prepared(tmp_path, path, on_bad_rows="skip")
    assert manifest.rejected == {"null id": 1}
    assert sorted(users_of(tmp_path)) == ["7", "8", "9"]
    prepared(tmp_path, path, schema=with_csv(nulls=("-",)), on_bad_rows="skip")
    assert (word in users_of(tmp_path)) == bool(word)


def test_ids_beyond_64_bits_are_what_was_written(tmp_path: Path) -> None:
    ids = [2**63, 2**63 + 1, 2**64 - 1, 10**30]
    lines = [json.dumps({"user": i, "object": 1, "time": START}) for i in ids]
    (tmp_path / "e.jsonl").write_text("\n".join(lines))
    text = "".join(f"{i},1,{START}\n" for i in ids)
    (tmp_path / "e.csv").write_text(HEADER + text)
    frame = FRAME.assign(user=np.array([*ids[:3], 5], np.uint64))
    frame.to_parquet(tmp_path / "e.parquet")
    for kind in ("jsonl", "csv"):
        manifest = prepared(tmp_path, tmp_path / f"e.{kind}")
        assert sorted(users_of(tmp_path)) == sorted(map(str, ids))
        assert any(
            note == f"ids of user are strings, since row 1 of {tmp_path / f'e.{kind}'} has "
            "'9223372036854775808'"
            for note in manifest.notes
        )
    prepared(tmp_path, tmp_path / "e.parquet")
    assert sorted(users_of(tmp_path)) == sorted(map(str, frame["user"]))


def test_one_id_is_one_user_in_files_of_any_type(tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "a.csv", index=False)
    FRAME.astype(float).to_csv(tmp_path / "b.csv", index=False)
    FRAME.astype(float).to_parquet(tmp_path / "c.parquet")
    FRAME.astype(str).to_json(tmp_path / "d.jsonl", orient="records", lines=True)
    decimal = pa.table(FRAME).set_column(
        0, "user", pa.array(FRAME["user"]).cast(pa.decimal128(38, 2))
    )
    pq.write_table(decimal, tmp_path / "e.parquet")
    names = ("a.csv", "b.csv", "c.parquet", "d.jsonl", "e.parquet")
    manifest = prepared(tmp_path, *(tmp_path / name for name in names))
    assert manifest.users == 3
    assert manifest.merged == 4 * len(FRAME)
    assert objects_of(tmp_path) == ["4", "5", "6"]


ARRAYS: dict[str, Callable[[list[str]], pa.Array]] = {
    "string_view": lambda ids: pa.array(ids, pa.string_view()),
    "large_string": lambda ids: pa.array(ids, pa.large_string()),
    "binary": lambda ids: pa.array([i.encode() for i in ids], pa.binary()),
    "dictionary": lambda ids: pa.array(ids).dictionary_encode(),
    "fixed_size": lambda ids: pa.array([uuid.UUID(i).bytes for i in ids], pa.binary(16)),
    "uuid": lambda ids: pa.array([uuid.UUID(i).bytes for i in ids], pa.uuid()),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_text_ids_of_any_type_are_read(tmp_path: Path, name: str) -> None:
    ids = [str(uuid.UUID(int=i)) for i in FRAME["user"]]
    pq.write_table(pa.table(FRAME).set_column(0, "user", ARRAYS[name](ids)), tmp_path / "e.parquet")
    prepared(tmp_path, tmp_path / "e.parquet")
    assert sorted(users_of(tmp_path)) == sorted(set(ids))


LISTS = (
    pa.list_(pa.string()),
    pa.large_list(pa.string_view()),
    pa.list_(pa.string(), 2),
    pa.list_view(pa.string()),
)


@pytest.mark.parametrize("kind", LISTS, ids=str)
def test_lists_of_any_type_are_read(tmp_path: Path, kind: pa.DataType) -> None:
    FRAME.to_csv(tmp_path / "e.csv", index=False)
    tags = pa.array([["a", "b"], ["b", "c"], ["c", "d"]], kind)
    pq.write_table(pa.table({"object": [4, 5, 6], "tag": tags}), tmp_path / "o.parquet")
    group = Group("item", objects="o.parquet", features=(Feature("tag", multivalued=True),))
    prepared(tmp_path, tmp_path / "e.csv", schema=Schema((group,), ("item",)))
    row = pq.read_table(tmp_path / "out/objects/item.parquet").to_pylist()
    assert len(row) == 3


def test_what_a_bad_row_names_is_no_object(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text(f"{HEADER}1,5,{START}\n1,77,noon\n,78,{START}\n")
    prepared(tmp_path, tmp_path / "e.csv", on_bad_rows="skip")
    assert objects_of(tmp_path) == ["5"]


SPELLINGS = [
    "2023-11-14 22:13:20",
    "2023-11-14T22:13:20Z",
    "2023-11-14 22:13:20 UTC",
    "2023-11-14 22:13:20.000000 UTC",
    "2023-11-14 14:13:20.000 -0800",
    "2023-11-14 23:13:20+01:00",
    "2023-11-14T22:13:20.000Z",
    "1700000000",
    "1700000000.0",
    "1.7e9",
    " 1700000000 ",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_times_are_read_as_programs_write_them(tmp_path: Path, spelling: str) -> None:
    (tmp_path / "e.csv").write_text(f"{HEADER}1,5,{spelling}\n")
    manifest = prepared(tmp_path, tmp_path / "e.csv")
    assert manifest.time_range == (START, START)
    assert manifest.dates == ("2023-11-14", "2023-11-14")


def test_the_unit_of_times_is_what_holds_them_all(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text(
        f"{HEADER}1,5,2023-11-14 22:13:20.250\n1,5,2023-11-14 22:13:20.500\n1,6,{START + 1}\n"
    )
    manifest = prepared(tmp_path, tmp_path / "e.csv")
    assert manifest.time_range == (1000 * START + 250, 1000 * START + 1000)
    assert manifest.merged == 0
    assert Schema.load(tmp_path / "out").time_unit == "ms"
    declared = Schema((Group("item"),), ("item",), time_unit="s")
    manifest = prepared(tmp_path, tmp_path / "e.csv", schema=declared)
    assert manifest.merged == 1
    assert "2 times were finer than whole seconds, and were cut; time_unit ms keeps" in str(
        manifest.notes
    )


def test_large_numbers_are_milliseconds(tmp_path: Path) -> None:
    FRAME.assign(time=FRAME["time"] * 1000).to_csv(tmp_path / "e.csv", index=False)
    prepared(tmp_path, tmp_path / "e.csv")
    assert Schema.load(tmp_path / "out").time_unit == "ms"


def test_a_unit_that_cannot_be_is_refused(tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "e.csv", index=False)
    schema = Schema((Group("item"),), ("item",), time_unit="ms")
    with pytest.raises(UserError, match="time_unit is 'ms': the events' times would be of 1970-01"):
        prepared(tmp_path, tmp_path / "e.csv", schema=schema)
    (tmp_path / "late.csv").write_text(HEADER + "1,5,9999-12-31\n")
    with pytest.raises(UserError, match=r"expected a time before the year 2200 \(--on_bad"):
        prepared(tmp_path, tmp_path / "late.csv")


def test_times_of_no_clock_are_told(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text(HEADER + "1,5,1\n1,6,2\n")
    notes = prepared(tmp_path, tmp_path / "e.csv").notes
    assert "times are of 1970-01-01 to 1970-01-01: gaps mean days and hours" in notes[-1]


@pytest.mark.parametrize(("duplicates", "events"), [("merge", 4), ("keep", 6), ("fail", None)])
def test_duplicates_are_what_the_schema_says(
    tmp_path: Path, duplicates: Any, events: int | None
) -> None:
    pd.concat([FRAME, FRAME[:2]]).to_csv(tmp_path / "e.csv", index=False)
    schema = Schema((Group("item"),), ("item",), duplicates=duplicates)
    if events is None:
        with pytest.raises(UserError, match="a duplicate: expected each event once"):
            prepared(tmp_path, tmp_path / "e.csv", schema=schema)
        return
    manifest = prepared(tmp_path, tmp_path / "e.csv", schema=schema)
    assert manifest.events == {"item": events}
    assert manifest.merged == 6 - events


def test_a_candidate_that_was_shown_twice_was_taken_if_it_ever_was(tmp_path: Path) -> None:
    shown = f"user,object,time,label\n1,5,{START},0\n1,5,{START},true\n1,6,{START},0.0\n"
    (tmp_path / "shown.csv").write_text(shown)
    (tmp_path / "e.csv").write_text(f"{HEADER}1,5,{START}\n")
    schema = Schema(
        (Group("item", impressions="shown.csv", impression_columns=Columns()),), ("item",)
    )
    manifest = prepared(tmp_path, tmp_path / "e.csv", schema=schema)
    assert manifest.merged == 1
    assert manifest.targets["test"] == {"item": 2}


def test_offsets_of_rare_spellings_count(tmp_path: Path) -> None:
    for spelling in ('"2023-11-15T00:13:20,000+02:00"', "2023-W46-3T00:13:20+02:00"):
        (tmp_path / "e.csv").write_text(f"{HEADER}1,5,{spelling}\n")
        assert prepared(tmp_path, tmp_path / "e.csv").time_range == (START, START)


def test_dates_of_digits_are_dates_and_words_are_none(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text(HEADER + "1,5,20240101\n1,6,20240229\n")
    assert prepared(tmp_path, tmp_path / "e.csv").dates == ("2024-01-01", "2024-02-29")
    pd.DataFrame({"user": [1], "object": [5], "time": [20240101]}).to_parquet(
        tmp_path / "e.parquet"
    )
    assert prepared(tmp_path, tmp_path / "e.parquet").dates == ("2024-01-01", "2024-01-01")
    for word in ("now", "today"):
        (tmp_path / "e.csv").write_text(f"{HEADER}1,5,{word}\n")
        with pytest.raises(UserError, match=f"'{word}': expected a number or an ISO 8601 datetime"):
            prepared(tmp_path, tmp_path / "e.csv")


def test_each_file_has_its_unit(tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "a.csv", index=False)
    FRAME.assign(time=FRAME["time"] * 1000, user=1).to_csv(tmp_path / "b.csv", index=False)
    manifest = prepared(tmp_path, tmp_path / "a.csv", tmp_path / "b.csv")
    assert manifest.time_range == (1000 * START, 1000 * (START + 90))


def test_a_float_is_one_id_whatever_is_beside_it(tmp_path: Path) -> None:
    for name, objects in (("a", [12345678901.0]), ("b", [12345678901.0, 2.0**53 + 2, 1.5])):
        frame = pd.DataFrame({"user": 1, "object": objects, "time": START})
        frame.to_parquet(tmp_path / f"{name}.parquet")
    prepared(tmp_path, tmp_path / "a.parquet", tmp_path / "b.parquet")
    assert objects_of(tmp_path) == ["1.5", "12345678901", "9007199254740994.0"]


def test_of_candidates_that_are_merged_the_one_that_was_taken_stays(tmp_path: Path) -> None:
    rows = [f"1,5,{START},0,a,1", f"1,5,{START},1,b,7"]
    (tmp_path / "e.csv").write_text(f"{HEADER}1,5,{START}\n")
    columns = Columns(list="list", position="rank")
    schema = Schema(
        (Group("item", impressions="shown.csv", impression_columns=columns),), ("item",)
    )
    fingerprints = set()
    for lines in (rows, rows[::-1]):
        (tmp_path / "shown.csv").write_text("\n".join(["user,object,time,label,list,rank", *lines]))
        manifest = prepared(tmp_path, tmp_path / "e.csv", schema=schema)
        fingerprints.add(manifest.fingerprint)
        assert Schema.load(tmp_path / "out").group("item").num_positions == 8
    assert len(fingerprints) == 1


def test_object_tables_of_several_types(tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "e.csv", index=False)
    (tmp_path / "o").mkdir()
    parts = [
        pd.DataFrame({"object": [4], "color": [None]}),
        pd.DataFrame({"object": [5.0], "color": ["red"]}),
        pd.DataFrame({"object": ["6"], "color": ["blue"]}),
    ]
    for number, part in enumerate(parts):
        part.to_parquet(tmp_path / f"o/{number}.parquet")
    group = Group("item", objects="o", features=(Feature("color"),))
    prepared(tmp_path, tmp_path / "e.csv", schema=Schema((group,), ("item",)))
    assert objects_of(tmp_path) == ["4", "5", "6"]


def test_a_bad_id_of_a_table_takes_no_place(tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text("object,color\n,x\n0,tea\n5,rice\n")
    (tmp_path / "e.csv").write_text(f"{HEADER}1,0,{START}\n1,5,{START}\n")
    group = Group("item", objects="o.csv", features=(Feature("color"),))
    schema = Schema((group,), ("item",))
    manifest = prepared(tmp_path, tmp_path / "e.csv", schema=schema, on_bad_rows="skip")
    assert manifest.rejected == {"null id": 1}
    assert not any("no features" in note for note in manifest.notes)


def test_duplicates_that_are_left_out_are_counted(tmp_path: Path) -> None:
    pd.concat([FRAME, FRAME[:1]]).to_csv(tmp_path / "e.csv", index=False)
    schema = Schema((Group("item"),), ("item",), duplicates="fail")
    manifest = prepared(tmp_path, tmp_path / "e.csv", schema=schema, on_bad_rows="skip")
    assert [(s.rows, s.kept) for s in manifest.sources] == [(5, 4)]
    assert manifest.rejected == {"duplicate": 1}


def test_a_split_by_milliseconds_needs_no_unit(tmp_path: Path) -> None:
    FRAME.assign(time=FRAME["time"] * 1000).to_csv(tmp_path / "e.csv", index=False)
    starts = {"validation_start": 1000 * (START + 40), "test_start": 1000 * (START + 70)}
    schema = Schema((Group("item"),), ("item",), split=Split("time", **starts))
    targets = prepared(tmp_path, tmp_path / "e.csv", schema=schema).targets
    assert [targets[split]["item"] for split in ("train", "validation", "test")] == [2, 1, 1]


def test_the_action_tells_the_group_where_no_column_does(tmp_path: Path) -> None:
    frame = FRAME.assign(what=["view", "search", "buy", "search"])
    frame.to_csv(tmp_path / "e.csv", index=False)
    groups = (Group("item", actions=("view", "buy")), Group("query", actions=("search",)))
    schema = Schema(groups, ("item",), columns=Columns(action="what"))
    manifest = prepared(tmp_path, tmp_path / "e.csv", schema=schema)
    assert manifest.events == {"item": 2, "query": 2}
    frame.assign(what="steal").to_csv(tmp_path / "e.csv", index=False)
    with pytest.raises(UserError, match="column 'what': 'steal': expected one of view, buy, searc"):
        prepared(tmp_path, tmp_path / "e.csv", schema=schema)


@pytest.mark.parametrize("tags", [["['a', 'b']", "[]", '["c"]'], ["a|b", "", "c"]])
def test_lists_may_be_written_out(tmp_path: Path, tags: list[str]) -> None:
    FRAME.to_csv(tmp_path / "e.csv", index=False)
    pd.DataFrame({"object": [4, 5, 6], "tag": tags}).to_csv(tmp_path / "o.csv", index=False)
    feature = Feature("tag", multivalued=True)
    group = Group("item", objects="o.csv", features=(feature,))
    schema = Schema((group,), ("item",), vocabularies=(Vocabulary("tag", min_count=1),))
    prepared(tmp_path, tmp_path / "e.csv", schema=schema)
    found = pq.read_table(tmp_path / "out/objects/item.parquet").to_pylist()
    lengths = {row["object"]: len(row["fingerprint:tag"]) for row in found}
    assert lengths == {4: 2, 5: 0, 6: 1}


def test_ids_of_another_group_are_known_from_a_column_of_floats(tmp_path: Path) -> None:
    """As pandas writes integers of which some are missing."""
    FRAME.to_csv(tmp_path / "e.csv", index=False)
    table = pd.DataFrame({"object": [4, 5, 6], "twin": [5.0, None, 4.0]})
    table.to_csv(tmp_path / "o.csv", index=False)
    group = Group("item", objects="o.csv", features=(Feature("twin", vocabulary="item"),))
    schema = Schema((group,), ("item",), vocabularies=(Vocabulary("item", min_count=1),))
    prepared(tmp_path, tmp_path / "e.csv", schema=schema)
    found = pq.read_table(tmp_path / "out/objects/item.parquet").to_pandas().set_index("object")
    assert found.loc[4, "fingerprint:twin"] == found.loc[5, "fingerprint"]
    assert found.loc[5, "fingerprint:twin"] == NO_VALUE
