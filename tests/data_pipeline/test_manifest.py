"""The manifest: what it counts, and how damaged data is found."""

import json
from pathlib import Path

import pytest

from data_pipeline.core import json_files
from data_pipeline.core.errors import UserError
from data_pipeline.dataset import TimelineData
from data_pipeline.manifest import Manifest
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.version import __version__
from tests.data_pipeline.prepare.logs import ONE_GROUP, SMALL, write


def test_no_prepared_data(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no prepared data \(no manifest\.json\)"):
        TimelineData(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match=r"was written by a version before 0\.2\.0, this is 0\.5"):
        TimelineData(tmp_path)
    values = {"version": __version__}
    (tmp_path / "manifest.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match=r"manifest\.json: is not what was written there, by its"):
        TimelineData(tmp_path)
    json_files.write(tmp_path / "manifest.json", json_files.sealed(values))
    with pytest.raises(UserError, match=r"manifest\.json: is no manifest of prepared data"):
        TimelineData(tmp_path)


def test_manifest_and_checksums(tmp_path: Path) -> None:
    prepare(ONE_GROUP, tmp_path / "out", [str(write(SMALL, tmp_path / "e.csv"))])
    manifest = Manifest.load(tmp_path / "out")
    manifest.verify(tmp_path / "out")
    assert manifest.users == 6
    assert manifest.events == {"item": 24}
    assert manifest.time_range == (1007, 1078)
    shard = tmp_path / "out" / manifest.shards[0].file
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match="is not what was prepared, by its checksum"):
        manifest.verify(tmp_path / "out")
    shard.write_bytes(b"")
    with pytest.raises(UserError, match="has 0 bytes, expected"):
        TimelineData(tmp_path / "out")


def test_every_file_is_told_that_is_not_what_was_prepared(tmp_path: Path) -> None:
    prepare(ONE_GROUP, tmp_path / "out", [str(write(SMALL, tmp_path / "e.csv"))])
    files = Manifest.load(tmp_path / "out").files
    assert set(files) == {
        "objects/item.parquet",
        "schema.json",
        "users.parquet",
    }
    for name in files:
        file = tmp_path / "out" / name
        content = file.read_bytes()
        file.write_bytes(content.replace(b"item", b"itme", 1) + b" ")
        with pytest.raises(UserError, match=f"{name}: is not what was prepared, by its checksum"):
            TimelineData(tmp_path / "out")
        file.unlink()
        with pytest.raises(UserError, match=f"{name}: is missing; prepare the data again"):
            TimelineData(tmp_path / "out")
        file.write_bytes(content)
    TimelineData(tmp_path / "out")
