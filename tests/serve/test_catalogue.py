"""Items tables: what filters allow is what a slow reading of the rows allows; names, attributes, notes, errors."""

import datetime as dt
import json
import operator
import threading

import numpy as np
import polars as pl
import pytest

from cofactor.data.ids import IdMap
from cofactor.errors import DataError, ParameterError
from cofactor.serve.catalogue import Catalogue

DAY = dt.date(2024, 5, 31)
TABLE = pl.DataFrame(
    {
        "item_id": [30, 10, 20, 40, 50],
        "name": ["Fluid milk", "Goat's cheese", "Bread <b>rye</b>", None, "Crème brûlée"],
        "category": ["dairy", "dairy", "bakery", "bakery", None],
        "price": [1.5, 5.0, None, float("nan"), 4.99],
        "stock": [3, 0, 2**53 + 1, None, -1],
        "organic": [True, False, None, True, False],
        "since": [DAY, dt.date(2024, 6, 1), dt.date(2023, 1, 1), None, DAY],
        "seen": [dt.datetime(2024, 5, 31, 18, 30), dt.datetime(2024, 6, 1), dt.datetime(2024, 5, 31), None, None],
        "tags": [["cold", "white"], ["cold"], [], None, ["sweet", None]],
        "unit price": [1, 2, 3, 4, 5],
    }
)
ROWS = {row["item_id"]: row for row in TABLE.to_dicts()}


@pytest.fixture(scope="module")
def items():
    return IdMap([10, 20, 30, 40, 50])


@pytest.fixture
def catalogue(items):
    return Catalogue.read(TABLE, items)


