"""Shards: how much they hold."""

from pathlib import Path

from data_pipeline.prepare.pipeline import prepare
from tests.data_pipeline.prepare.logs import ONE_GROUP, events_of, write


def test_storage_is_linear_in_the_events(tmp_path: Path) -> None:
    sizes = []
    for length in (200, 2000):
        frame = events_of([(1, o % 50, o) for o in range(length)])
        source = str(write(frame, tmp_path / f"e{length}.csv"))
        manifest = prepare(ONE_GROUP, tmp_path / f"out{length}", [source])
        sizes.append(sum(shard.bytes for shard in manifest.shards))
    assert sizes[1] < 12 * sizes[0]
