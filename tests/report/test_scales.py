"""Axes: every value has a place, and ticks are round numbers within the range."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofactor.report.scales import Scale, short_number, short_numbers, spanning

finite = st.floats(-1e12, 1e12).map(lambda v: 0.0 if abs(v) < 1e-9 else v)


@given(st.lists(finite, min_size=1, max_size=9), st.booleans())
def test_all_values_have_a_place(values, zero):
    scale = spanning(values, zero=zero)
    assert scale.low < scale.high
    assert all(0 <= scale.share(v) <= 1 for v in values)
    if zero:
        assert 0 <= scale.share(0.0) <= 1


@given(st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=9))
def test_all_positive_values_have_a_place_on_a_logarithmic_axis(values):
    scale = spanning([*values, 0.0, -1.0, math.nan], log=True)
    assert all(-1e-9 <= scale.share(v) <= 1 + 1e-9 for v in values)


@pytest.mark.parametrize(
    ("scale", "whole", "ticks"),
    [
        (Scale(0, 0.31), False, [0, 0.1, 0.2, 0.3]),
        (Scale(0, 1), False, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (Scale(-0.3, 10.4), False, [0, 2.5, 5, 7.5, 10]),
        (Scale(0.5, 10.5), True, [2, 4, 6, 8, 10]),
        (Scale(0.9, 3.1), True, [1, 2, 3]),
        (Scale(0.8, 1200, log=True), False, [1, 10, 100, 1000]),
        (Scale(0.011, 0.055, log=True), False, [0.02, 0.03, 0.04, 0.05]),
    ],
)
def test_ticks_are_round(scale, whole, ticks):
    assert scale.ticks(whole=whole) == pytest.approx(ticks)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e12))
def test_ticks_are_few_and_within(low, width):
    scale = Scale(low, low + width)
    if scale.high > scale.low:
        ticks = scale.ticks()
        assert len(ticks) <= 7
        assert all(scale.low - 1e-6 * width <= tick <= scale.high + 1e-6 * width for tick in ticks)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (1e6, "1M"), (310_000, "310k"), (0.175, "0.175"), (-2500, "-2.5k"), (1e-5, "1e-05")]
)
def test_short_numbers(value, text):
    assert short_number(value) == text


def test_values_that_are_no_numbers_take_no_part():
    assert spanning([math.nan, math.inf]).low < spanning([]).high
    assert spanning([1.0, 2.0, math.nan]).high < 3


def test_numbers_beside_an_axis_are_told_apart():
    assert short_numbers([0.1, 0.2]) == ["0.1", "0.2"]
    assert short_numbers([310_000, 310_005, 310_010]) == ["310k", "310.005k", "310.01k"]
