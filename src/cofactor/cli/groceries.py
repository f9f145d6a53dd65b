"""What the demo does with the grocery log, apart from printing and writing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from cofactor.data import split
from cofactor.data.events import Events
from cofactor.data.interactions import Interactions
from cofactor.datasets import completejourney, grocery_products
from cofactor.evaluation.compare import compare
from cofactor.evaluation.unseen import unseen
from cofactor.models import Fallback, ImplicitALS, PersonalPopular, Popular, Random, Recommender

__all__ = ["ALS", "METRICS", "WEIGHT", "Groceries", "Results", "analyse", "read_groceries"]

# Chosen on the four weeks before the test weeks. The counts are weights as they are: in groceries a product bought ten
# times says more than ten bought once, and a catalogue this large needs a strong pull of the unobserved towards zero.
ALS: dict[str, Any] = {
    "factors": 128,
    "alpha": 1.0,
    "unobserved_weight": 1.0,
    "regularization": 0.002,
    "regularization_exponent": 1.0,
    "iterations": 12,
    "seed": 0,
}
WEIGHT = pl.len()
METRICS = ("ndcg@10", "precision@10", "recall@10", "coverage@10")

_NO_GROCERIES = ("FUEL", "COUPON", "MISCELLANEOUS", "CNTRL/STORE SUP", "POSTAL CENTER", "PROD-WHS SALES")
_WELL_KNOWN = ("Bananas", "Ground coffee")


@dataclass(frozen=True)
class Groceries:
    """The log, and the names of its products.

    Attributes
    ----------
    events : Events
        Lines of products that have a name and are groceries.
    names : DataFrame
        ``item_id`` and ``product``, a name for people.
    items : DataFrame
        ``item_id``, ``name``, ``department``, ``category``, ``brand`` and ``price``, the mean of what was paid for one.
    n_left_out : int
        Lines of fuel, coupons, services and products without a name.
    """

    events: Events
    names: pl.DataFrame
    items: pl.DataFrame
    n_left_out: int

    def named(self, table: pl.DataFrame, column: str = "item_id") -> pl.DataFrame:
        """Put the name of the product in the place after its id."""
        named = table.join(self.names.rename({"item_id": column}), on=column, how="left", maintain_order="left")
        place = table.columns.index(column) + 1
        return named.select(*table.columns[:place], "product", *table.columns[place:])


@dataclass(frozen=True)
class Results:
    """What the demo shows and writes.

    Attributes
    ----------
    facts : dict
        About the data, for people.
    interactions : Interactions
        What the models learned from.
    repeats, discovery : DataFrame
        Leaderboards: any product counts, and new products only.
    stories : dict
        Small tables by their titles.
    recommendations : DataFrame
        Lists of the best model of each leaderboard for every household.
    items : DataFrame
        What the products are; see `Groceries`.
    als : ImplicitALS
    """

    facts: dict[str, str]
    interactions: Interactions
    repeats: pl.DataFrame
    discovery: pl.DataFrame
    stories: dict[str, pl.DataFrame]
    recommendations: pl.DataFrame
    items: pl.DataFrame
    als: ImplicitALS


def read_groceries() -> Groceries:
    """Scan the log and leave out what nobody puts into a basket."""
    log, products = completejourney(), grocery_products()
    products = products.filter(pl.col("name").is_not_null(), ~pl.col("department").is_in(_NO_GROCERIES))
    # The package size of fresh produce is that of the case it is delivered in.
    produce = pl.col("department") == "PRODUCE"
    name = pl.when(produce).then(pl.col("name").str.split(", ").list.first()).otherwise(pl.col("name"))
    meat = pl.col("department").str.starts_with("MEAT") & pl.col("product_category").is_not_null()
    name = (
        pl.when(meat)
        .then(pl.col("product_category").str.to_titlecase() + ": " + name.str.to_lowercase())
        .otherwise(name)
    )
    brand = pl.when(pl.col("brand") == "Private").then(pl.lit(" (store brand)")).otherwise(pl.lit(""))
    names = products.select(pl.col("product_id").alias("item_id"), (name + brand).alias("product"))
    kept = log.frame.join(names.lazy().select(pl.col("item_id").alias(log.item)), on=log.item, how="semi")
    events = log.with_frame(kept)
    items = (
        names.rename({"product": "name"}).with_columns(_worded(products)).join(_prices(events), "item_id", how="left")
    )
    return Groceries(events, names, items, log.n_events - events.n_events)


def _worded(products: pl.DataFrame) -> list[pl.Series]:
    """Department, category and brand in small letters."""
    columns = {"department": "department", "category": "product_category", "brand": "brand"}
    return [products[column].str.to_titlecase().alias(name) for name, column in columns.items()]


def _prices(events: Events) -> pl.DataFrame:
    """What was paid for one of each product, on average."""
    paid, pieces = pl.col("sales_value").sum(), pl.col("quantity").sum()
    price = pl.when(pieces > 0).then((paid / pieces).round(2)).alias("price")
    return events.frame.group_by(pl.col(events.item).alias("item_id")).agg(price).collect()


def analyse(tell: Callable[[str], object]) -> Results:
    """Split, fit, measure and recommend; ``tell`` hears what happens next."""
    tell("Reading a year of groceries and holding out the last four weeks ...")
    data = read_groceries()
    train, test = split.by_time(data.events, "28d")
    x, pairs = train.interactions(WEIGHT), test.pairs()
    als = ImplicitALS(**ALS)
    models: dict[str, Recommender] = {
        "random": Random(seed=0),
        "popular": Popular(),
        "history+popular": Fallback(PersonalPopular(), Popular()),
        "iALS": als,
    }
    tell("Fitting four models, each once, and measuring them twice ...")
    new = unseen(pairs, x)
    repeats = compare(models, x, pairs, METRICS, exclude_seen=False, intervals=True)
    discovery = compare(models, None, new, METRICS, exclude_seen=True, intervals=True)
    tell("Recommending ...")
    best = {"again": repeats["model"][0], "new": discovery["model"][0]}
    lists = {kind: models[name].recommend(exclude_seen=kind == "new") for kind, name in best.items()}
    home = _median_household(x, pairs)
    stories = {
        f"Household {home}: what it bought most often before": _history(data, train, home),
        f"Recommended to it, repeats allowed (by {best['again']})": _checked(data, lists["again"], pairs, home),
        f"Recommended to it, new products only (by {best['new']})": _checked(data, lists["new"], pairs, home),
        **_similar(data, als),
    }
    n_bought = pairs.filter(pl.col("user_id") == home).height
    facts = {
        "log": f"{data.events.n_events:,} lines ({data.n_left_out:,} of fuel, coupons and nameless products left out)",
        "to learn from": f"{train.n_events:,} lines: {x.n_users:,} households, {x.n_items:,} products, {x.nnz:,} pairs",
        "to find": f"{pairs.height:,} pairs of the last four weeks, {new.height:,} of them new to the household",
        "one household": f"{home}, which bought {n_bought} products in these weeks, the median",
    }
    return Results(facts, x, repeats, discovery, stories, _together(data, lists), data.items, als)


def _median_household(x: Interactions, pairs: pl.DataFrame) -> int:
    """The one that bought the median number of products in the test weeks: typical, not a chosen success."""
    known = pairs.filter(pl.Series(x.users.rows(pairs["user_id"]) >= 0))
    counts = known.group_by("user_id").len().sort("len", "user_id")
    return int(counts["user_id"][counts.height // 2])


def _history(data: Groceries, train: Events, home: int) -> pl.DataFrame:
    lines = train.filter(pl.col(train.user) == home).frame
    times = lines.group_by(pl.col(train.item).alias("item_id")).agg(pl.len().alias("times")).collect()
    return data.named(times.sort("times", "item_id", descending=[True, False]).head(10)).drop("item_id")


def _checked(data: Groceries, lists: pl.DataFrame, pairs: pl.DataFrame, home: int) -> pl.DataFrame:
    """The household's list by name, and what it bought of it in the test weeks."""
    bought = pairs.filter(pl.col("user_id") == home)["item_id"].implode()
    mark = pl.when(pl.col("item_id").is_in(bought)).then(pl.lit("yes")).otherwise(pl.lit("")).alias("bought then")
    return data.named(lists.filter(pl.col("user_id") == home)).select("rank", "product", mark)


def _similar(data: Groceries, als: ImplicitALS) -> dict[str, pl.DataFrame]:
    """The products most similar to well-known ones: of each kind the one that most households buy."""
    x = als.interactions_
    n_households = pl.Series("n", np.diff(x.item_users.indptr))
    products = data.named(x.items.ids.alias("item_id").to_frame()).with_columns(n_households)
    tables = {}
    for kind in _WELL_KNOWN:
        of_kind = products.filter(pl.col("product").str.starts_with(kind)).sort(
            "n", "item_id", descending=[True, False]
        )
        for item, name in of_kind.select("item_id", "product").head(1).iter_rows():
            similar = data.named(als.similar_items([item]), "similar_item_id")
            tables[f"Bought by the same households as {name} (by iALS)"] = similar.select("rank", "product", "score")
    return tables


def _together(data: Groceries, lists: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """All lists in one table: ``household_id``, ``kind`` ("again", "new"), ``product_id``, ``product``, score, rank."""
    tables = [table.with_columns(kind=pl.lit(kind)) for kind, table in lists.items()]
    return data.named(pl.concat(tables)).select(
        pl.col("user_id").alias("household_id"),
        "kind",
        pl.col("item_id").alias("product_id"),
        "product",
        "score",
        "rank",
    )
