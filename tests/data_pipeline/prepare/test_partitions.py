"""Partitions: bounded memory changes no timeline."""

from pathlib import Path

import numpy as np

from data_pipeline.manifest import Manifest
from data_pipeline.prepare.pipeline import prepare
from tests.data_pipeline.prepare.logs import ONE_GROUP, events_of, records, write


def test_a_small_memory_budget_gives_more_shards_and_the_same_timelines(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    many = events_of([(u, o, 50 * u + o // 3) for u in range(40) for o in random.permutation(400)])
    source = str(write(many, tmp_path / "e.parquet"))
    prepare(ONE_GROUP, tmp_path / "large", [source])
    small = prepare(ONE_GROUP, tmp_path / "small", [source], memory_budget_mb=1)
    assert len(small.shards) > len(Manifest.load(tmp_path / "large").shards)

    def timelines(name: str) -> dict:
        by_user = records(tmp_path / name)
        return {u: {k: v for k, v in r.items() if k != "user_index"} for u, r in by_user.items()}

    assert timelines("small") == timelines("large")
