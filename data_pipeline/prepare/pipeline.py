"""Preparation, from logs to a directory of timelines: every step in turn."""

import dataclasses
import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_pipeline import manifest
from data_pipeline.core import durable
from data_pipeline.core.errors import UserError
from data_pipeline.core.progress import Progress
from data_pipeline.manifest import Manifest, Shard
from data_pipeline.prepare import timelines
from data_pipeline.prepare.ingest import Ingest
from data_pipeline.prepare.partitions import Partitions
from data_pipeline.prepare.rejections import Rejections
from data_pipeline.prepare.tables import find_tables
from data_pipeline.prepare.times import as_date, check_span, parse_split_time
from data_pipeline.prepare.totals import Positions, Totals
from data_pipeline.prepare.vocabularies import number_objects
from data_pipeline.readers import estimate_rows
from data_pipeline.recipes import RECIPES
from data_pipeline.schema import Group, Schema, Split
from data_pipeline.version import __version__

_MIN_PARTITIONS = 4
# Where more of the training targets are repeats, negatives may be what the user had touched.
_RECURRING_SHARE = 0.02
# What stands in a directory of prepared data.
_WRITTEN = (
    manifest.FILE_NAME,
    "objects",
    "rejected.jsonl",
    "schema.json",
    "shards",
    "users.parquet",
    "vocabularies",
)
# What an event takes at its most, while its partition is sorted.
_BYTES_PER_EVENT = 512


def prepare(
    schema: Schema,
    output_dir: str | Path,
    events: Sequence[str] = (),
    base_dir: str | Path = ".",
    on_bad_rows: str = "fail",
    memory_budget_mb: int = 1024,
    overwrite: bool = False,
) -> Manifest:
    """Prepares logs of behavior for training.

    It reads the logs once, dividing the events by user on disk; then it goes through the
    users' events part by part. Time and storage are linear in the number of events,
    memory is bounded by the largest part and the tables of objects.

    Args:
        schema: What the logs hold; see `data_pipeline.Schema`.
        output_dir: Where the prepared data appears, whole or not at all.
        events: Paths or globs of the common table of events, if there is one.
        base_dir: Directory that relative paths in the schema start at.
        on_bad_rows: "fail" at the first log row that cannot be used, or "skip" such rows and
            list them in `rejected.jsonl`.
        memory_budget_mb: About how much memory a part may take.
        overwrite: Whether to replace prepared data that is already there.

    Returns:
        The manifest of the prepared data.

    Raises:
        UserError: Something about the logs, the schema or the arguments is not right.

    Example:

    >>> _ = (tmp / "events.csv").write_text("user,object,time\\n7,5,100\\n7,6,200\\n")
    >>> schema = Schema(groups=(Group("item"),), targets=("item",))
    >>> manifest = prepare(schema, tmp / "data", [str(tmp / "events.csv")])
    >>> manifest.users, manifest.events, TimelineData(tmp / "data").num_targets("test")
    (1, {'item': 2}, 1)
    """
    if on_bad_rows not in ("fail", "skip"):
        raise UserError(f"on_bad_rows {on_bad_rows!r}: expected fail or skip")
    if memory_budget_mb < 1:
        raise UserError(f"memory_budget_mb is {memory_budget_mb}: expected 1 or more")
    output = Path(output_dir).resolve()
    lock = output.with_name(f".{output.name}.lock")
    with durable.locked(lock, str(output_dir)):
        durable.restore(output)
        _clear(output)  # What a process that was killed has left.
        _check_output(output, overwrite)
        try:
            return _prepared(schema, output, events, base_dir, on_bad_rows, memory_budget_mb)
        finally:
            _clear(output)


def _clear(output: Path) -> None:
    """Removes where an output was prepared. No other process does that now: it is locked."""
    for left in output.parent.glob(f"{_working_prefix(output)}*"):
        shutil.rmtree(left, ignore_errors=True)


def _working_prefix(output: Path) -> str:
    return f".{output.name}.preparing-"


