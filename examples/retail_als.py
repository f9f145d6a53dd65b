"""A shop from its log to five recommendations for everybody: implicit ALS, its parameters from a grid.

    python examples/retail_als.py                                # groceries: pip install 'cofactor[demo]'
    python examples/retail_als.py online_retail.parquet          # UCI Online Retail, invoices
    python examples/retail_als.py retailrocket_events_10core     # a folder: views, carts and purchases, without times
    python examples/retail_als.py online_retail.parquet --out shop --users 500

Events without a customer belong to the session they are of (``anonymous="session"``): an invoice, here. The confidence
that a user likes an item is ``1 + views + 10 * carts``; where a log knows purchases only, every line counts as a view.

The last four weeks are the test; of a log without times, a fifth of every user's items. Factors, regularization and
iterations are chosen by a grid inside the rest: on its own last four weeks, or on a tenth of every user's items, by
accuracy@5, the share of users one of whose new items is among five. Then the test is read once, beside ItemKNN and
Popular; and the best model is fitted to the whole log for the lists, which leave out what was bought.
"""

from __future__ import annotations

import argparse
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

import cofactor as cf
from cofactor.report.results import make_report

if TYPE_CHECKING:
    from cofactor.data.events import Events
    from cofactor.evaluation.study import Study
    from cofactor.report.page import Report

GRID = {"factors": [64, 128, 256], "regularization": [0.003, 0.01, 0.02], "iterations": [5, 10, 15]}
SMALL_GRID = {"factors": [8, 16], "regularization": [0.01, 0.03], "iterations": [3, 5]}
ACCURACY = "hit_rate@5"  # accuracy@5: one of the new items is among five
METRICS = (ACCURACY, "precision@5", "recall@5", "ndcg@5")
CONFIDENCE = 1 + pl.col("views").sum() + 10 * pl.col("carts").sum()


@dataclass(frozen=True)
class Shop:
    """A log, and what is held out of it.

    Parameters
    ----------
    name : str
    train, whole : Events
        With the columns ``views`` and ``carts``.
    test : DataFrame
        ``user_id``, ``item_id``.
    valid : str or float
        What ``tune`` holds out of train.
    bought : DataFrame
        ``user_id``, ``item_id``: lists leave it out.
    titles : DataFrame, optional
        ``item_id``, ``title``.
    """

    name: str
    train: Events
    whole: Events
    test: pl.DataFrame
    valid: str | float
    bought: pl.DataFrame
    titles: pl.DataFrame | None = None


def groceries(users: int | None) -> Shop:
    """The Complete Journey: households, a year of purchases."""
    log = first_users(cf.datasets.completejourney(), users)
    log = log.with_frame(log.frame.with_columns(views=1, carts=0))
    titles = cf.datasets.grocery_products().select(item_id="product_id", title="name")
    return of_purchases("groceries", log, titles)


def invoices(file: Path, users: int | None) -> Shop:
    """UCI Online Retail: a quarter of the lines has no customer; negative quantities are returns."""
    lines = pl.scan_parquet(file).filter(pl.col("Quantity") > 0, pl.col("UnitPrice") > 0)
    # The copies that go around lack the number of the invoice: it is what one country orders in one minute.
    session = pl.concat_str("InvoiceDate", "Country", separator=" ")
    item = pl.col("Description").str.strip_chars()
    log = cf.read_events(
        lines.with_columns(session=session, item=item, views=1, carts=0).filter(item.str.len_chars() > 0),
        user="CustomerID",
        item="item",
        time="InvoiceDate",
        session="session",
        anonymous="session",
    )
    return of_purchases("online retail", first_users(log, users), None)


def of_purchases(name: str, log: Events, titles: pl.DataFrame | None) -> Shop:
    """The last four weeks of a log of purchases are the test."""
    train, test = cf.split.by_time(log, "28d")
    return Shop(name, train, log, test.pairs(), "28d", log.pairs(), titles)


