"""Axes of charts: from numbers to places, and the numbers that are written beside them."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, isfinite, log10
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Scale", "short_number", "short_numbers", "spanning"]

_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class Scale:
    """A range of numbers along a line.

    Parameters
    ----------
    low, high : float
        low < high; both positive if ``log``.
    log : bool
        Whether equal ratios, and not equal differences, are equally far apart.
    """

    low: float
    high: float
    log: bool = False

    def share(self, value: float) -> float:
        """How far along the line a number is, 0 at ``low`` and 1 at ``high``."""
        if self.log:
            return log10(value / self.low) / log10(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self, n: int = 5, *, whole: bool = False) -> list[float]:
        """About n round numbers within the range: powers of ten, or multiples of 1, 2, 2.5 or 5 times one.

        ``whole`` numbers are multiples of 1, 2 or 5 times 1, 10, 100, ...
        """
        if self.log:
            first, last = ceil(log10(self.low) - 1e-9), floor(log10(self.high) + 1e-9)
            powers = list(range(first, last + 1))
            if len(powers) >= 2:
                return [10.0**power for power in powers[:: max(1, ceil(len(powers) / n))]]
            linear = Scale(self.low, self.high).ticks(n)
            return [tick for tick in linear if tick > 0] or [self.low, self.high]
        least = (self.high - self.low) / n
        step = _round_step(max(least, 1), (1, 2, 5, 10)) if whole else _round_step(least, (1, 2, 2.5, 5, 10))
        first, last = ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9)
        return [float(f"{place * step:.15g}") for place in range(first, last + 1)]


def spanning(values: Iterable[float], *, log: bool = False, zero: bool = False) -> Scale:
    """The scale that has room for all finite values (positive ones, if ``log``); ``zero`` begins at 0."""
    known = [v for v in values if isfinite(v) and (v > 0 or not log)]
    low, high = (min(known), max(known)) if known else (1.0, 1.0)
    if log:
        if low == high:
            return Scale(low / 2, high * 2, log=True)
        room = (high / low) ** 0.06
        return Scale(low / room, high * room, log=True)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        reach = abs(low) / 2 or 1.0
        return Scale(low - reach, high + reach)
    room = 0.06 * (high - low)
    return Scale(low if zero and low == 0 else low - room, high + room)


def short_numbers(values: Sequence[float]) -> list[str]:
    """Numbers as they stand beside an axis, with as many digits as tell them apart."""
    for digits in range(4, 16):
        texts = [short_number(value, digits) for value in values]
        if len(set(texts)) == len(set(values)):
            break
    return texts


def short_number(value: float, digits: int = 4) -> str:
    """A number in few letters: 1,000,000 is 1M, and 0.00001 is 1e-05."""
    for unit, letter in _UNITS:
        if abs(value) >= unit:
            return f"{value / unit:.{digits}g}{letter}"
    return f"{value:.{digits}g}"


def _round_step(least: float, steps: tuple[float, ...]) -> float:
    """The smallest round number that is not below a positive one."""
    power = 10.0 ** floor(log10(least))
    return next(step * power for step in steps if step * power >= least * (1 - 1e-9))
