"""Spaces of parameters: what a search may try, how it is written, and whether a model allows it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product, takewhile
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from cofactor.checks import check_flag, check_type, is_number, nearest, shown
from cofactor.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Choice", "Point", "Range", "Space", "check_space", "grid_of", "parse_space", "plain", "sample", "size_of"]

_LOG_FROM = 10.0  # a range whose end is this many times its beginning is one of orders of magnitude
_CUTS = 3  # points of a range in a grid
_COMBINATIONS = 50  # of the other parameters, with which a value is tried
_LARGEST_GRID = 100_000


@dataclass(frozen=True)
class Choice:
    """Some values, in order.

    Parameters
    ----------
    values : tuple
        Different ones, of any type.
    """

    values: tuple[Any, ...]

    @property
    def is_ordered(self) -> bool:
        """Whether the values are numbers that ascend, so that neighbours are alike."""
        numbers = all(is_number(value) for value in self.values)
        return numbers and all(a < b for a, b in zip(self.values, self.values[1:], strict=False))

    def ascending(self) -> Choice:
        """The same values in order, where they have one."""
        return Choice(tuple(sorted(self.values))) if all(is_number(value) for value in self.values) else self

    def points(self) -> tuple[Any, ...]:
        """What a grid holds of it."""
        return self.values

    def at(self, share: float) -> Any:  # noqa: ANN401
        """The value at a share of the way, 0 to 1."""
        return self.values[min(int(share * len(self.values)), len(self.values) - 1)]

    def holds(self, value: object) -> bool:
        """Whether a value is one of them."""
        return any(plain(one) == plain(value) for one in self.values)

    def described(self) -> Any:  # noqa: ANN401
        """In the types of JSON."""
        return [plain(value) for value in self.values]


@dataclass(frozen=True)
class Range:
    """All numbers from one to another, both included.

    Parameters
    ----------
    low, high : int or float
        Only whole numbers lie between whole ones.
    log : bool
        Whether orders of magnitude count, not differences.
    """

    low: float
    high: float
    log: bool

    @property
    def is_whole(self) -> bool:
        """Whether only whole numbers are in it."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def ascending(self) -> Range:
        """The same."""
        return self

    def points(self) -> tuple[Any, ...]:
        """What a grid holds of it: both ends, and the middle."""
        return tuple(dict.fromkeys(self.at(share) for share in np.linspace(0, 1, _CUTS)))

    def at(self, share: float) -> Any:  # noqa: ANN401
        """The number at a share of the way, 0 to 1."""
        if self.log:
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        value = min(max(value, self.low), self.high)
        return round(value) if self.is_whole else float(value)

    def holds(self, value: object) -> bool:
        """Whether a value lies in it."""
        if not is_number(value):
            return False
        number = float(value)  # type: ignore[arg-type]
        return self.low <= number <= self.high and not (self.is_whole and number % 1)

    def described(self) -> Any:  # noqa: ANN401
        """In the types of JSON."""
        return {"low": self.low, "high": self.high, "log": self.log}


Space: TypeAlias = dict[str, Choice | Range]
Point: TypeAlias = dict[str, Any]


