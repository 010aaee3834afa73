"""The files of a user's logs: which a pattern means, and their bytes, compressed or not."""

import bz2
import gzip
import io
import lzma
import urllib.parse
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from data_pipeline.core.errors import UserError

# What a file's kind is told by, the ending before that of its compression.
KINDS = {
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    ".csv": "csv",
    ".tsv": "tsv",
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "json"),
}


_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


def _open_zip(path: Path) -> BinaryIO:
    archive = zipfile.ZipFile(path)
    names = [n for n in archive.namelist() if not n.endswith("/") and not n.startswith("__MACOSX")]
    if len(names) != 1:
        raise UserError(f"{path}: holds {len(names)} files; expected one")
    return archive.open(names[0])  # type: ignore[return-value]


def _open_zstandard(path: Path) -> BinaryIO:
    stream = pa.input_stream(str(path), compression="zstd")
    return io.BufferedReader(stream)


_OPENERS: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _open_zstandard,
    ".zip": _open_zip,
}


def kind_of(path: Path) -> str:
    """Returns what a file is by its endings: "parquet", "csv", "tsv" or "json".

    Raises:
        UserError: They say nothing that is known.

    Example:

    >>> kind_of(Path("views.CSV.gz"))
    'csv'
    """
    endings = [suffix.lower() for suffix in path.suffixes]
    if endings and endings[-1] in _OPENERS:
        endings.pop()
    if endings and endings[-1] in KINDS:
        return KINDS[endings[-1]]
    expected = f"{', '.join(KINDS)}, or with {', '.join(_OPENERS)}"
    raise UserError(f"{path}: suffix {path.suffix!r}: expected one of {expected}")


def is_compressed(path: Path) -> bool:
    """Returns whether a file's ending is that of a compression.

    Example:

    >>> is_compressed(Path("views.csv.xz")), is_compressed(Path("views.csv"))
    (True, False)
    """
    return path.suffix.lower() in _OPENERS


def open_bytes(path: Path) -> BinaryIO:
    """Opens a file for reading, decompressed.

    Example:

    >>> _ = (tmp / "views.csv.gz").write_bytes(gzip.compress(b"user,object"))
    >>> with open_bytes(tmp / "views.csv.gz") as stream:
    ...     stream.read()
    b'user,object'
    """
    opener = _OPENERS.get(path.suffix.lower())
    return opener(path) if opener else path.open("rb")


def expand(pattern: str, base: Path) -> list[Path]:
    """Returns the files that a path or glob means, sorted; of a directory all logs in it.

    Files whose names begin with "." or "_" are left out of directories, as what writes part files
    leaves marks of its own there.

    Args:
        pattern: A path or glob; relative ones start at `base`.
        base: A directory.

    Raises:
        UserError: There are none.

    Example:

    >>> (tmp / "views.csv").touch()
    >>> [file.name for file in expand("*.csv", tmp)]
    ['views.csv']
    """
    path = base / pattern
    if path.is_file():
        return [path]
    matches = [path] if path.is_dir() else Path(path.anchor).glob(_relative(path))
    if not path.is_dir() and path.name[0] in "*?[":
        matches = (match for match in matches if match.name[0] not in "._")
    files = sorted({file for match in matches for file in _files_of(match)})
    if files:
        return files
    raise UserError(f"{path}: {'holds no logs' if path.is_dir() else 'no such file'}")


def path_columns(path: Path) -> dict[str, str]:
    """Returns the columns that a path holds, as Hive and Spark write them: `day=2024-01-01/`.

    Example:

    >>> path_columns(Path("logs/day=2024-01-01/who=a%20b/part-0.parquet"))
    {'day': '2024-01-01', 'who': 'a b'}
    """
    parts = [part.partition("=") for part in path.parts[:-1] if "=" in part]
    return {
        urllib.parse.unquote(name): "" if value == _HIVE_NULL else urllib.parse.unquote(value)
        for name, _, value in parts
        if name and value
    }


def _relative(path: Path) -> str:
    return str(path.relative_to(path.anchor))


def _files_of(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    inside = (file for file in path.rglob("*") if file.is_file())
    return [file for file in inside if not any(p[0] in "._" for p in file.relative_to(path).parts)]
