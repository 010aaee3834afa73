"""Files as people and programs write them: nothing is lost, merged or changed without a word."""

import bz2
import csv
import gzip
import io
import json
import lzma
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.core.errors import UserError
from data_pipeline.fingerprints import NO_VALUE
from data_pipeline.manifest import Manifest
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Columns, Csv, Feature, Group, Schema, Split, Vocabulary
from tests.data_pipeline.prepare.failures import HEADER, ITEM, failure

START = 1_700_000_000
ROWS = [(7, 5, START), (7, 6, START + 60), (8, 5, START + 30), (9, 4, START + 90)]
FRAME = pd.DataFrame(ROWS, columns=["user", "object", "time"])


def prepared(tmp_path: Path, *files: Path, schema: Schema = ITEM, **options: Any) -> Manifest:
    events = [str(file) for file in files]
    return prepare(schema, tmp_path / "out", events, tmp_path, overwrite=True, **options)


def with_csv(**settings: Any) -> Schema:
    return Schema((Group("item"),), ("item",), csv=Csv(**settings))


def users_of(tmp_path: Path) -> list[str]:
    return list(map(str, pq.read_table(tmp_path / "out/users.parquet")["user"].to_pylist()))


def objects_of(tmp_path: Path) -> list[str]:
    table = pq.read_table(tmp_path / "out/objects/item.parquet")["object"].to_pylist()
    return sorted(map(str, table))


@pytest.fixture(scope="module")
def fingerprint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """That of the same rows as a plain file."""
    path = tmp_path_factory.mktemp("plain")
    FRAME.to_csv(path / "e.csv", index=False)
    return prepare(ITEM, path / "out", [str(path / "e.csv")]).fingerprint


PLAIN = FRAME.to_csv(index=False)
SPELLED = [
    ("semicolons.csv", "semicolons, UTF-8", PLAIN.replace(",", ";").encode()),
    ("bars.csv", "bars, UTF-8", PLAIN.replace(",", "|").encode()),
    ("tabs.csv", "tabs, UTF-8", PLAIN.replace(",", "\t").encode()),
    ("commas.tsv", "commas, UTF-8", PLAIN.encode()),
    ("mark.csv", "commas, UTF-8 with a byte order mark", PLAIN.encode("utf-8-sig")),
    ("utf16.csv", "commas, UTF-16", PLAIN.encode("utf-16")),
    ("unmarked.csv", "commas, UTF-16-LE", PLAIN.encode("utf-16-le")),
    ("windows.csv", "commas, UTF-8", PLAIN.replace("\n", "\r\n").encode()),
    ("quoted.csv", "commas, UTF-8", FRAME.to_csv(index=False, quoting=csv.QUOTE_ALL).encode()),
    ("empty_lines.csv", "commas, UTF-8", PLAIN.replace("\n", "\n\n").encode()),
    ("UPPER.CSV", "commas, UTF-8", PLAIN.encode()),
    ("fractions.csv", "commas, UTF-8", FRAME.astype(float).to_csv(index=False).encode()),
]


@pytest.mark.parametrize(("name", "layout", "text"), SPELLED)
def test_text_is_read_however_it_is_written(
    tmp_path: Path, fingerprint: str, name: str, layout: str, text: bytes
) -> None:
    (tmp_path / name).write_bytes(text)
    manifest = prepared(tmp_path, tmp_path / name)
    assert manifest.fingerprint == fingerprint
    assert [(s.rows, s.kept, s.layout) for s in manifest.sources] == [(4, 4, layout)]


def zipped(text: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("e.csv", text)
    return stream.getvalue()


def zstandard(text: bytes) -> bytes:
    return pa.compress(text, "zstd", asbytes=True)


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "GZ": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard,
    "zip": zipped,
}


