"""The search for parameters that an experiment file asks for, inside the train side of a fold."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from cofactor.checks import check_at_least
from cofactor.errors import ParameterError
from cofactor.evaluation.search import METHODS
from cofactor.evaluation.spaces import check_space, parse_space
from cofactor.evaluation.tune import seconds_of, tune
from cofactor.metrics import parse
from cofactor.models.base.parameters import parameter_names, with_parameters
from cofactor.models.base.rating import RatingModel

if TYPE_CHECKING:
    from cofactor.evaluation.experiment_data import Fold
    from cofactor.evaluation.experiment_section import Kind, Section
    from cofactor.evaluation.study import Study
    from cofactor.models import Recommender

__all__ = ["TUNE", "check_tuning", "tuned"]

TUNE: dict[str, Kind] = {
    "metric": "text",
    "method": "text",
    "trials": "whole",
    "budget": "text",
    "valid": "share",
    "seed": "whole",
    "space": "table",
}
"""What ``[models.NAME.tune]`` may hold."""


def check_tuning(section: Section, model: Recommender) -> None:
    """Check ``[models.NAME.tune]``, its space with the model.

    Raises
    ------
    ParameterError
        Names the line.
    """
    section.check(TUNE)
    section.choose("method", METHODS, "tpe")
    with section.placing("metric"):
        parse(section.table.get("metric", "ndcg@10"))
    with section.placing():
        check_at_least("trials", section.table.get("trials", 1), 1, whole=True)
        check_at_least("seed", section.table.get("seed", 0), 0, whole=True)
        if "budget" in section.table:
            seconds_of("budget", section.table["budget"])
    if "space" in section.table:
        space = section.section("space")
        space.check(dict.fromkeys(parameter_names(model), "any"))
        try:
            check_space(parse_space(space.table), lambda point: with_parameters(model, point))
        except ParameterError as error:
            named = re.search(r"space\['([^']+)'\]", str(error))
            space.fail(str(error), named[1] if named else None)


def tuned(
    section: Section,
    model: Recommender,
    fold: Fold,
    *,
    seed: int,
    **options: Any,  # noqa: ANN401
) -> Study:
    """Search; the train side of the fold is all that is seen. ``options``: others of ``tune``."""
    options |= {key: value for key, value in section.table.items() if key != "seed"}
    # Where rare users and items are left out the search has what is left, without times.
    train = fold.interactions if fold.counts and not isinstance(model, RatingModel) else fold.train
    weight = fold.weight if train is fold.train else None
    study = tune(
        model,
        train,
        weight=weight,
        seed=section.table.get("seed", seed),
        **options,
    )
    if study.interrupted:  # the run ends, so that half a search is not told as a whole one
        raise KeyboardInterrupt
    return study
