"""The manifest: what a directory of prepared data holds."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import pydantic

from data_pipeline.core import json_files
from data_pipeline.core.errors import UserError
from data_pipeline.version import check_version

FILE_NAME = "manifest.json"
_CHANGED = "is not what was prepared, by its checksum; prepare the data again"


@dataclasses.dataclass(frozen=True)
class Shard:
    """A file of timelines: its path in the directory, and what it must hold.

    Attributes:
        file: Path of the file, relative to the directory.
        users: Number of users.
        events: Number of events, labelled targets among them.
        bytes: Size of the file.
        sha256: SHA-256 of its contents.

    Example:

    >>> sum(shard.users for shard in Manifest.load(toy_data()).shards)
    24
    """

    file: str
    users: int
    events: int
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Source:
    """A file that data was prepared from.

    Attributes:
        file: Its path.
        rows: How many log rows it has.
        kept: How many of them could be used.
        layout: How it is written, where that was to be found out.

    Example:

    >>> Manifest.load(toy_data()).sources[0].kept > 0
    True
    """

    file: str
    rows: int
    kept: int
    layout: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a directory of prepared data holds.

    Attributes:
        version: Version of the package that wrote it.
        fingerprint: SHA-256 of the data itself. It does not depend on how the log rows
            were ordered or spread over files.
        users: Number of users.
        events: Events by group.
        rejected: Log rows that were left out, by reason.
        merged: Duplicates that were merged.
        sources: The files of events and labelled targets.
        notes: What else there is to know of them.
        time_range: Time of the first and the last event.
        dates: Their dates, UTC.
        last_trained: Time of the last training target; 0 without any.
        targets: Number of targets by split and group.
        repeats: By target the share of training targets that are repeats: the user had
            touched the object before.
        shards: The files of timelines.
        files: SHA-256 of every other file, by path.

    Example:

    >>> manifest = Manifest.load(toy_data())
    >>> manifest.users, sorted(manifest.events), sorted(manifest.targets)
    (24, ['item', 'query'], ['test', 'train', 'validation'])
    """

    version: str
    fingerprint: str
    users: int
    events: Mapping[str, int]
    rejected: Mapping[str, int]
    merged: int
    sources: tuple[Source, ...]
    notes: tuple[str, ...]
    time_range: tuple[int, int]
    dates: tuple[str, str]
    last_trained: int
    targets: Mapping[str, Mapping[str, int]]
    repeats: Mapping[str, float]
    shards: tuple[Shard, ...]
    files: Mapping[str, str]

    def save(self, directory: str | Path) -> None:
        """Writes `manifest.json` in `directory`."""
        values = json_files.sealed(dataclasses.asdict(self))
        json_files.write(Path(directory) / FILE_NAME, values)

    @classmethod
    def load(cls, directory: str | Path) -> "Manifest":
        """Reads the manifest and checks that all files are there: shards by their size.

        Raises:
            UserError: There is no prepared data in `directory`, or only part of it.
        """
        path = Path(directory) / FILE_NAME
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"{directory}: holds no prepared data (no {FILE_NAME})") from error
        except ValueError as error:
            raise UserError(f"{path}: is not JSON ({error})") from error
        if not isinstance(values, dict):
            raise UserError(f"{path}: is no manifest of prepared data")
        check_version(values.get("version"), str(directory), "prepare the data again")
        values = json_files.unsealed(values, path, "prepare the data again")
        try:
            manifest = pydantic.TypeAdapter(cls).validate_python(values)
        except ValueError as error:
            raise UserError(f"{path}: is no manifest of prepared data") from error
        for shard in manifest.shards:
            file = Path(directory) / shard.file
            size = file.stat().st_size if file.exists() else 0
            if size != shard.bytes:
                raise UserError(f"{file}: has {size:,} bytes, expected {shard.bytes:,}")
        for name, checksum in manifest.files.items():
            file = Path(directory) / name
            if not file.exists():
                raise UserError(f"{file}: is missing; prepare the data again")
            if sha256(file) != checksum:
                raise UserError(f"{file}: {_CHANGED}")
        return manifest

    def verify(self, directory: str | Path) -> None:
        """Reads every shard and compares its checksum.

        Raises:
            UserError: A shard is not what was written.
        """
        for shard in self.shards:
            file = Path(directory) / shard.file
            if sha256(file) != shard.sha256:
                raise UserError(f"{file}: {_CHANGED}")


def sha256(*files: Path) -> str:
    """Returns the SHA-256 of the contents of files, one after the other.

    Example:

    >>> (tmp / "empty").touch()
    >>> sha256(tmp / "empty")[:8]
    'e3b0c442'
    """
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