@pytest.mark.parametrize("ending", COMPRESSIONS)
def test_compressed_files_are_read(tmp_path: Path, fingerprint: str, ending: str) -> None:
    compress = COMPRESSIONS[ending]
    (tmp_path / f"e.csv.{ending}").write_bytes(compress(FRAME.to_csv(index=False).encode()))
    lines = FRAME.to_json(orient="records", lines=True).encode()
    (tmp_path / f"e.jsonl.{ending}").write_bytes(compress(lines))
    for kind in ("csv", "jsonl"):
        assert prepared(tmp_path, tmp_path / f"e.{kind}.{ending}").fingerprint == fingerprint


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz", "zst", "zip"])
def test_damaged_compressed_files_are_told(tmp_path: Path, ending: str) -> None:
    text = FRAME.to_csv(index=False).encode()
    path = tmp_path / f"e.csv.{ending}"
    path.write_bytes(COMPRESSIONS[ending](text * 50)[:-9])
    with pytest.raises(UserError, match=rf"e\.csv\.{ending}: cannot be read: ."):
        prepared(tmp_path, path)


def test_directories_of_part_files(tmp_path: Path, fingerprint: str) -> None:
    for number, part in enumerate((FRAME[:2], FRAME[2:])):
        folder = tmp_path / f"events.parquet/day={number}"
        folder.mkdir(parents=True)
        part.to_parquet(folder / "part-0.snappy.parquet")
        (folder / "_SUCCESS").touch()
        (folder / ".part-0.crc").touch()
    assert prepared(tmp_path, tmp_path / "events.parquet").fingerprint == fingerprint
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UserError, match="nothing: holds no logs"):
        prepared(tmp_path, tmp_path / "nothing")


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_columns_may_be_in_the_path(tmp_path: Path, fingerprint: str, kind: str) -> None:
    for user, part in FRAME.groupby("user"):
        folder = tmp_path / f"logs/user={user}"
        folder.mkdir(parents=True)
        rest = part.drop(columns="user")
        if kind == "csv":
            rest.to_csv(folder / "p.csv", index=False)
        elif kind == "jsonl":
            rest.to_json(folder / "p.jsonl", orient="records", lines=True)
        else:
            rest.to_parquet(folder / "p.parquet")
    assert prepared(tmp_path, tmp_path / "logs").fingerprint == fingerprint


def test_quotes_of_tsv_are_letters(tmp_path: Path) -> None:
    (tmp_path / "e.tsv").write_text(
        'user\tobject\ttime\n1\t"5 frame\t1700000000\n2\tx\t1700000001\n'
    )
    assert prepared(tmp_path, tmp_path / "e.tsv").sources[0].kept == 2
    assert objects_of(tmp_path) == ['"5 frame', "x"]


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ('1,"5 frame,8\n2,x,9\n3,y,10\n', 1),
        ('1,a,8\n2,"5 frame,9\n3,a 5",10\n', 2),
        ('1,a,8\n2,b,9\n3,"5" disk",10\n', 3),
        ('1,a,8\n2,"b,9\n3,c,10\n4,"d",11\n', 2),
    ],
)
def test_a_quote_that_is_not_closed_is_told(tmp_path: Path, text: str, row: int) -> None:
    message = failure(tmp_path, ITEM, e=HEADER + text)
    assert message.startswith(f"e.csv: row {row}: ")
    assert '"csv": {"quoting": false}' in message


def test_values_of_several_lines_are_read(tmp_path: Path) -> None:
    frame = FRAME.assign(review=["good", "well,\nas it is, so", 'the "best"\n\nof all', "x\ny"])
    for name in ("csv", "csv.gz"):
        frame.to_csv(tmp_path / f"e.{name}", index=False)
        assert prepared(tmp_path, tmp_path / f"e.{name}").sources[0].kept == 4
    lines = 'user,object,time,note\n1,5,1700000000,"a\n2,6,1700000001,b\nc"\n'
    (tmp_path / "lines.csv").write_text(lines)
    with pytest.raises(UserError, match=r"row 1: .*holds what looks like rows"):
        prepared(tmp_path, tmp_path / "lines.csv")
    manifest = prepared(tmp_path, tmp_path / "lines.csv", schema=with_csv(multiline=True))
    assert manifest.sources[0].rows == 1


