"""What holds for every public name."""

import doctest
import importlib
import importlib.metadata
import inspect
import pkgutil

import pytest

import cofactor as cf
from cofactor.models.base.recommender import Recommender

MODELS = [cls for cls in Recommender.registry.values() if cls.__module__.startswith("cofactor.")]
MODULES = ["cofactor", *(m.name for m in pkgutil.walk_packages(cf.__path__, "cofactor.") if "._" not in m.name)]
PUBLIC = [(name, getattr(cf, name)) for name in cf.__all__]


def own_members(cls):
    for name, member in vars(cls).items():
        if not name.startswith("_") and (callable(member) or isinstance(member, property | classmethod | staticmethod)):
            yield name, getattr(cls, name)


@pytest.mark.parametrize("module", MODULES)
def test_all_names_exist_and_modules_say_what_they_are(module):
    module = importlib.import_module(module)
    assert inspect.getdoc(module)
    missing = [name for name in getattr(module, "__all__", []) if not hasattr(module, name)]
    assert not missing, f"{module.__name__}.__all__ names what is not there: {missing}"


@pytest.mark.parametrize("module", MODULES)
def test_examples_give_what_they_show(module):
    assert doctest.testmod(importlib.import_module(module)).failed == 0


def test_all_has_no_repeats():
    assert len(set(cf.__all__)) == len(cf.__all__)  # ruff sorts it


def test_version():
    assert cf.__version__ == importlib.metadata.version("cofactor")


@pytest.mark.parametrize(("name", "thing"), PUBLIC, ids=cf.__all__)
def test_every_public_thing_has_a_docstring_of_its_own(name, thing):
    assert inspect.getdoc(thing), f"{name} has no docstring"
    if inspect.ismodule(thing):
        members = [(n, getattr(thing, n)) for n in thing.__all__]
    elif inspect.isclass(thing):
        assert thing.__doc__, f"{name} only inherits its docstring"
        members = [
            (n, m) for cls in thing.__mro__ if cls.__module__.startswith("cofactor") for n, m in own_members(cls)
        ]
    else:
        return
    bare = [n for n, member in members if callable(member) and not inspect.getdoc(member)]
    assert not bare, f"{name}: without a docstring: {bare}"


@pytest.mark.parametrize("cls", MODELS)
def test_every_parameter_is_described(cls):
    described = inspect.getdoc(cls)
    missing = [name for name in inspect.signature(cls).parameters if name not in described]
    assert not missing, f"{cls.__name__}'s docstring does not describe {missing}"


@pytest.mark.parametrize("cls", MODELS)
def test_params_are_the_signature(cls):
    parameters = inspect.signature(cls).parameters
    assert list(cls().params()) == list(parameters)
    defaults = {n: p.default for n, p in parameters.items() if p.kind != p.VAR_POSITIONAL}
    assert {n: v for n, v in cls().params().items() if n in defaults} == defaults
    if len(defaults) == len(parameters):
        assert cls(**cls().params()).params() == cls().params()


def nonsense(cls):
    """A constructor call per parameter, with an object that means nothing."""
    for name, parameter in inspect.signature(cls).parameters.items():
        thing = object()
        if parameter.kind == parameter.VAR_POSITIONAL:
            yield name, (thing, thing), {}
        else:
            yield name, (), {name: thing}


@pytest.mark.parametrize("cls", MODELS)
def test_constructors_only_store_and_fit_checks(cls, interactions):
    for name, args, kwargs in nonsense(cls):
        model = cls(*args, **kwargs)
        assert getattr(model, name) == (args or kwargs.get(name))
        assert not [attribute for attribute in vars(model) if attribute.endswith("_")]
        with pytest.raises(cf.ParameterError, match=cls.__name__ if args else name):
            model.fit(interactions)


@pytest.mark.parametrize("cls", MODELS)
def test_repr_is_the_call_that_makes_the_model(cls):
    assert repr(eval(repr(cls()), vars(cf))) == repr(cls())


def test_errors_are_errors_of_cofactor_and_of_python():
    bases = {
        cf.DataError: ValueError,
        cf.ParameterError: ValueError,
        cf.UnknownIdError: LookupError,
        cf.NotFittedError: RuntimeError,
        cf.ArtifactError: RuntimeError,
        cf.MissingExtraError: ImportError,
    }
    for error, base in bases.items():
        assert issubclass(error, cf.CofactorError)
        assert issubclass(error, base)
    assert issubclass(cf.CofactorWarning, UserWarning)
