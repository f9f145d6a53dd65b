"""What paired tests say, whichever side the best model is on."""

import polars as pl
import pytest

import cofactor as cf
from cofactor.report.significance import SAME, against_best, in_words, marks_of, readable_tests

BOARD = pl.DataFrame({"model": ["als", "ease", "popular", "random"], "ndcg@10": [0.3, 0.29, 0.1, 0.0]})
TESTS = pl.DataFrame(
    {
        "model_a": ["ease", "als", "ease", "ease"],
        "model_b": ["als", "popular", "popular", "als"],
        "metric": ["ndcg@10"] * 3 + ["recall@10"],
        "difference": [-0.01, 0.2, 0.19, -0.5],
        "p_holm": [0.41, 0.0001, 0.0, 0.0],
        "different": [False, True, True, True],
    }
)


def test_against_the_best():
    found = against_best(BOARD, TESTS, "ndcg@10")
    assert found == {"ease": (-0.01, 0.41, False), "popular": (-0.2, 0.0001, True)}
    assert marks_of(found) == {"ease": SAME}
    column = in_words(BOARD, found)
    assert column.name == "against als"
    assert column.to_list() == ["", f"-0.0100 (p .410) {SAME}", "-0.2000 (p < .001)", ""]


def test_tables_of_the_library_are_understood():
    users = pl.Series("user_id", range(40))
    good = pl.DataFrame({"user_id": users, "ndcg@10": [0.3, 0.5] * 20})
    poor = pl.DataFrame({"user_id": users, "ndcg@10": [0.3, 0.1, 0.2, 0.4] * 10})
    board = pl.DataFrame({"model": ["good", "poor"], "ndcg@10": [0.4, 0.25]})
    tests = cf.paired_tests({"poor": poor, "good": good})
    found = against_best(board, tests, "ndcg@10")
    difference, p, different = found["poor"]
    assert round(difference, 9) == -0.15
    assert p < 0.05
    assert different
    table = readable_tests(tests)
    assert table.columns == ["model", "against", "difference", "p, Holm", "p, Wilcoxon", "differ"]
    assert table["difference"][0].startswith("-0.1500 (-0.")
    assert table["differ"].to_list() == ["yes"]
    assert readable_tests(pl.concat([tests, tests.with_columns(metric=pl.lit("recall@10"))])).columns[0] == "metric"


def test_another_table_is_no_table_of_tests():
    board = pl.DataFrame({"model": ["a", "b"], "ndcg@5": [0.2, 0.1]})
    with pytest.raises(cf.ParameterError, match=r"tests: a table of paired_tests is expected, .* no column 'metric'"):
        against_best(board, board, "ndcg@5")
