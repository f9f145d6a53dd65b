"""The models of an experiment file: a class, its parameters, and how they are searched for."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from cofactor.checks import closest, nearest, shown
from cofactor.evaluation.experiment_tune import check_tuning
from cofactor.models import Recommender
from cofactor.models.base.fitting import options_of_fit
from cofactor.models.base.parameters import plain_types, with_parameters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cofactor.evaluation.experiment_section import Kind, Section

__all__ = ["ModelSpec", "read_models"]

_OWN: dict[str, Kind] = {"class": "text", "chosen": "text", "test_reads": "whole", "tune": "table", "features": "flag"}


@dataclass(frozen=True)
class ModelSpec:
    """A model before it is made.

    Parameters
    ----------
    name : str
    section : Section
        ``[models.NAME]``.
    model : type
    parts : list of ModelSpec
        Of a model made of models.
    given : dict
        The parameters that the file gives.
    """

    name: str
    section: Section
    model: type[Recommender]
    parts: list[ModelSpec] = field(default_factory=list)
    given: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, name: str, section: Section, *, inside: bool = False) -> ModelSpec:
        """Check the section: its class, and names, types and values of its parameters.

        ``inside``: of a model inside another, which has no notes, search and features of its own.

        Raises
        ------
        ParameterError
            Names the line.
        """
        classes = {n: c for n, c in Recommender.registry.items() if issubclass(c, Recommender)}
        if "class" not in section.table:
            if close := closest("class", section.table):
                section.refuse_key(close, ["class"])
            section.fail(f"class is missing; it must be one of {', '.join(sorted(classes))}")
        model = classes[section.choose("class", sorted(classes))]
        hints = plain_types(model)
        several = _several(model)
        known: dict[str, Kind] = {**_OWN, **dict.fromkeys(hints, "any")}
        if several:
            known[several] = "tables"
        if inside and (of_whole := [key for key in section.table if key in _OWN and key != "class"]):
            section.fail(
                f"{of_whole[0]} is for the model as a whole; write it above its {section.keys[-2]}", of_whole[0]
            )
        section.check(known)
        parts = [cls.read(name, one, inside=True) for one in section.sections(several)] if several else []
        if several and not parts:
            section.fail(f'{several} is missing; give a list of tables, as [{{class = "Popular"}}, ...]')
        given = {key: _value(section, key, hints[key]) for key in section.table if key in hints and key != several}
        made = cls(name, section, model, parts, given)
        with section.placing():
            model_made = with_parameters(made.make(seed=0, threads=None), {})
        if made.features and not {"item_features", "user_features"} & set(options_of_fit(model_made)):
            section.fail(f"features is true, and {model.__name__} takes none; leave it out", "features")
        if "tune" in section.table:
            check_tuning(section.section("tune"), model_made)
        return made

    @property
    def parameters(self) -> dict[str, Any]:
        """What the file gives, those of parts as well."""
        parts = (
            {"models": [{"class": one.model.__name__, **one.parameters} for one in self.parts]} if self.parts else {}
        )
        return {**parts, **self.given}

    def make(self, *, seed: int, threads: int | None, **others: Any) -> Recommender:  # noqa: ANN401
        """A model with these parameters, and the seed and the threads of the run where the file gives none."""
        has = inspect.signature(self.model).parameters
        of_run = {"seed": seed, "threads": threads}
        shared = {key: value for key, value in of_run.items() if key in has}
        parts = [one.make(seed=seed, threads=threads) for one in self.parts]
        return self.model(*parts, **{**shared, **self.given, **others})

    @property
    def chosen(self) -> str:
        """On what the parameters were chosen, as the file tells it."""
        given = bool(self.given) or any(one.given for one in self.parts)
        return str(self.section.table.get("chosen", "as given" if given else "defaults"))

    @property
    def features(self) -> bool:
        """Whether it is fitted with the tables of features of ``[data]``."""
        return bool(self.section.table.get("features", False))

    @property
    def test_reads(self) -> int:
        """How often the test had been read for this model before, as the file tells it."""
        return int(self.section.table.get("test_reads", 0))


def read_models(section: Section) -> dict[str, ModelSpec]:
    """The models of a file, by the names of their tables.

    Raises
    ------
    ParameterError
        There is none, or one of them cannot be made; names the line.
    """
    if not section.table:
        section.fail('there is no model; give one, as [models.popular] with class = "Popular"')
    section.check(dict.fromkeys(section.table, "table"))
    if "" in section.table:
        section.fail("a model has no name; give it one, as [models.popular]", "")
    return {name: ModelSpec.read(name, section.section(name)) for name in section.table}


def _several(model: type[Recommender]) -> str | None:
    """The parameter that takes any number of models, of a model made of models."""
    kinds = inspect.signature(model).parameters.values()
    return next((one.name for one in kinds if one.kind is inspect.Parameter.VAR_POSITIONAL), None)


def _value(section: Section, key: str, hint: Any) -> Any:  # noqa: ANN401
    """The value of a parameter, after a look at its type; ``"none"`` is None where that is possible."""
    value, kinds = section.table[key], list(_kinds(hint))
    choices = [one for kind in kinds if get_origin(kind) is Literal for one in get_args(kind)]
    is_none = value == "none" and NoneType in kinds
    if not (is_none or value in choices or any(_fits(value, kind) for kind in kinds)):
        words = [_WORDS.get(get_origin(kind) or kind, str(kind)) for kind in kinds if get_origin(kind) is not Literal]
        allowed = " or ".join([*map(repr, choices), *words])
        section.fail(f"{key} must be {allowed}, got {shown(value)}{nearest(value, map(str, choices))}", key)
    return None if is_none else value


def _kinds(hint: Any) -> Iterator[Any]:  # noqa: ANN401
    if get_origin(hint) in (Union, UnionType):
        for one in get_args(hint):
            yield from _kinds(one)
    else:
        yield hint


_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    Sequence: "a list",
    Mapping: "a table",
    NoneType: '"none"',
}


def _fits(value: object, kind: Any) -> bool:  # noqa: ANN401
    of = get_origin(kind) or kind
    if of in (int, float):
        return isinstance(value, int | float if of is float else int) and not isinstance(value, bool)
    if of in (bool, str):
        return isinstance(value, of)
    if of is Sequence or of is tuple or of is list:
        return isinstance(value, list)
    if of is Mapping or of is dict:
        return isinstance(value, dict)
    return of is Any