SIGNS = {"=": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def slowly(column, sign, value):
    """The ids of the rows where a comparison holds, row by row; what is missing fulfils none."""
    there = {i: row[column] for i, row in ROWS.items() if row[column] is not None and row[column] == row[column]}
    return {i for i, cell in there.items() if (cell != value if sign == "!=" else SIGNS[sign](cell, value))}


def allowed(catalogue, text):
    found = catalogue.allowed(text)
    assert (np.flatnonzero(found.mask) == found.rows).all()
    assert found.rows.dtype == np.int32
    return set(catalogue.items.take(found.rows).to_list())


@pytest.mark.parametrize("sign", [*SIGNS, "!="])
@pytest.mark.parametrize(
    ("column", "value", "written"),
    [
        ("price", 5.0, "5"),
        ("price", 4.99, "4.99"),
        ("stock", 0, "0"),
        ("stock", 2**53 + 1, str(2**53 + 1)),
        ("stock", 2**53, str(2**53)),
        ("stock", 10**30, str(10**30)),
        ("stock", 0.5, "0.5"),
        ("unit price", 3, "3"),
        ("category", "dairy", "dairy"),
        ("category", "cellar", "cellar"),
        ("category", "", "''"),
        ("since", DAY, "2024-05-31"),
        ("seen", dt.datetime(2024, 5, 31, 18, 30), "'2024-05-31 18:30'"),
        ("seen", dt.datetime(2024, 5, 31, 16, 30), "2024-05-31T18:30+02:00"),
    ],
)
def test_a_comparison_holds_where_it_does_row_by_row(catalogue, column, sign, value, written):
    assert allowed(catalogue, f"'{column}' {sign} {written}") == slowly(column, sign, value)


def test_a_day_is_all_of_its_times(catalogue):
    assert allowed(catalogue, "seen = 2024-05-31") == {20, 30}
    assert allowed(catalogue, "seen <= 2024-05-31") == {20, 30}
    assert allowed(catalogue, "seen > 2024-05-31") == {10}
    assert allowed(catalogue, "seen in (2024-05-31, 2024-06-01)") == {10, 20, 30}


def test_flags_lists_and_sets(catalogue):
    assert allowed(catalogue, "organic = true") == {30, 40}
    assert allowed(catalogue, "organic != TRUE") == {10, 50}
    assert allowed(catalogue, "tags = cold") == {10, 30}
    assert allowed(catalogue, "tags != cold") == {20, 50}  # an empty list is there, and has it not
    assert allowed(catalogue, "tags in (white, sweet)") == {30, 50}
    assert allowed(catalogue, "category in (dairy, other)") == {10, 30}
    assert allowed(catalogue, "category not in (dairy, other)") == {20, 40}
    assert allowed(catalogue, "name = 'Goat''s cheese'") == {10}


def test_many_values_of_every_type(catalogue):
    days = ",".join(f"2024-{month:02}-{day:02}" for month in range(1, 13) for day in range(1, 29))
    assert allowed(catalogue, f"since in ({days}, 2024-05-31)") == {10, 30, 50}
    assert allowed(catalogue, "seen not in (2024-05-31, 2024-05-30)") == {10}
    assert allowed(catalogue, f"stock in ({','.join(map(str, range(-5, 900)))}, 2.5, 1e300)") == {10, 30, 50}
    assert allowed(catalogue, f"stock not in ({2**53}, {10**40})") == {10, 20, 30, 50}
    assert allowed(catalogue, "price in (1.5, 5, 7)") == {10, 30}
    small = Catalogue.read(pl.DataFrame({"item_id": [1, 2], "n": [7, -7]}, schema_overrides={"n": pl.Int8}))
    assert allowed(small, "n in (7, 1000, -1000)") == {1}
    assert allowed(small, "n < 1000 and n > -1000.5") == {1, 2}
    large = Catalogue.read(pl.DataFrame({"item_id": [1, 2], "n": [2**64 - 1, 0]}, schema_overrides={"n": pl.UInt64}))
    assert allowed(large, "n > 9e18") == {1}


def test_what_is_missing_is_null_and_nothing_else(catalogue):
    assert allowed(catalogue, "price = null") == {20, 40}
    assert allowed(catalogue, "price != null") == {10, 30, 50}
    assert allowed(catalogue, "tags = null") == {40}
    assert allowed(catalogue, "not price < 5") == {10, 20, 40}  # the plain opposite
    assert allowed(catalogue, "price >= 5") == {10}


def test_comparisons_join(catalogue):
    assert allowed(catalogue, "category = dairy and price < 5") == {30}
    assert allowed(catalogue, "category = bakery or price < 5 and organic = true") == {20, 30, 40}
    assert allowed(catalogue, "(category = bakery or price < 5) and organic = true") == {30, 40}
    assert allowed(catalogue, "category = nothing") == set()


def test_a_filter_is_evaluated_once(catalogue, monkeypatch):
    first = catalogue.mask("price < 5")
    assert not first.flags.writeable
    assert catalogue.mask("price < 5") is first
    monkeypatch.setattr("cofactor.serve.catalogue._KEPT_FILTERS", 3)
    for n in range(5):
        catalogue.mask(f"price < {n}")
    assert len(catalogue._kept) == 3
    assert catalogue.mask("price < 5") is not first
    monkeypatch.setattr("cofactor.serve.catalogue._KEPT_BYTES", 0)
    assert allowed(catalogue, "price < 2") == {30}  # what is too large to be kept is answered all the same
    assert not catalogue._kept


def test_threads_may_ask_at_once(catalogue):
    wrong = []

    def ask(n):
        filters = [(f"stock >= {(n + m) % 4}", slowly("stock", ">=", (n + m) % 4)) for m in range(50)]
        wrong.extend(text for text, right in filters if allowed(catalogue, text) != right)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("categry = dairy", "position 1: no column 'categry'; the columns are name, category, price, stock,"),
        ("categry = dairy", "unit price; did you mean category?"),
        ("price < 5 and Price > 3", "position 15: no column 'Price'; the columns are "),
        ("price < cheap", "position 9: column price holds numbers, got 'cheap'; write it as 5 or 4.99"),
        ("price < nan", "holds numbers, got 'nan'"),
        ("price < 1e999", "holds numbers, got '1e999'"),
        ("organic = yes", "position 11: column organic holds true or false, got 'yes'"),
        ("organic < true", "position 1: column organic holds true or false and has no order"),
        ("tags < a", "column tags holds lists and has no order; compare it by =, !=, in, not in"),
        ("since = May", "position 9: column since holds dates, got 'May'; write it as 2024-05-31"),
        ("since = '2024-05-31 18:30'", "holds dates, got"),
        ("seen < 31.05.2024", "holds times, got '31.05.2024'"),
        ("price < null", "position 9: null stands after = or != only"),
        ("price in (1, null)", "position 14: null stands"),
        ("item_id = 10", "no column 'item_id'"),
    ],
)
def test_what_cannot_be_compared_is_told(catalogue, text, told):
    with pytest.raises(ParameterError) as caught:
        catalogue.allowed(text)
    assert told in str(caught.value)


