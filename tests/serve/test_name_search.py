"""Items are found by the beginnings of words, by their ids, and in spite of small errors."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofactor.data.ids import IdMap
from cofactor.errors import ParameterError
from cofactor.serve.name_search import NameSearch, beginning_distances

NAMES = ["Chocolate milk", "Fluid milk", "Milk", "Milkshake, 8 oz", "Crème brûlée", "牛乳 1L", None]
NAMES += ["Oat drink (milky)"]


@pytest.fixture(scope="module")
def search():
    return NameSearch(pl.Series(NAMES), IdMap([*range(100, 100 + len(NAMES))]))


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("milk", ["Milk", "Fluid milk", "Chocolate milk", "Milkshake, 8 oz", "Oat drink (milky)"]),
        ("MILK choc", ["Chocolate milk"]),
        ("choc mil", ["Chocolate milk"]),
        ("creme brulee", ["Crème brûlée"]),
        ("CRÈME", ["Crème brûlée"]),
        ("牛", ["牛乳 1L"]),
        ("mlik", ["Milk", "Milkshake, 8 oz", "Fluid milk", "Chocolate milk", "Oat drink (milky)"]),
        ("choclate", ["Chocolate milk"]),
        ("milkshale", ["Milkshake, 8 oz"]),
        ("oz 8", ["Milkshake, 8 oz"]),
        ("xyz", []),
        ("milk xyz", []),
        ("mlk", []),  # three letters are too few to be forgiven any
        ("", []),
        ("()!?", []),
        ("103", ["Milkshake, 8 oz"]),
        (" 103 ", ["Milkshake, 8 oz"]),
        ("9" * 30, []),
        ("'; drop table items --", []),
    ],
)
def test_what_is_typed_finds(search, typed, found):
    assert [NAMES[row] for row in search.find(typed)] == found


def test_k_and_those_that_may_be_found(search):
    assert [NAMES[row] for row in search.find("milk", 2)] == ["Milk", "Fluid milk"]
    among = np.array([name != "Milk" for name in NAMES])
    assert [NAMES[row] for row in search.find("milk", 2, among=among)] == ["Fluid milk", "Chocolate milk"]
    assert search.find("102", among=among).tolist() == []
    popular = search.find("milk", 3, popularity=[9, 1, 5, 99, 0, 0, 0, 0])
    assert [NAMES[row] for row in popular] == ["Chocolate milk", "Milk", "Fluid milk"]  # whole words come first
    with pytest.raises(ParameterError, match="k must be"):
        search.find("milk", 0)
    with pytest.raises(ParameterError, match="text must be"):
        search.find(None)


def test_without_names_ids_are_found():
    search = NameSearch(None, IdMap.from_values(["sku-17", "sku/18", "x"]))
    assert search.find("sku").tolist() == [0, 1]
    assert search.find("sku/18").tolist() == [1]
    numbers = NameSearch(None, IdMap([5, 50, 51]))
    assert numbers.find("5").tolist() == [0, 1, 2]


def slow_distance(word, other):
    """The distance of Damerau and Levenshtein to the closest beginning, by the textbook."""
    table = [[max(i, j) if not i * j else 0 for j in range(len(other) + 1)] for i in range(len(word) + 1)]
    for i in range(1, len(word) + 1):
        for j in range(1, len(other) + 1):
            change = table[i - 1][j - 1] + (word[i - 1] != other[j - 1])
            table[i][j] = min(change, table[i - 1][j] + 1, table[i][j - 1] + 1)
            if i > 1 and j > 1 and word[i - 1] == other[j - 2] and word[i - 2] == other[j - 1]:
                table[i][j] = min(table[i][j], table[i - 2][j - 2] + 1)
    return min(table[-1])


@given(st.text("abc", min_size=1, max_size=7), st.lists(st.text("abc", max_size=9), min_size=1, max_size=6))
def test_distances_are_those_of_the_textbook(word, words):
    found = beginning_distances(word, np.array(words, dtype="U24")).tolist()
    assert found == [slow_distance(word, other) for other in words]
