"""Last feature: the candidate whose campaign was received last comes first."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from atrank_tf import LastFeature
from data_pipeline.dataset import TimelineData
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.schema import Columns, Feature, Group, Schema
from tests.atrank_tf.batches import make_batch

NOW = 10**9


@pytest.fixture(scope="module")
def offers(tmp_path_factory: pytest.TempPathFactory) -> TimelineData:
    """Coupons 1 to 4: of campaigns 7, of 8, of both, of none."""
    source = tmp_path_factory.mktemp("offers")
    redeemed = [(1, "coupon", 1, 10), (1, "coupon", 2, 20), (1, "coupon", 2, 30)]
    redeemed += [(1, "coupon", 3, 40), (1, "coupon", 4, 50), (1, "coupon", 4, 60)]
    received = [(1, "campaign", 7, 5), (1, "campaign", 8, 6)]
    names = ["user", "group", "object", "time"]
    pd.DataFrame(redeemed + received, columns=names).to_parquet(source / "e.parquet")
    table = {"object": [1, 2, 3, 4], "campaign": [["7"], ["8"], ["7", "8"], []]}
    pd.DataFrame(table).to_parquet(source / "coupons.parquet")
    campaign = Feature("campaign", multivalued=True)
    schema = Schema(
        (Group("coupon", features=(campaign,), objects="coupons.parquet"), Group("campaign")),
        ("coupon", "campaign"),
        columns=Columns(group="group"),
    )
    prepare(schema, source / "data", [str(source / "e.parquet")], base_dir=source)
    return TimelineData(source / "data")


def scores_of(offers: TimelineData, received: list[tuple[int, int]]) -> dict[int, float]:
    """By coupon its score, given the campaigns that were received and when."""
    model = LastFeature(offers.schema, offers.catalog)
    ids = {
        name: pd.read_parquet(offers.directory / "objects" / f"{name}.parquet")["object"].tolist()
        for name in ("coupon", "campaign")
    }
    num_oov = offers.schema.group("campaign").num_oov
    history = [(num_oov + ids["campaign"].index(c), 1, NOW - gap) for c, gap in received]
    history.sort(key=lambda behavior: behavior[2])
    objects = [num_oov + i for i in range(len(ids["coupon"]))]
    example = {
        "query_time": NOW,
        "history": {"campaign": history},
        "candidates": {"coupon": objects},
    }
    return dict(
        zip(ids["coupon"], model(make_batch([example], offers.schema)).numpy(), strict=True)
    )


def test_the_campaign_received_last_decides_then_popularity(offers: TimelineData) -> None:
    scores = scores_of(offers, [(7, 86_400 * 30), (8, 86_400 * 29)])
    assert sorted(scores, key=lambda coupon: -scores[coupon]) == [2, 3, 1, 4]
    scores = scores_of(offers, [(7, 5), (8, 86_400 * 29)])
    assert sorted(scores, key=lambda coupon: -scores[coupon])[2:] == [2, 4]
    popularity = scores_of(offers, [])
    assert max(popularity.values()) < 1
    assert popularity[2] > popularity[1]


def test_without_shared_features_it_is_popularity(data: TimelineData, tmp_path: Path) -> None:
    model = LastFeature(data.schema, data.catalog)
    assert LastFeature.look_ups_of(data.schema, "item") == []
    events = [(data.schema.group("item").num_oov, 1, NOW - 5)]
    example = {"query_time": NOW, "history": {"item": events}}
    example["candidates"] = {"item": [*range(data.schema.group("item").num_objects)]}
    batch = make_batch([example], data.schema)
    counts = data.catalog["item"]["train_counts"]
    np.testing.assert_allclose(model(batch), np.log1p(counts) / 64, rtol=1e-5)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        keras.models.load_model(tmp_path / "model.keras")(batch), model(batch)
    )