def pairs(folder: Path, users: int | None) -> Shop:
    """Retailrocket: pairs of user and item that were viewed, put into the cart, and purchased; no times."""
    kinds = {"view": (1, 0), "add_to_cart": (0, 1), "purchase": (0, 0)}
    parts = [
        pl.read_csv(folder / f"{kind}_ecommerce.dat", separator="\t").with_columns(
            pl.lit(kind).alias("kind"), views=pl.lit(views), carts=pl.lit(carts)
        )
        for kind, (views, carts) in kinds.items()
    ]
    log = first_users(cf.read_events(pl.concat(parts), user="visitorid", item="itemid", event_type="kind"), users)
    # An item is held out with all that the user did to it, so that training does not know it.
    items = log.pairs().sample(fraction=1, shuffle=True, seed=0)
    place, n = pl.int_range(pl.len()).over("user_id"), pl.len().over("user_id")
    test = items.filter(place < n // 5).sort("user_id", "item_id")
    held_out = test.lazy().rename({"user_id": "visitorid", "item_id": "itemid"})
    train = log.with_frame(log.frame.join(held_out, on=["visitorid", "itemid"], how="anti", maintain_order="left"))
    return Shop("retailrocket", train, log, test, 0.1, log.filter(pl.col("kind") == "purchase").pairs())


def first_users(log: Events, users: int | None) -> Events:
    """The log of so many users, all of it for None."""
    if users is None:
        return log
    ids = log.frame.select(pl.col(log.user).unique().sort()).collect().to_series()[:users]
    return log.filter(pl.col(log.user).is_in(ids.implode()))


def read(path: Path | None, users: int | None) -> Shop:
    """The log that a path is."""
    if path is None:
        return groceries(users)
    return pairs(path, users) if path.is_dir() else invoices(path, users)


def lists(shop: Shop, model: cf.ImplicitALS) -> pl.DataFrame:
    """Five items for every user, without what was bought; what was only viewed may come."""
    found = model.recommend(k=5, exclude_seen=False, exclude=shop.bought)
    return found if shop.titles is None else found.join(shop.titles, on="item_id", how="left", maintain_order="left")


def report(
    shop: Shop, study: Study, board: pl.DataFrame, models: dict[str, cf.Recommender], found: pl.DataFrame
) -> Report:
    """The page: leaderboard, slices, long tail, the grid, some users, and the first final lists."""
    page = make_report(
        board,
        models=models,
        train=shop.train,
        test=shop.test,
        trials=study,
        names=shop.titles,
        k=5,
        title=f"Implicit ALS for {shop.name}",
        lead=f"The grid was measured on a part of training ({study.validation}), the test for this table only.",
    )
    some = found["user_id"].unique(maintain_order=True).head(3)
    rows = found.filter(pl.col("user_id").is_in(some.implode())).with_columns(pl.col("score").round(3))
    page.section("Five recommendations").text("Of the first users, by the model of the whole log; nothing was bought.")
    return page.table(rows)


def readable(board: pl.DataFrame) -> pl.DataFrame:
    """A leaderboard without the ends of the intervals."""
    return board.select("model", *(pl.col(metric).round(4) for metric in METRICS), pl.col("fit_seconds").round(1))


def main() -> dict[str, pl.DataFrame]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", nargs="?", type=Path, help="file or folder; by default the groceries")
    parser.add_argument("--out", type=Path, help="folder for recommendations.parquet, report.html and the model")
    parser.add_argument("--users", type=int, help="of the first so many users only")
    parser.add_argument("--small", action="store_true", help="a grid of eight small models")
    args = parser.parse_args()
    warnings.simplefilter("ignore", cf.CofactorWarning)  # what was bought again, and events without a customer
    shop = read(args.log, args.users)
    x = shop.train.interactions(CONFIDENCE)
    told = f"{x.n_users:,} users, {x.n_items:,} items, {x.nnz:,} pairs to learn from; {len(shop.test):,} to find"
    print(f"{shop.name}: {told}", flush=True)
    space = SMALL_GRID if args.small else GRID
    options: dict[str, Any] = {"metric": ACCURACY, "valid": shop.valid, "weight": CONFIDENCE}
    study = cf.tune(cf.ImplicitALS(seed=0), shop.train, space=space, method="grid", **options)
    best = study.best_params
    print(f"grid: {len(study.trials)} fits; best accuracy@5 {study.best_value:.4f} with {best}", flush=True)
    models: dict[str, cf.Recommender] = {
        "ImplicitALS": cf.ImplicitALS(seed=0, **best),
        "ItemKNN": cf.ItemKNN(),
        "Popular": cf.Popular(),
    }
    board = cf.compare(models, shop.train, shop.test, METRICS, weight=CONFIDENCE, intervals=True)
    print(readable(board))
    final = study.refit(shop.whole.interactions(CONFIDENCE))
    found = lists(shop, final)
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        found.write_parquet(args.out / "recommendations.parquet")
        final.save(args.out / "model")
        report(shop, study, board, models, found).write(args.out / "report.html")
    print(found.head(10))
    return {"trials": study.trials, "board": board, "lists": found}


if __name__ == "__main__":
    main()
