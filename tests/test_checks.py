"""The checks of parameters: what passes, and what is said of what does not."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofactor.checks import (
    check_at_least,
    check_choice,
    check_flag,
    check_fraction,
    check_type,
    is_number,
    nearest,
    shown,
)
from cofactor.errors import ParameterError

ODD = [None, "3", True, np.True_, [], {}, object(), float("nan"), float("inf"), 10**400, np.ones(2), pl.Series([1.0])]


@pytest.mark.parametrize("value", ODD, ids=lambda v: type(v).__name__)
def test_what_is_no_number(value):
    assert not is_number(value)
    for check in (lambda: check_at_least("x", value, 0), lambda: check_fraction("x", value)):
        with pytest.raises(ParameterError, match=r"^x"):
            check()


@given(st.integers(-(2**63), 2**63 - 1))
def test_whole_numbers_of_all_kinds(value):
    for one in (value, np.int64(value)):
        assert is_number(one)
        if value >= 3:
            check_at_least("x", one, 3, whole=True)
        else:
            with pytest.raises(ParameterError, match="x must be a whole number of at least 3, got"):
                check_at_least("x", one, 3, whole=True)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_fractions_and_numbers_above(value):
    for check, fits in (
        (lambda: check_fraction("x", value), 0 < value < 1),
        (lambda: check_at_least("x", value, 0, above=True), value > 0),
        (lambda: check_at_least("x", value, 0, whole=True), False),
    ):
        if fits:
            check()
        else:
            with pytest.raises(ParameterError, match="x"):
                check()


def test_choices_are_of_one_type():
    check_choice("x", "a", ("a", None))
    check_choice("x", None, ("a", None))
    for wrong in (["a"], np.array(["a", "b"]), pl.col("a"), pl.Series(["a"]), {}, 1):
        with pytest.raises(ParameterError, match="x must be one of 'a', None, got"):
            check_choice("x", wrong, ("a", None))


def test_flags_and_types():
    check_flag("x", np.True_)
    check_type("x", None, str | None, "text")
    for wrong in (1, 0, None, "yes", np.ones(2)):
        with pytest.raises(ParameterError, match="x must be True or False, got"):
            check_flag("x", wrong)
    with pytest.raises(ParameterError, match=r"^x must be text, got 5$"):
        check_type("x", 5, str, "text")


def test_values_are_shown_in_one_short_line():
    assert shown("a") == "'a'"
    text = shown(pl.DataFrame({"a": range(100)}))
    assert "\n" not in text
    assert text.endswith("... (DataFrame)")
    assert len(text) < 110


@pytest.mark.parametrize(
    ("name", "told"),
    [("regularisation", "; did you mean regularization?"), ("EASSE", "; did you mean EASE?"), ("q", ""), (7, "")],
)
def test_the_nearest_name(name, told):
    assert nearest(name, ["factors", "regularization", "EASE"]) == told
