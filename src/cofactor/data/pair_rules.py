"""Which events of a session make pairs, as users say it and as kernels take it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.checks import check_at_least, check_choice, check_flag, shown
from cofactor.data.weights import duration
from cofactor.errors import DataError, ParameterError
from cofactor.kernels.arguments import PairRules

if TYPE_CHECKING:
    from datetime import timedelta

    from numpy.typing import NDArray

    from cofactor.kernels.arrays import Float

__all__ = ["pair_rules"]

_ALL = 2**62  # events: more than there are
_N_TYPES = 256


def pair_rules(
    type_names: tuple[str, ...] | None,
    *,
    has_times: bool,
    window: int | None,
    max_gap: str | timedelta | None,
    direction: str,
    types: Sequence[str] | None,
    type_weights: Mapping[str, float] | None,
    distance_weights: Sequence[float] | None,
    repeats: bool,
    last_events: int | None,
) -> tuple[PairRules, NDArray[np.uint8] | None]:
    """Check what ``Sessions.pairs`` was told; also which types take part, (256,) uint8, or None for all.

    Parameters
    ----------
    type_names : tuple of str or None
        Of the events, None for events without types.
    has_times : bool
    window, max_gap, direction, types, type_weights, distance_weights, repeats, last_events
        As ``Sessions.pairs`` takes them.

    Raises
    ------
    ParameterError, DataError
        See there.
    """
    if window is not None:
        check_at_least("window", window, 1, whole=True)
    elif max_gap is None:
        raise ParameterError("window=None takes all events within max_gap, which was not given; give one of them")
    if last_events is not None:
        check_at_least("last_events", last_events, 2, whole=True)
    check_choice("direction", direction, ("forward", "both"))
    check_flag("repeats", repeats)
    gap = 0 if max_gap is None else int(duration("max_gap", max_gap).total_seconds())
    for name, value, there, role in (
        ("max_gap", max_gap, has_times, "time"),
        ("types", types, type_names is not None, "event_type"),
        ("type_weights", type_weights, type_names is not None, "event_type"),
    ):
        if value is not None and not there:
            raise DataError(f"{name}={shown(value)} needs what these events lack; read them with {role}=...")
    kept = None if types is None else _kept(types, type_names or ())
    rules = PairRules(
        min(window or _ALL, _ALL),
        gap,
        min(last_events or _ALL, _ALL),
        direction == "both",
        bool(repeats),
        None if type_weights is None else _by_type(type_weights, type_names or (), kept),
        None if distance_weights is None else _by_distance(distance_weights, window),
    )
    return rules, kept


def _kept(types: Any, names: tuple[str, ...]) -> NDArray[np.uint8]:  # noqa: ANN401
    if isinstance(types, str) or not isinstance(types, Sequence) or not types:
        raise ParameterError(f"types={shown(types)}; it must be a list of event types, such as ['carts', 'orders']")
    if missing := [name for name in types if name not in names]:
        raise ParameterError(f"types: there are no events of {missing}; the types are {', '.join(names)}")
    kept = np.zeros(_N_TYPES, np.uint8)
    kept[[names.index(name) for name in types]] = 1
    return kept


def _by_type(weights: Any, names: tuple[str, ...], kept: NDArray[np.uint8] | None) -> Float:  # noqa: ANN401
    if not isinstance(weights, Mapping):
        raise ParameterError(f"type_weights={shown(weights)}; it must be a mapping such as {{'clicks': 1, 'carts': 6}}")
    for name, weight in weights.items():
        check_at_least(f"type_weights[{name!r}]", weight, 0, above=True)
    table = np.ones(_N_TYPES, np.float32)
    for code, name in enumerate(names):
        if name in weights:
            table[code] = weights[name]
        elif kept is None or kept[code]:
            raise ParameterError(
                f"type_weights={shown(weights)} has no weight for {name!r}; add it, or name the types that take part "
                "by types="
            )
    return table


def _by_distance(weights: Any, window: int | None) -> Float:  # noqa: ANN401
    given = list(weights) if isinstance(weights, Sequence | np.ndarray) and not isinstance(weights, str) else []
    if window is None or len(given) != window:
        raise ParameterError(
            f"distance_weights={shown(weights)}; it must be a list of numbers, one for each distance from 1 to "
            f"window={window}"
        )
    for distance, weight in enumerate(given, 1):
        check_at_least(f"distance_weights at distance {distance}", weight, 0, above=True)
    return np.asarray(given, np.float32)
