import inspect

import pytest

import cofactor as cf
from cofactor.models import Recommender
from cofactor.models.base.parameters import plain_types

MODELS = [c for c in Recommender.registry.values() if c.__module__.startswith("cofactor.")]


@pytest.mark.parametrize("model", MODELS, ids=lambda c: c.__name__)
def test_types_of_parameters_are_known_at_run_time(model):
    """All but models inside, and objects of classes that only type checkers import."""
    parameters = set(inspect.signature(model).parameters)
    assert set(plain_types(model)) <= parameters
    assert parameters - set(plain_types(model)) <= {"models", "context"}


def test_types_are_the_written_ones():
    types = plain_types(cf.FactorizationMachine)
    assert types["factors"] is int
    assert "context" not in types
