"""Models by the names and parameters of the command line."""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import typer

from cofactor.checks import nearest
from cofactor.models import Blend, CoVisitationSum, Fallback, FixedFactors, HistoryRerank, Recommender
from cofactor.models.base.parameters import plain_types

__all__ = ["build_models", "model_names", "read_space"]

_SHORT = {"implicit-als": "als"}
_ALSO = {"ials": "als", "implicit-als": "als"}
_RERANK = "history-rerank"


def model_names() -> dict[str, type[Recommender]]:
    """The models of the library by the names they have here."""
    # Made of other models, where a chain is written with +, or of vectors: in Python.
    made = (Blend, CoVisitationSum, Fallback, FixedFactors, HistoryRerank)
    classes = [
        c
        for c in Recommender.registry.values()
        if issubclass(c, Recommender) and c.__module__.startswith("cofactor.") and c not in made
    ]
    names = [re.sub(r"(?<=[a-z])(?=[A-Z])", "-", c.__name__).lower() for c in classes]
    return {_SHORT.get(name, name): c for name, c in zip(names, classes, strict=True)}


def build_models(names: Iterable[str], params: Sequence[str]) -> dict[str, Recommender]:
    """Make models that are not fitted yet.

    Parameters
    ----------
    names : iterable of str
        Such as ``als``; ``personal-popular+popular`` is a chain, in which each fills what those before left empty;
        ``history-rerank:item-pairs-mf:co-visitation`` fills histories up from the neighbours of both.
    params : sequence of str
        ``name=value`` for every model that has the parameter, ``model.name=value`` for one.

    Raises
    ------
    typer.BadParameter
        A name is not known or comes twice, or a value is not of the parameter's type.
    """
    names = list(names)
    if twice := [name for at, name in enumerate(names) if name in names[:at]]:
        raise typer.BadParameter(f"{twice[0]!r} is named twice; a model is fitted once, so name it once")
    given = [_assignment(text) for text in params]
    _refuse_twice("--param", given)
    used: set[tuple[str, str, str]] = set()
    models = {name: _chain(name, given, used) for name in names}
    if unused := [one for one in given if one not in used]:
        _refuse(*unused[0], models)
    return models


def _chain(name: str, given: Iterable[tuple[str, str, str]], used: set[tuple[str, str, str]]) -> Recommender:
    links = [_link(link, given, used) for link in name.split("+")]
    return links[0] if len(links) == 1 else Fallback(*links)


def _link(name: str, given: Iterable[tuple[str, str, str]], used: set[tuple[str, str, str]]) -> Recommender:
    whole, *parts = name.split(":")
    if whole != _RERANK:
        return _one(name, given, used)
    if not parts:
        raise typer.BadParameter(f"{_RERANK} needs models of neighbours, as {_RERANK}:item-pairs-mf:co-visitation")
    models = [_one(part, given, used) for part in parts]
    return HistoryRerank(*models, **_given(_RERANK, given, used))


def _one(name: str, given: Iterable[tuple[str, str, str]], used: set[tuple[str, str, str]]) -> Recommender:
    known = model_names()
    name = _ALSO.get(name, name)
    if name not in known:
        hint = nearest(name, known) or ";"
        raise typer.BadParameter(
            f"there is no model {name!r}{hint} the models are {', '.join(known)}, a chain such as als+popular, or "
            f"{_RERANK}:item-pairs-mf"
        )
    return known[name](**_given(name, given, used))


def _given(name: str, given: Iterable[tuple[str, str, str]], used: set[tuple[str, str, str]]) -> dict[str, Any]:
    """The parameters that are meant for a model."""
    hints = _hints(name)
    mine = [one for one in given if one[0] in ("", name) and one[1] in hints]
    used.update(mine)
    return {key: _value(hints[key], key, text) for _, key, text in mine}


def _hints(name: str) -> dict[str, Any]:
    """Types of the parameters that a model takes here."""
    return dict.fromkeys(("recent", "neighbours"), int) if name == _RERANK else plain_types(model_names()[name])


def _assignment(text: str, option: str = "--param") -> tuple[str, str, str]:
    """Read ``[model.]name=value``."""
    target, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"{option} {text}: write NAME=VALUE")
    model, _, name = target.strip().rpartition(".")
    return _ALSO.get(model, model), name.replace("-", "_"), value.strip()


