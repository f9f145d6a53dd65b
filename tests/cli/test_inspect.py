import polars as pl

import cofactor as cf
from cofactor.cli.inspect import _roles


def test_model(model, run, run_json):
    shown = run("inspect", model).stdout
    for text in ("ImplicitALS", "regularization_exponent", ".safetensors", "whole"):
        assert text in shown
    found = run_json("inspect", model)
    assert found["counts"]["interactions"] == cf.load(model).interactions_.nnz
    assert found["params"]["factors"] == 4
    assert [f["file"].partition("-")[0] for f in found["files"]] == ["arrays", "users", "items"]


def test_damaged_model(log, run, tmp_path):
    run("train", log, "-o", tmp_path / "m", "-m", "popular")
    (items,) = (tmp_path / "m").glob("items-*.parquet")
    with items.open("ab") as file:
        file.write(b"x")
    for command in (["inspect"], ["recommend"], ["similar"], ["evaluate"]):
        result = run(*command, tmp_path / "m", *([log] if command == ["evaluate"] else []), expect=1)
        assert f"{items.name} is damaged" in result.stderr
        assert result.stdout == ""


def test_events(log, run, run_json):
    shown = run("inspect", log).stdout
    assert "1,500 events" in shown
    assert f"cofactor compare {log} --user user_id --item item_id --time time --event-type event_type" in shown
    found = run_json("inspect", log)
    assert found["events"] == 1500
    assert [c["nulls"] for c in found["columns"]] == [0, 0, 0, 0]
    assert len(found["first"]) == 5


def test_events_without_likely_roles(run, tmp_path):
    pl.DataFrame({"a": [1, None], "b": [[1], [2]]}).write_ndjson(tmp_path / "log.jsonl")
    assert "with --user and --item" in run("inspect", tmp_path / "log.jsonl").stdout


def test_damaged_events(run, tmp_path):
    (tmp_path / "log.parquet").write_bytes(b"PAR1 and nothing more")
    assert "log.parquet" in run("inspect", tmp_path / "log.parquet", expect=1).stderr
    assert "no such file" in run("inspect", tmp_path / "none.csv", expect=1).stderr


def test_roles():
    def roles(*names):
        return _roles(pl.Schema(dict.fromkeys(names, pl.Int64)))

    grocery = roles("household_id", "store_id", "basket_id", "product_id", "quantity", "transaction_timestamp")
    assert grocery == {
        "user": "household_id",
        "item": "product_id",
        "time": "transaction_timestamp",
        "session": "basket_id",
    }
    retail = roles("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID")
    assert retail == {"user": "CustomerID", "item": "StockCode", "time": "InvoiceDate", "session": "InvoiceNo"}
    assert roles("userId", "movieId", "rating", "timestamp") == {
        "user": "userId",
        "item": "movieId",
        "rating": "rating",
        "time": "timestamp",
    }
    assert roles("timestamp", "visitorid", "event", "itemid", "transactionid")["event-type"] == "event"