def test_what_cannot_be_found_out_can_be_said(tmp_path: Path, fingerprint: str) -> None:
    (tmp_path / "latin.csv").write_bytes("user,object,time\n1,Käse,1700000000\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"row 1: .*: is not UTF-8; save it as UTF-8, or name its"):
        prepared(tmp_path, tmp_path / "latin.csv")
    prepared(tmp_path, tmp_path / "latin.csv", schema=with_csv(encoding="latin-1"))
    assert objects_of(tmp_path) == ["Käse"]
    FRAME.to_csv(tmp_path / "bare.csv", index=False, header=False, sep=";")
    bare = with_csv(names=("user", "object", "time"))
    assert prepared(tmp_path, tmp_path / "bare.csv", schema=bare).sources[0].layout == (
        "semicolons, UTF-8, no header"
    )
    with pytest.raises(UserError, match=r"csv\.encoding is 'klingon': no encoding"):
        prepared(tmp_path, tmp_path / "bare.csv", schema=with_csv(encoding="klingon"))


def test_a_column_that_is_there_twice_is_told(tmp_path: Path) -> None:
    text = "user,object,time,user\n1,5,1700000000,2\n"
    assert failure(tmp_path, ITEM, e=text) == "e.csv: column 'user' is there 2 times"


def test_rows_of_another_length_are_listed_with_their_numbers(tmp_path: Path) -> None:
    for quote in ("", '"'):
        text = (
            f"{HEADER}1,5,1700000000\n1,5\n1,{quote}6{quote},1700000001\n1,7,8,9\n,4,1700000002\n"
        )
        (tmp_path / "e.csv").write_text(text)
        manifest = prepared(tmp_path, tmp_path / "e.csv", on_bad_rows="skip")
        assert manifest.rejected == {"wrong number of values": 2, "null id": 1}
        assert [(s.rows, s.kept) for s in manifest.sources] == [(5, 2)]
        listed = (tmp_path / "out/rejected.jsonl").read_text().splitlines()
        assert sorted(json.loads(line)["row"] for line in listed) == [2, 4, 5]


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


TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]),
    min_size=1,
    max_size=6,
).filter(lambda text: text not in ("null", "NULL", "nan", "NaN", "None", "<NA>", "\\N"))
LOGS = st.lists(
    st.tuples(st.integers(0, 3), TEXTS, st.integers(START, START + 9)), min_size=1, max_size=12
)
KINDS = ("csv", "quoted.csv", "semicolons.csv", "utf16.csv", "tsv", "jsonl", "parquet", "csv.gz")


@pytest.mark.parametrize("kind", KINDS)
@given(rows=LOGS)
@settings(max_examples=15, deadline=None)
def test_events_and_what_is_left_out_are_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, kind: str, rows: list[tuple[int, str, int]]
) -> None:
    path = tmp_path_factory.mktemp("logs")
    frame = pd.DataFrame(rows, columns=["user", "object", "time"])
    file = path / f"e.{kind}"
    if kind == "parquet":
        frame.to_parquet(file)
    elif kind == "jsonl":
        frame.to_json(file, orient="records", lines=True, force_ascii=False)
    elif kind == "tsv":
        lines = ["\t".join(map(str, row)) for row in [("user", "object", "time"), *rows]]
        file.write_text("\n".join(lines), encoding="utf-8")
    else:
        quoting = csv.QUOTE_ALL if kind == "quoted.csv" else csv.QUOTE_MINIMAL
        separator = ";" if kind == "semicolons.csv" else ","
        encoding = "utf-16" if kind == "utf16.csv" else "utf-8"
        frame.to_csv(file, index=False, sep=separator, quoting=quoting, encoding=encoding)
    schema = Schema((Group("item", id_type="string"),), ("item",), duplicates="keep")
    manifest = prepare(schema, path / "out", [str(file)], on_bad_rows="skip")
    assert [(s.rows, s.kept) for s in manifest.sources] == [(len(rows), len(rows))]
    assert manifest.events == {"item": len(rows)}
    table = pq.read_table(path / "out/objects/item.parquet")["object"].to_pylist()
    assert sorted(table) == sorted({row[1] for row in rows})


@pytest.mark.parametrize(
    "text",
    [
        '7,red shoes,2024-01-01 10:00:00,"12 inch\n8,blue hat,2024-01-01 11:00:00,pipe 5"\n',
        '1,5,9,"a\n2,6,9\n3,7,9,d e,f"\n4,8,9,e\n',
    ],
)
def test_a_quote_that_is_not_closed_in_a_column_that_is_not_read(tmp_path: Path, text: str) -> None:
    message = failure(tmp_path, ITEM, e="user,object,time,title\n" + text)
    assert "row 1: " in message
    assert "holds what looks like rows" in message


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


