"""What models are fitted with beside the training data, such as features: checked, and told apart."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from cofactor.checks import nearest, shown
from cofactor.data.features import read_features
from cofactor.data.log import Log
from cofactor.data.tables import read_table
from cofactor.data.user_items import UserItems
from cofactor.errors import ParameterError
from cofactor.evaluation.fingerprint import fingerprint
from cofactor.models.base.fitting import options_of_fit
from cofactor.models.base.model import Model

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["as_fit_options", "check_fit_options", "of_fold", "options_by_name", "told_of"]

_OF = {"item_features": "item", "user_features": "user"}
_OWN = ("progress", "held_out")  # what compare and tune hand on themselves


def as_fit_options(given: Mapping[str, Any] | None, *, made: bool = False) -> dict[str, Any]:
    """Options of ``fit`` by their names, each table read; with ``made`` functions that make one stay as they are.

    Raises
    ------
    ParameterError
        It is no mapping of names.
    DataError
        A table cannot be read.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise ParameterError(
            f"fit_options: what fit takes beside the training data, by name, such as {{'item_features': table}}; got "
            f"{shown(given)}"
        )
    return {name: value if made and callable(value) else _read(name, value) for name, value in given.items()}


def options_by_name(
    given: Mapping[str, Any] | None, models: Mapping[str, Any], *, made: bool = False
) -> dict[str, dict[str, Any]]:
    """Options of ``fit`` by the names of models.

    Raises
    ------
    ParameterError
        It is no mapping, there is no such model; or as ``as_fit_options``.
    """
    if given is not None and not isinstance(given, Mapping):
        raise ParameterError(f"fit_options: options of fit by the names of the models are expected, got {shown(given)}")
    for name in given or {}:
        if name not in models:
            raise ParameterError(
                f"fit_options: there is no model {shown(name)}{nearest(name, models) or '.'} They go by the names of "
                "the models, such as {'warp': {'item_features': table}}"
            )
    return {name: as_fit_options(options, made=made) for name, options in (given or {}).items()}


def of_fold(options: Mapping[str, Any], train: Any) -> dict[str, Any]:  # noqa: ANN401
    """Options with what functions make of the train side of a fold."""
    return {name: _read(name, value(train)) if callable(value) else value for name, value in options.items()}


def check_fit_options(model: Any, options: Iterable[str], what: str = "fit_options") -> None:  # noqa: ANN401
    """Raise ParameterError unless ``fit`` of the model takes all of these."""
    parameters = inspect.signature(model.fit).parameters
    if any(of.kind is inspect.Parameter.VAR_KEYWORD for of in parameters.values()):
        return
    known = [name for name in options_of_fit(model) if name not in _OWN]
    for name in options:
        if name not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes the training data alone"
            raise ParameterError(
                f"{what}: fit of {type(model).__name__} takes no {shown(name)}{nearest(name, known) or ';'} {takes}"
            )


def told_of(options: Mapping[str, Any]) -> dict[str, str]:
    """What tells options from others, in the types of JSON."""
    return {name: _told(value) for name, value in sorted(options.items())}


def _read(name: str, value: Any) -> Any:  # noqa: ANN401
    """Tables are read once for all fits; what else there is stays as it is."""
    if value is None or isinstance(value, bool | int | float | str | Model | Log | UserItems):
        return value
    return read_features(value, _OF[name]) if name in _OF else read_table(value, [], name)


def _told(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, pl.DataFrame):
        return fingerprint(None, [value])
    if isinstance(value, Log):
        return fingerprint(None, [value.pairs()], value)
    return fingerprint(value, []) if isinstance(value, UserItems) else repr(value)
