"""Readers: every format gives the same data, and unreadable files are reported."""

import gzip
import re
from pathlib import Path

import pytest

from data_pipeline.core.errors import UserError
from data_pipeline.prepare.pipeline import prepare
from tests.data_pipeline.prepare.failures import HEADER, ITEM, failure
from tests.data_pipeline.prepare.logs import ONE_GROUP, SMALL, write


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n", "cannot be read: is empty; expected a header of columns"),
        ("user,thing,time\n1,2,3\n", "no column 'object'; its columns are user, thing, time"),
        (HEADER + "1,2,3\n1,2\n", "row 2: '1,2': has 2 values: expected 3 "),
    ],
)
def test_bad_file(tmp_path: Path, text: str, expected: str) -> None:
    assert re.match(f"e.csv: {expected}", failure(tmp_path, ITEM, e=text))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("e.parquet", b"no parquet", "e.parquet: cannot be read: "),
        ("e.csv.gz", b"no gzip", "e.csv.gz: cannot be read: "),
        ("e.jsonl", b'{"user": 1,\n', "e.jsonl: row 1: '{\"user\": 1,': expected one JSON object"),
        ("e.jsonl", b'{"user": 1, "object": 2}\n', "e.jsonl: no column 'time'"),
        ("e.xlsx", b"", "e.xlsx: suffix '.xlsx': expected one of .parquet, .pq, .csv"),
    ],
)
def test_unreadable_file(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        prepare(ITEM, tmp_path / "out", [str(tmp_path / name)])
    assert str(caught.value).replace(f"{tmp_path}/", "").startswith(expected)


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "csv.gz", "jsonl.gz"])
def test_every_format_gives_the_same_data(tmp_path: Path, kind: str) -> None:
    expected = prepare(ONE_GROUP, tmp_path / "a", [str(write(SMALL, tmp_path / "e.parquet"))])
    manifest = prepare(ONE_GROUP, tmp_path / "b", [str(write(SMALL, tmp_path / f"e.{kind}"))])
    assert manifest.fingerprint == expected.fingerprint


def test_gzip_is_really_read(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "e.csv.gz", "wt") as stream:
        stream.write(SMALL.to_csv(index=False))
    assert prepare(ONE_GROUP, tmp_path / "out", [str(tmp_path / "e.csv.gz")]).users == 6