def _refuse_twice(option: str, given: Sequence[tuple[str, str, str]]) -> None:
    """Raise BadParameter where one is given twice, of which one would be left out in silence."""
    for at, (model, name, value) in enumerate(given):
        if earlier := [one for *key, one in given[:at] if key == [model, name]]:
            whole = f"{model}.{name}" if model else name
            raise typer.BadParameter(f"{option} {whole} is given twice, as {earlier[0]} and as {value}; give it once")


def _refuse(model: str, name: str, value: str, models: Iterable[str]) -> None:
    links = list(dict.fromkeys(_ALSO.get(link, link) for chain in models for link in re.split("[+:]", chain)))
    if model and model not in links:
        raise typer.BadParameter(
            f"--param {model}.{name}={value}: no model {model!r} was asked for, but {', '.join(links)}"
        )
    valid = "; ".join(
        f"{link} has {', '.join(_hints(link)) or 'no parameters'}" for link in links if model in ("", link)
    )
    raise typer.BadParameter(f"--param {name}={value}: there is no such parameter; {valid}")


def read_space(model: str, texts: Iterable[str]) -> dict[str, Any]:
    """Read ``factors=32,64,128`` and ``regularization=0.001..0.1``, as ``tune`` takes spaces.

    In a chain the model stands before the parameter: ``personal-popular.half_life=30d,90d``.

    Raises
    ------
    typer.BadParameter
        A name is not known, or a value is not of the parameter's type.
    """
    links, known = [_ALSO.get(link, link) for link in re.split("[+:]", model)], model_names()
    space: dict[str, Any] = {}
    alone = links[0] if len(links) == 1 else ""
    given = [(part or alone, name, values) for part, name, values in (_assignment(text, "--space") for text in texts)]
    _refuse_twice("--space", given)
    for text, (part, name, values) in zip(texts, given, strict=True):
        hints = _hints(part) if part in links else {}
        if name not in hints:
            names = [f"{link}.{one}" if len(links) > 1 else one for link in links for one in _hints(link)]
            raise typer.BadParameter(
                f"--space {text}: there is no such parameter{nearest(name, names) or ';'} {model} has "
                f"{', '.join(names)}"
            )
        key = name if len(links) == 1 or part == _RERANK else f"{known[part].__name__}.{name}"
        low, dots, high = values.partition("..")
        try:
            read = [_value(hints[name], name, one.strip()) for one in ((low, high) if dots else values.split(","))]
            space[key] = tuple(read) if dots else read
        except typer.BadParameter as error:
            raise typer.BadParameter(f"--space {text}: {str(error).partition(': ')[2]}") from None
    return space


def _value(hint: Any, name: str, text: str) -> Any:  # noqa: ANN401
    """Turn a text into the type of a parameter."""
    several = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    words = [word for c in several if get_origin(c) is Literal for word in get_args(c)]
    choices = [c for c in several if c is not NoneType and get_origin(c) is not Literal]
    if NoneType in several and text.lower() == "none":
        return None
    if text in words:
        return text
    if not choices:
        raise typer.BadParameter(f"--param {name}={text}: choose one of {', '.join(words)}")
    if choices[0] is bool:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise typer.BadParameter(f"--param {name}={text}: true or false is expected")
    if get_origin(choices[0]) is Mapping:
        return _numbers(name, text)
    if get_origin(choices[0]) is Sequence:
        return [part.strip() for part in text.split(",")]
    for choice in choices:  # of "a number or text", a number where it is one
        with suppress(ValueError):
            return choice(text)
    kind = {int: "a whole number", float: "a number"}.get(choices[0], choices[0].__name__)
    raise typer.BadParameter(f"--param {name}={text}: {kind} is expected")


def _numbers(name: str, text: str) -> dict[str, float]:
    """Read ``clicks:1,carts:6``."""
    try:
        return {key.strip(): float(value) for key, _, value in (part.rpartition(":") for part in text.split(","))}
    except ValueError:
        raise typer.BadParameter(f"--param {name}={text}: numbers by name are expected, as clicks:1,carts:6") from None
