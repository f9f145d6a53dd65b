"""Models with other parameters: what a search makes of the one that it was given."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args, get_type_hints

from cofactor.checks import nearest
from cofactor.errors import ParameterError
from cofactor.models.base.model import Model

__all__ = ["parameter_names", "plain_types", "value_of", "with_parameters"]

M = TypeVar("M", bound=Model)


def parameter_names(model: Model) -> list[str]:
    """The names that :func:`with_parameters` understands, those of models inside with their class before a dot."""
    inside = [f"{type(part).__name__}.{name}" for part in _parts(model) for name in parameter_names(part)]
    return [*_own_names(model), *inside]


def with_parameters(model: M, parameters: Mapping[str, Any]) -> M:
    """A model that is not fitted, with these parameters and the given one's others; all are checked as ``fit`` does.

    Parameters
    ----------
    model : Model
        Stays as it is, and so do the models inside it.
    parameters : mapping
        Values by name; ``PersonalPopular.half_life`` is that of the model of this class inside ``model``.

    Raises
    ------
    ParameterError
        There is no such parameter, or a value is not allowed.
    """
    inside: dict[str, dict[str, Any]] = {}
    own: dict[str, Any] = {}
    for name, value in parameters.items():
        part, dot, rest = name.partition(".")
        if dot:
            inside.setdefault(part, {})[rest] = value
        else:
            own[name] = value
    known = _own_names(model)
    classes = [type(part).__name__ for part in _parts(model)]
    for name in [*(name for name in own if name not in known), *(part for part in inside if part not in classes)]:
        names = parameter_names(model)
        hint = nearest(name, names) or "."
        raise ParameterError(f"{type(model).__name__} has no parameter {name!r}{hint} It has {', '.join(names)}")
    if twice := [name for name in inside if classes.count(name) > 1]:
        raise ParameterError(f"{twice[0]}.{next(iter(inside[twice[0]]))}: there are several {twice[0]} in {model!r}")
    parts = [with_parameters(part, inside.get(type(part).__name__, {})) for part in _parts(model)]
    new = type(model)(*parts, **{name: own.get(name, getattr(model, name)) for name in known})
    new._check()
    return new


def value_of(model: Model, name: str) -> Any:  # noqa: ANN401
    """The value of a parameter, by one of the names that :func:`with_parameters` understands."""
    part, dot, rest = name.partition(".")
    if not dot:
        return getattr(model, name)
    return next(value_of(one, rest) for one in _parts(model) if type(one).__name__ == part)


class _Unknown:
    """Stands for a type that only type checkers import."""


def plain_types(model: type[Model]) -> dict[str, Any]:
    """Types of the constructor's parameters that can be written in a file or on a command line.

    Those that take objects of classes that the model's module imports for type checkers only, models among them, are
    left out.
    """
    names: dict[str, Any] = {"Sequence": Sequence, "Mapping": Mapping}
    while True:
        try:
            hints = get_type_hints(model.__init__, localns=names)
        except NameError as error:
            names[str(error.name)] = _Unknown
        else:
            return {name: hint for name, hint in hints.items() if name != "return" and not _is_unknown(hint)}


def _is_unknown(hint: Any) -> bool:  # noqa: ANN401
    return hint is _Unknown or any(map(_is_unknown, get_args(hint)))


def _own_names(model: Model) -> list[str]:
    kinds = inspect.signature(type(model)).parameters.values()
    return [one.name for one in kinds if one.kind is not inspect.Parameter.VAR_POSITIONAL]


def _holder(model: Model) -> str:
    """The parameter that takes models; empty where there is none."""
    kinds = inspect.signature(type(model)).parameters.values()
    return next((one.name for one in kinds if one.kind is inspect.Parameter.VAR_POSITIONAL), "")


def _parts(model: Model) -> tuple[Model, ...]:
    name = _holder(model)
    return tuple(part for part in getattr(model, name) if isinstance(part, Model)) if name else ()
