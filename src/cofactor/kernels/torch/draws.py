"""Random numbers that are those of ``native/core/random.hpp``, many at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.kernels.arrays import Float, Rows

__all__ = ["Stream", "drawn_items", "first_number", "mixed", "normals"]

_STEP = 0x9E3779B97F4A7C15
_ALL = 2**64 - 1


def mixed(x: int) -> int:
    """The finaliser of SplitMix64, of one number below 2^64."""
    return int(_mixed(np.array([x & _ALL], np.uint64))[0])


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class Stream:
    """A stream of a seed, number by number."""

    def __init__(self, seed: int, stream: int) -> None:
        self._state = _start(seed, stream)

    def below(self, n: int) -> int:
        """Uniform in [0, n)."""
        self._state += _STEP
        return mixed(self._state) * n >> 64


def first_number(seed: int, stream: int) -> int:
    """The first number of a stream of a seed."""
    return mixed(_start(seed, stream) + _STEP)


def _start(seed: int, stream: int) -> int:
    return mixed(seed ^ mixed((stream & _ALL) + _STEP))


def drawn_items(n: int, n_items: int, seed: int, stream: int, alias: tuple[Float, Rows] | None) -> NDArray[np.int64]:
    """``n`` items of a stream of a seed: uniform ones, or those of an alias table, which takes two numbers an item."""
    start, per = _start(seed, stream), 1 if alias is None else 2
    numbers = _mixed(np.arange(1, n * per + 1, dtype=np.uint64) * np.uint64(_STEP) + np.uint64(start))
    places, low = numbers[::per], np.uint64(0xFFFFFFFF)
    by, half = np.uint64(n_items), np.uint64(32)
    items = ((places >> half) * by + ((places & low) * by >> half) >> half).astype(np.int64)  # places n_items / 2^64
    if alias is None:
        return items
    keep, other = alias
    kept = (numbers[1::2] >> np.uint64(40)).astype(np.float32) * np.float32(2**-24) < keep[items]
    return np.where(kept, items, other[items].astype(np.int64))


def normals(seed: int, places: NDArray[np.integer]) -> NDArray[np.float64]:
    """A standard normal number for every place, that of ``native/core/normal.hpp``."""
    start = _mixed(np.uint64(seed & _ALL) ^ _mixed(places.astype(np.uint64) + np.uint64(_STEP)))
    numbers = [_mixed(start + np.uint64(_STEP * k & _ALL)) >> np.uint64(11) for k in (1, 2)]
    length = np.sqrt(-2 * np.log((numbers[0] + np.uint64(1)) * 2.0**-53))
    return np.asarray(length * np.cos(numbers[1] * (2.0**-53 * 2 * np.pi)))