def test_the_order_is_that_of_the_model(items):
    of_model = Catalogue.read(TABLE, IdMap([20, 30, 99]))
    assert [of_model.name(row) for row in range(3)] == ["Bread <b>rye</b>", "Fluid milk", None]
    assert allowed(of_model, "price < 5") == {30}
    assert of_model.notes == (
        "1 of 3 items of the model are not in the table",
        "3 of 5 items of the table are not in the model",
    )
    own = Catalogue.read(TABLE)
    assert own.ids == [10, 20, 30, 40, 50]
    assert own.notes == ()


def test_attributes_are_json(catalogue):
    told = json.loads(json.dumps([catalogue.attributes(row) for row in range(5)]))
    assert told[2] == {
        "name": "Fluid milk",
        "category": "dairy",
        "price": 1.5,
        "stock": 3,
        "organic": True,
        "since": "2024-05-31",
        "seen": "2024-05-31T18:30:00",
        "tags": ["cold", "white"],
        "unit price": 1,
    }
    assert told[3]["price"] is None


def test_other_types_are_told_and_shown():
    table = {"item_id": [1], "size": [{"w": 1.5, "h": None}], "raw": [b"x"], "took": [dt.timedelta(seconds=90)]}
    catalogue = Catalogue.read(pl.DataFrame(table))
    assert catalogue.notes == ("raw: left out, as it holds Binary",)
    assert catalogue.attributes(0) == {"size": {"w": 1.5, "h": None}, "took": "0:01:30"}
    assert catalogue.describe()[0] == {"name": "size", "type": "other", "operators": []}
    with pytest.raises(ParameterError, match=r"column size holds Struct.* no comparison"):
        catalogue.allowed("size = 1")


def test_columns_are_described(catalogue):
    told = {one.pop("name"): one for one in catalogue.describe()}
    assert "values" not in told["name"]
    assert told["category"]["values"] == ["bakery", "dairy"]
    assert told["price"]["range"] == [1.5, 5.0]
    assert told["price"]["quantiles"] == [1.5, 4.99, 5.0]
    assert told["stock"]["type"] == "number"
    assert told["since"]["range"] == ["2023-01-01", "2024-06-01"]
    assert told["tags"]["values"] == ["cold", "sweet", "white"]
    assert told["tags"]["operators"] == ["=", "!=", "in", "not in"]
    json.dumps(told)


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_files_are_read(tmp_path, ending):
    table = pl.DataFrame({"sku": ["007", "8/9", "ü%"], "label": ["a", "b", "c"], "price": [1.0, 2.0, 3.0]})
    path = tmp_path / f"items.{ending}"
    {"parquet": table.write_parquet, "csv": table.write_csv, "jsonl": table.write_ndjson}[ending](path)
    catalogue = Catalogue.read(path, IdMap.from_values(["007", "8/9", "ü%"]), item="sku")
    assert catalogue.name_column == "label"
    assert allowed(catalogue, "price > 1") == {"8/9", "ü%"}


def test_bad_tables_are_told(tmp_path, items):
    with pytest.raises(ParameterError, match=r"item='itemid': .* no such column; .*; did you mean item_id\?"):
        Catalogue.read(TABLE, items, item="itemid")
    with pytest.raises(ParameterError, match="name='title'"):
        Catalogue.read(TABLE, items, name="title")
    with pytest.raises(DataError, match="1 item\\(s\\) have more than one row, the first is 10"):
        Catalogue.read(pl.concat([TABLE, TABLE.filter(pl.col("item_id") == 10)]), items)
    with pytest.raises(DataError, match=r"1 null\(s\) in item_id"):
        Catalogue.read(pl.DataFrame({"item_id": [1, None], "a": [1, 2]}), items)
    with pytest.raises(DataError, match="ids of type String"):
        Catalogue.read(pl.DataFrame({"item_id": ["10"], "a": [1]}), items)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(DataError, match=r"broken\.parquet"):
        Catalogue.read(tmp_path / "broken.parquet", items)


def test_a_table_of_ids_alone_and_one_of_nothing(items):
    bare = Catalogue.read(TABLE.select("item_id"), items)
    assert bare.describe() == []
    assert bare.attributes(0) == {}
    assert bare.name(0) is None
    assert bare.search("30").tolist() == [2]
    with pytest.raises(ParameterError, match="no column 'a'"):
        bare.allowed("a = 1")
    empty = Catalogue.read(TABLE.clear())
    assert empty.search("milk").tolist() == []
    assert allowed(empty, "price < 5 or category = dairy or tags = cold") == set()
    json.dumps(empty.describe())