def test_names_of_paths_are_decoded(tmp_path: Path) -> None:
    for user in ("a%20b", "__HIVE_DEFAULT_PARTITION__"):
        folder = tmp_path / f"logs/user={user}"
        folder.mkdir(parents=True)
        FRAME[:1].drop(columns="user").to_csv(folder / "e.csv", index=False)
    manifest = prepared(tmp_path, tmp_path / "logs", on_bad_rows="skip")
    assert manifest.rejected == {"null id": 1}
    assert users_of(tmp_path) == ["a b"]


def test_a_file_that_two_patterns_name_is_read_once(tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "e.csv", index=False)
    (tmp_path / "_hidden.csv").write_text("no log")
    events = [str(tmp_path / "e.csv"), str(tmp_path / "*.csv")]
    assert len(prepare(ITEM, tmp_path / "out", events).sources) == 1


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


@pytest.mark.parametrize("ending", ["", "\n"])
def test_parts_without_rows(tmp_path: Path, fingerprint: str, ending: str) -> None:
    (tmp_path / "parts").mkdir()
    FRAME.to_csv(tmp_path / "parts/a.csv", index=False)
    (tmp_path / "parts/b.csv").touch()
    (tmp_path / "parts/c.csv").write_text(f"user,object,time{ending}")
    (tmp_path / "parts/d.jsonl").touch()
    assert prepared(tmp_path, tmp_path / "parts").fingerprint == fingerprint


def test_what_is_no_separator_or_encoding_is_told(tmp_path: Path) -> None:
    for separator in ("::", "¦"):
        with pytest.raises(
            UserError, match=r"csv\.separator is '.*': expected one ASCII character"
        ):
            with_csv(separator=separator)
    FRAME.to_csv(tmp_path / "e.csv", index=False)
    for encoding in ("utf_16", "undefined"):
        with pytest.raises(UserError, match=f"is not {encoding.upper()}; save it as UTF-8"):
            prepared(tmp_path, tmp_path / "e.csv", schema=with_csv(encoding=encoding))


def test_wide_files_and_long_ids_are_read(tmp_path: Path) -> None:
    names = ["user", "object", "time", *(f"column{n}" for n in range(20_000))]
    values = ["1", "5" * 5000, str(START), *["0"] * 20_000]
    (tmp_path / "e.csv").write_text(",".join(names) + "\n" + ",".join(values) + "\n")
    prepared(tmp_path, tmp_path / "e.csv")
    assert objects_of(tmp_path) == ["5" * 5000]


def test_duplicates_that_are_left_out_are_counted(tmp_path: Path) -> None:
    pd.concat([FRAME, FRAME[:1]]).to_csv(tmp_path / "e.csv", index=False)
    schema = Schema((Group("item"),), ("item",), duplicates="fail")
    manifest = prepared(tmp_path, tmp_path / "e.csv", schema=schema, on_bad_rows="skip")
    assert [(s.rows, s.kept) for s in manifest.sources] == [(5, 4)]
    assert manifest.rejected == {"duplicate": 1}


def test_overwrite_keeps_what_it_did_not_write_and_follows_links(tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "e.csv", index=False)
    prepared(tmp_path, tmp_path / "e.csv")
    (tmp_path / "out/notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"out/notes\.txt: preparation did not write it"):
        prepared(tmp_path, tmp_path / "e.csv")
    (tmp_path / "out/notes.txt").unlink()
    (tmp_path / "link").symlink_to("out")
    events = [str(tmp_path / "e.csv")]
    prepare(ITEM, tmp_path / "link", events, overwrite=True)
    assert (tmp_path / "link").is_symlink()
    # One that was killed when all was done but to remove the old.
    (tmp_path / ".out.replaced/objects").mkdir(parents=True)
    prepared(tmp_path, tmp_path / "e.csv")
    assert not (tmp_path / ".out.replaced").exists()


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