def _prepared(
    schema: Schema,
    output: Path,
    events: Sequence[str],
    base_dir: str | Path,
    on_bad_rows: str,
    memory_budget_mb: int,
) -> Manifest:
    _split_in_units(schema)  # What cannot be read ends it before the logs are.
    tables = find_tables(schema, events, Path(base_dir))
    num_rows = estimate_rows([file for table in tables for file in table.files])
    num_parts = max(_MIN_PARTITIONS, num_rows * _BYTES_PER_EVENT // (memory_budget_mb << 20) + 1)
    temporary = Path(tempfile.mkdtemp(dir=output.parent, prefix=_working_prefix(output)))
    work, result = temporary / "work", temporary / "result"
    work.mkdir()
    result.mkdir()
    rejections = Rejections(result, skip=on_bad_rows == "skip")
    ingest = Ingest(schema, Path(base_dir), rejections)
    partitions = Partitions(work, num_parts)
    with partitions:
        ingest.read(tables, partitions)
    ingest.schema = dataclasses.replace(ingest.schema, split=_split_in_units(ingest.schema))
    prepared = _write(ingest, partitions, rejections, num_rows, result)
    durable.exchange(result, output)
    return prepared


def prepare_recipe(
    recipe: str, input_dir: str | None, output_dir: str | Path, **settings: Any
) -> Manifest:
    """Prepares a data set that is known by name.

    Args:
        recipe: A key of `RECIPES`.
        input_dir: Directory of the data set's own files; None where a package ships them.
        output_dir: As for `prepare`.
        **settings: As for `prepare`.

    Returns:
        The manifest of the prepared data.

    Raises:
        UserError: As for `prepare`; or a file of the data set is missing.

    Example:

    >>> _ = (tmp / "ratings.csv").write_text("user,movie,rating,time\\n7,5,4.5,100\\n")
    >>> _ = (tmp / "movies.csv").write_text("movie,title,genre\\n5,Heat (1995),Action|Crime\\n")
    >>> prepare_recipe("movielens", str(tmp), tmp / "movielens").events
    {'movie': 1}
    """
    _check_output(Path(output_dir), settings.get("overwrite", False))
    with tempfile.TemporaryDirectory() as work:
        schema = RECIPES[recipe](Path(input_dir) if input_dir else None, Path(work))
        return prepare(schema, output_dir, base_dir=work, **settings)


def prepare_logs(
    schema: str | Path, events: Sequence[str], output_dir: str | Path, **settings: Any
) -> Manifest:
    """Prepares logs that a JSON file describes.

    Args:
        schema: The JSON file; relative paths in it start at its directory.
        events: As for `prepare`.
        output_dir: As for `prepare`.
        **settings: As for `prepare`.

    Returns:
        The manifest of the prepared data.

    Raises:
        UserError: As for `prepare`; or the file holds no schema.

    Example:

    >>> _ = (tmp / "events.csv").write_text("user,object,time\\n7,5,100\\n7,6,200\\n")
    >>> _ = (tmp / "schema.json").write_text('{"groups": [{"name": "item"}], "targets": ["item"]}')
    >>> prepare_logs(tmp / "schema.json", [str(tmp / "events.csv")], tmp / "mine").time_range
    (100, 200)
    """
    _check_output(Path(output_dir), settings.get("overwrite", False))
    return prepare(Schema.load(schema), output_dir, events, Path(schema).parent, **settings)


def _write(
    ingest: Ingest, partitions: Partitions, rejections: Rejections, num_rows: int, result: Path
) -> Manifest:
    """Two passes over the partitions: count the objects; index them and write shards."""
    counted = result.parent / "counted"
    counted.mkdir()
    files, positions, num_merged = _count(ingest, partitions, rejections, num_rows, counted)
    if not files:
        raise UserError("no row of the logs can be used")
    schema, object_indices = number_objects(ingest.schema, ingest.objects, result)
    schema = positions.filled_in(schema)
    shards, users, totals = _write_shards(files, schema, object_indices, num_rows, result)
    pq.write_table(pa.table({"user": users}), result / "users.parquet")
    repeats = totals.repeats()
    schema = dataclasses.replace(
        schema,
        num_users=1 + len(users),
        groups=tuple(
            _with_negatives(
                group, [x for t, x in repeats.items() if schema.target(t).group == group.name]
            )
            for group in schema.groups
        ),
    )
    schema.save(result)
    notes = list(ingest.notes)
    if note := check_span(*totals.time_range, schema.time_unit):
        notes.append(note)
    dates = [f"{as_date(time, schema.time_unit):%Y-%m-%d}" for time in totals.time_range]
    prepared = Manifest(
        version=__version__,
        fingerprint=_fingerprint(schema, shards, result),
        users=len(users),
        events=totals.events,
        rejected=dict(rejections.counts),
        merged=num_merged,
        sources=tuple(
            manifest.Source(_shown(s.file, ingest.base), s.rows, s.kept, s.layout)
            for s in ingest.sources
        ),
        notes=tuple(notes),
        time_range=totals.time_range,
        dates=(dates[0], dates[1]),
        last_trained=totals.last_trained,
        targets=totals.targets,
        repeats=repeats,
        shards=tuple(shards),
        files={
            name: manifest.sha256(result / name)
            for name in sorted(
                str(path.relative_to(result))
                for path in result.rglob("*")
                if path.is_file() and path.parent.name != "shards"
            )
        },
    )
    prepared.save(result)
    return prepared


def _count(
    ingest: Ingest,
    partitions: Partitions,
    rejections: Rejections,
    num_rows: int,
    directory: Path,
) -> tuple[list[Path], Positions, int]:
    """Counts the objects; returns files in `directory` that hold each partition's timelines."""
    progress = Progress("counting", "events", num_rows)
    files: list[Path] = []
    positions, num_merged = Positions(), 0
    for columns in partitions:
        part, num_of_part = timelines.build(columns, ingest.schema, ingest.sources, rejections)
        num_merged += num_of_part
        timelines.count_objects(part, ingest.schema, ingest.objects)
        positions.add(part, ingest.schema)
        files.append(directory / f"{len(files)}.npz")
        np.savez(files[-1], **_arrays(part))  # type: ignore[arg-type]
        progress.advance(len(columns["user"]))
    return files, positions, num_merged


def _write_shards(
    files: Sequence[Path],
    schema: Schema,
    object_indices: dict[str, np.ndarray],
    num_rows: int,
    result: Path,
) -> tuple[list[Shard], np.ndarray, Totals]:
    """Writes a shard for each file of timelines; returns the shards, the user ids and counts."""
    # Here, since it loads TensorFlow: whoever prepares a part of the logs only needs the rest.
    from data_pipeline.prepare.shards import write_shard

    (result / "shards").mkdir()
    progress = Progress("writing", "events", num_rows)
    totals = Totals(schema)
    shards: list[Shard] = []
    users: list[np.ndarray] = []
    for i, file in enumerate(files):
        part = _timelines(file)
        name = f"shards/timelines-{i:05d}-of-{len(files):05d}.tfrecord"
        path = result / name
        first_user_index = 1 + sum(len(ids) for ids in users)
        write_shard(path, part, schema, object_indices, first_user_index)
        users.append(part.users)
        totals.add(part)
        num_events = len(part.events["user"])
        size = path.stat().st_size
        shards.append(Shard(name, len(part.users), num_events, size, manifest.sha256(path)))
        progress.advance(num_events)
    return shards, np.concatenate(users), totals


def _shown(file: str, base: Path) -> str:
    """A path as seen from where the schema's paths start, where it lies there."""
    path = Path(file).absolute()
    return str(path.relative_to(base)) if path.is_relative_to(base) else file


def _with_negatives(group: Group, repeats: Sequence[float]) -> Group:
    """The group with what its negatives are, chosen by the shares of repeats among its targets."""
    if group.negatives or group.impressions or not repeats:
        return group
    is_recurring = max(repeats) > _RECURRING_SHARE
    return dataclasses.replace(group, negatives="untaken" if is_recurring else "untouched")


def _arrays(part: timelines.Timelines) -> dict[str, np.ndarray]:
    bounds = {"validation_start": part.validation_start, "test_start": part.test_start}
    return {"users": part.users, **bounds, **{f"events/{k}": v for k, v in part.events.items()}}


def _timelines(file: Path) -> timelines.Timelines:
    with np.load(file, allow_pickle=True) as arrays:  # Strings, which `prepare` itself wrote.
        events = {
            name.removeprefix("events/"): arrays[name]
            for name in arrays.files
            if name.startswith("events/")
        }
        bounds = (arrays["validation_start"], arrays["test_start"])
        return timelines.Timelines(arrays["users"], *bounds, events)


def _check_output(output: Path, overwrite: bool) -> None:
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not overwrite:
        raise UserError(f"{output}: is not empty; choose another directory, or pass --overwrite")
    if not (output / manifest.FILE_NAME).exists():
        raise UserError(f"{output}: holds no prepared data, so it is not overwritten")
    for path in output.iterdir():
        if path.name not in _WRITTEN:
            raise UserError(f"{path}: preparation did not write it; --overwrite would remove it")


def _split_in_units(schema: Schema) -> Split:
    """The split, its times in the schema's unit; in one that fits as long as that is not known."""
    split = schema.split
    if split.kind == "time":
        numbers = [n for n in (split.validation_start, split.test_start) if isinstance(n, int)]
        unit = schema.time_unit or ("ms" if max(numbers, default=0) >= 1e11 else "s")
        start = parse_split_time(split.validation_start, "split.validation_start", unit)
        test = parse_split_time(split.test_start, "split.test_start", unit)
        if start > test:
            raise UserError(f"split: validation_start {start} is after test_start {test}")
        return dataclasses.replace(split, validation_start=start, test_start=test)
    if not 0 <= split.validation_users <= 1:
        raise UserError(f"split.validation_users is {split.validation_users}: expected 0 to 1")
    return split


def _fingerprint(schema: Schema, shards: Sequence[Shard], result: Path) -> str:
    """Of what the data holds, wherever it came from."""
    groups = tuple(
        dataclasses.replace(
            g, events="", objects=g.objects and "-", impressions=g.impressions and "-"
        )
        for g in schema.groups
    )
    digest = hashlib.sha256(repr(dataclasses.replace(schema, groups=groups)).encode())
    for shard in shards:
        digest.update(shard.sha256.encode())
    for folder in ("objects", "vocabularies"):
        for file in sorted((result / folder).iterdir()):
            digest.update(repr(pq.read_table(file).to_pydict()).encode())
    return digest.hexdigest()
