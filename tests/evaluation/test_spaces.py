"""Spaces: how they are written, what is refused, and that every model has one that it allows."""

import numpy as np
import pytest

import cofactor as cf
import zoo
from cofactor.evaluation.default_spaces import DEFAULT_SPACES, NOTHING_TO_TUNE, default_space
from cofactor.evaluation.spaces import Choice, Range, check_space, grid_of, parse_space, sample, size_of
from cofactor.models.base.model import Model
from cofactor.models.base.parameters import parameter_names, value_of, with_parameters

MADE = {"HistoryRerank": lambda: cf.HistoryRerank(cf.CoVisitation())}


def test_how_spaces_are_written():
    space = parse_space(
        {"a": [1, None, "x"], "b": (1, 9), "c": (0.1, 1), "d": {"low": 0.1, "high": 10, "log": False}, "e": (0.0, 10.0)}
    )
    assert space == {
        "a": Choice((1, None, "x")),
        "b": Range(1, 9, False),
        "c": Range(0.1, 1, True),
        "d": Range(0.1, 10, False),
        "e": Range(0.0, 10.0, False),
    }
    assert parse_space({"a": np.array([1, 2]), "b": range(3)}) == {"a": Choice((1, 2)), "b": Choice((0, 1, 2))}


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "space is empty"),
        ([1], "space must be a dict of values"),
        ({1: [2]}, "names of parameters are texts, got 1"),
        ({"a": []}, r"space\['a'\] is empty"),
        ({"a": 5}, r"space\['a'\] must be a list of values, .* a single value is a list of one"),
        ({"a": "abc"}, "must be a list of values"),
        ({"a": [1, 1]}, "1 is there twice"),
        ({"a": (2, 1)}, "the lowest must be below the highest, got 2 and 1"),
        ({"a": (1, 2, 3)}, "a range is .lowest, highest., got .1, 2, 3.; several values are a list"),
        ({"a": (0, float("inf"))}, "the ends of a range are finite numbers, got inf"),
        ({"a": {"low": 1}}, "a range needs low and high"),
        ({"a": {"low": 1, "hihg": 2}}, "got 'hihg'; did you mean high?"),
        ({"a": {"low": 0, "high": 2, "log": True}}, "orders of magnitude begin above 0, got low=0"),
        ({"a": {"low": 1, "high": 2, "log": 1}}, "log must be True or False"),
    ],
)
def test_spaces_that_are_none(space, message):
    with pytest.raises(cf.ParameterError, match=message):
        parse_space(space)


def test_points():
    space = parse_space({"a": (1, 9), "b": (0.01, 1.0), "c": ["x", "y"]})
    points = list(grid_of(space))
    assert len(points) == 18
    assert points[0] == {"a": 1, "b": pytest.approx(0.01), "c": "x"}
    assert points[3] == {"a": 1, "b": pytest.approx(0.1), "c": "y"}
    assert sample(space, [0.999, 1, 1]) == {"a": 9, "b": 1.0, "c": "y"}
    assert size_of(space) is None
    assert size_of(parse_space({"a": (1, 9), "c": ["x", "y"]})) == 18
    for share in np.linspace(0, 1, 11):
        value = space["b"].at(share)
        assert space["b"].holds(value)
    assert not space["a"].holds(1.5)
    assert not space["a"].holds(None)


@pytest.mark.parametrize("name", sorted(zoo.PUBLIC))
def test_every_model_has_a_space_that_it_allows(name):
    assert (name in DEFAULT_SPACES) != (name in NOTHING_TO_TUNE)
    if name in NOTHING_TO_TUNE:
        return
    model = MADE.get(name, Model.registry[name])()
    space = parse_space(default_space(model))
    assert set(space) <= set(parameter_names(model))
    check_space(space, lambda params: with_parameters(model, params))
    rng = np.random.default_rng(0)
    for _ in range(20):
        with_parameters(model, sample(space, rng.random(len(space))))


def test_no_space_is_of_a_model_that_is_gone():
    assert {*DEFAULT_SPACES, *NOTHING_TO_TUNE} <= set(Model.registry)


def test_models_inside():
    model = cf.Fallback(cf.PersonalPopular(), cf.Popular())
    assert set(default_space(model)) == {"PersonalPopular.half_life", "Popular.half_life", "Popular.by"}
    new = with_parameters(model, {"PersonalPopular.half_life": "9d"})
    assert (new.models[0].half_life, model.models[0].half_life) == ("9d", None)
    assert value_of(new, "PersonalPopular.half_life") == "9d"
    assert new.models[1] is not model.models[1]
    with pytest.raises(cf.ParameterError, match="PersonalPopular has no parameter 'half_lif'; did you mean half_life"):
        with_parameters(model, {"PersonalPopular.half_lif": "9d"})
    with pytest.raises(cf.ParameterError, match="Fallback has no parameter 'Popula'; did you mean Popular"):
        with_parameters(model, {"Popula.by": "users"})
    two = cf.Fallback(cf.Popular(), cf.Popular(by="weight"))
    with pytest.raises(cf.ParameterError, match="there are several Popular in"):
        with_parameters(two, {"Popular.by": "users"})
    with pytest.raises(
        cf.ParameterError, match=r"Fallback has none by default; name what to try, such as \{'Random.seed'"
    ):
        default_space(cf.Fallback(cf.Random(), cf.Random(1)))


def test_a_copy_is_not_fitted_and_keeps_the_rest(interactions):
    model = cf.EASE(20.0, dropout=0.1).fit(interactions)
    new = with_parameters(model, {"regularization": 7.0})
    assert repr(new) == repr(cf.EASE(7.0, dropout=0.1))
    with pytest.raises(cf.NotFittedError):
        new.recommend()
    assert model.regularization == 20.0


def test_values_that_a_model_does_not_allow():
    model = cf.FactorizationMachine()

    def check(space):
        check_space(parse_space(space), lambda params: with_parameters(model, params))

    with pytest.raises(cf.ParameterError, match=r"space\['factors'\]: 0 is not allowed: factors must be"):
        check({"factors": [8, 0]})
    with pytest.raises(cf.ParameterError, match=r"space\['init_std'\]: 0.0 is not allowed"):
        check({"init_std": {"low": 0.0, "high": 1.0}})
    with pytest.raises(cf.ParameterError, match="has no parameter 'factor'; did you mean factors"):
        check({"factor": [8]})
    # What does not go with the model's own parameters may go with others of the space.
    check({"task": ["regression", "ordinal"], "method": ["als", "mcmc"]})
    with pytest.raises(cf.ParameterError, match=r"space\['task'\]: 'ordinal' is not allowed: task='ordinal' needs"):
        check({"task": ["regression", "ordinal"], "method": ["als", "sgd"]})