def plain(value: Any) -> Any:  # noqa: ANN401
    """A value as JSON brings it back: numbers of Python, lists for tuples."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    return value


def parse_space(space: object) -> Space:
    """Read a space as users write it.

    Parameters
    ----------
    space : mapping
        By the name of a parameter: a list of values; a pair (lowest, highest), of orders of magnitude where the highest
        is ten times a positive lowest or more; or ``{"low": 0.1, "high": 10.0, "log": False}``, which says so itself.

    Raises
    ------
    ParameterError
        It is none of these, is empty, a value comes twice, or a range has no inside.
    """
    check_type("space", space, Mapping, "a dict of values by the names of parameters, such as {'factors': [32, 64]}")
    assert isinstance(space, Mapping)
    if not space:
        raise ParameterError("space is empty; name at least one parameter, such as {'factors': [32, 64]}")
    for name in space:
        if not (isinstance(name, str) and name):
            raise ParameterError(f"space: names of parameters are texts, got {name!r}")
    return {name: _parsed(name, given) for name, given in space.items()}


def _parsed(name: str, given: object) -> Choice | Range:
    where = f"space[{name!r}]"
    if isinstance(given, Choice | Range):
        return given
    if isinstance(given, Mapping):
        if unknown := [key for key in given if key not in ("low", "high", "log")]:
            hint = nearest(unknown[0], ("low", "high", "log"))
            raise ParameterError(f"{where}: a range has low, high and perhaps log, got {unknown[0]!r}{hint}")
        if not {"low", "high"} <= set(given):
            raise ParameterError(f"{where}: a range needs low and high, got {shown(dict(given))}")
        return _range(where, given["low"], given["high"], given.get("log"))
    if isinstance(given, tuple):
        if len(given) != 2:
            raise ParameterError(
                f"{where}: a range is (lowest, highest), got {shown(given)}; several values are a list"
            )
        return _range(where, *given, None)
    if not isinstance(given, Sequence | np.ndarray | range) or isinstance(given, str | bytes):
        raise ParameterError(
            f"{where} must be a list of values, a range (lowest, highest) or {{'low': ..., 'high': ...}}, got "
            f"{shown(given)}; a single value is a list of one"
        )
    values = tuple(value.item() if isinstance(value, np.generic) else value for value in given)
    if not values:
        raise ParameterError(f"{where} is empty; give at least one value")
    for at, value in enumerate(values):
        if any(type(one) is type(value) and plain(one) == plain(value) for one in values[:at]):
            raise ParameterError(f"{where}: {shown(value)} is there twice")
    return Choice(values)


def _range(where: str, low: Any, high: Any, log: Any) -> Range:  # noqa: ANN401
    for end in (low, high):
        if not is_number(end):
            raise ParameterError(f"{where}: the ends of a range are finite numbers, got {shown(end)}")
    low, high = plain(low), plain(high)
    if not low < high:
        raise ParameterError(f"{where}: the lowest must be below the highest, got {low!r} and {high!r}")
    if log is None:
        log = low > 0 and high >= _LOG_FROM * low
    check_flag(f"{where}: log", log)
    if log and low <= 0:
        raise ParameterError(f"{where}: orders of magnitude begin above 0, got low={low!r}; give log=False, or another")
    return Range(low, high, bool(log))


def check_space(space: Space, build: Callable[[Point], object], seed: int = 0) -> None:
    """Raise ParameterError where a model does not allow something of a space, before anything is fitted.

    Every value, and both ends of a range, must be allowed with some of the other values of the space.

    Parameters
    ----------
    space : dict
    build : callable
        Makes a model of some parameters, or raises ParameterError.
    seed : int
    """
    rng = np.random.default_rng(seed)
    for name, of in space.items():
        for value in of.values if isinstance(of, Choice) else (of.low, of.high):
            points = (sample(space, rng.random(len(space))) | {name: value} for _ in range(_COMBINATIONS))
            refusals = takewhile(bool, (_refusal(build, point) for point in points))
            if len(found := list(refusals)) < _COMBINATIONS:
                continue
            why = _refusal(build, {name: value}) or found[0]  # by itself, if it is not allowed so, it is told best
            raise ParameterError(f"space[{name!r}]: {shown(value)} is not allowed: {why}") from why


def _refusal(build: Callable[[Point], object], point: Point) -> ParameterError | None:
    try:
        build(point)
    except ParameterError as error:
        return error
    return None


def sample(space: Space, shares: Any) -> Point:  # noqa: ANN401
    """The point at some shares, (n_parameters,) from 0 to 1, of the ways through all parameters."""
    return {name: of.at(float(share)) for (name, of), share in zip(space.items(), shares, strict=True)}


def grid_of(space: Space) -> Iterator[Point]:
    """Every combination of the values, the last parameter's first; of a range both ends and the middle."""
    return (dict(zip(space, values, strict=True)) for values in product(*(of.points() for of in space.values())))


def size_of(space: Space) -> int | None:
    """How many points there are; None where there are more than anybody tries."""
    n = 1
    for of in space.values():
        if isinstance(of, Range) and not of.is_whole:
            return None
        n *= len(of.values) if isinstance(of, Choice) else int(of.high - of.low) + 1
        if n > _LARGEST_GRID:
            return None
    return n
