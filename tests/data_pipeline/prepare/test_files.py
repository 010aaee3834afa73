"""Files as people and programs write them: every row is read, or told."""

import bz2
import csv
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.core.errors import UserError
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Group, Schema
from tests.data_pipeline.prepare.failures import HEADER, ITEM, failure
from tests.data_pipeline.prepare.written import (
    FRAME,
    START,
    objects_of,
    prepared,
    users_of,
    with_csv,
)


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
