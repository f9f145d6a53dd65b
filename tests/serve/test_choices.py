"""Filters and stock over many items, beside the event loop."""

import asyncio
import threading

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.serve.answers import Index
from cofactor.serve.catalogue import Catalogue
from cofactor.serve.choices import Choices
from cofactor.serve.request_error import RequestError
from cofactor.serve.store import Stock

N_ITEMS = 40


@pytest.fixture(scope="module")
def index():
    x = cf.datasets.synthetic(n_users=20, n_items=N_ITEMS, n_interactions=600, factors=4, seed=0)
    return Index(cf.Popular().fit(x))


@pytest.fixture(scope="module")
def catalogue():
    # every second item, and in another order than the model's
    return Catalogue.read(pl.DataFrame({"item_id": range(N_ITEMS - 2, -1, -2), "price": range(N_ITEMS // 2)}))


@pytest.fixture
def choices(catalogue):
    choices = Choices(catalogue)
    yield choices
    choices.close()


def rows(choices, *asked):
    return asyncio.run(choices.rows(*asked))


def test_a_filter_and_the_stock_together(choices, index):
    cheap = [N_ITEMS - 2 - 2 * price for price in range(5)]
    assert rows(choices, index, None, None) is None
    assert rows(choices, index, None, Stock(3)) is None
    wanted = sorted(index.items.row(item) for item in cheap)
    assert rows(choices, index, "price < 5", None).tolist() == wanted
    left = [row for row in wanted if row != index.items.row(cheap[1])]
    assert rows(choices, index, "price < 5", Stock(4, frozenset({cheap[1], "38", 999}))).tolist() == left
    out = rows(choices, index, None, Stock(5, frozenset({0})))
    assert out.tolist() == [row for row in range(N_ITEMS) if row != index.items.row(0)]


def test_a_choice_is_made_once_and_not_on_the_loop(index, catalogue, choices, monkeypatch):
    threads = []
    found = Catalogue.mask

    def mask(self, filter):
        threads.append(threading.current_thread())
        return found(self, filter)

    monkeypatch.setattr(Catalogue, "mask", mask)

    async def ask():
        return await asyncio.gather(*(choices.rows(index, "price >= 3", None) for _ in range(10)))

    made = asyncio.run(ask())
    assert all(one is made[0] for one in made)
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()
    assert rows(choices, index, "price >= 3", None) is made[0]


def test_what_is_kept_has_an_end(index, choices, monkeypatch):
    monkeypatch.setattr("cofactor.serve.choices._KEPT_BYTES", 100)
    first = rows(choices, index, "price >= 1", None)
    for price in range(2, 12):
        rows(choices, index, f"price >= {price}", None)
    assert len(choices._kept) < 10
    again = rows(choices, index, "price >= 1", None)
    assert again is not first
    assert np.array_equal(again, first)


def test_wrong_filters(index, choices):
    for filter in ("price <", "prise < 5", "price = cheap"):
        with pytest.raises(RequestError) as caught:
            rows(choices, index, filter, None)
        assert (caught.value.status, caught.value.code) == (422, "filter")
    nothing = Choices(None)
    with pytest.raises(RequestError, match="no table of items"):
        rows(nothing, index, "price < 5", None)
    nothing.close()
