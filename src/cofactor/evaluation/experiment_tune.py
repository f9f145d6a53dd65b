"""The search for parameters that an experiment file asks for, inside the train side of a fold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cofactor.checks import check_at_least
from cofactor.metrics import parse_all

if TYPE_CHECKING:
    from cofactor.evaluation.experiment_data import Fold
    from cofactor.evaluation.experiment_models import ModelSpec
    from cofactor.evaluation.experiment_section import Kind
    from cofactor.models import Recommender

__all__ = ["check_tuning", "tuned"]

_TUNE: dict[str, Kind] = {
    "metric": "text",
    "method": "text",
    "trials": "whole",
    "budget": "text",
    "valid": "any",
    "seed": "whole",
    "space": "table",
}
_METHODS = ("tpe", "grid", "random")


def check_tuning(spec: ModelSpec) -> None:
    """Check ``[models.NAME.tune]``, if there is one.

    Raises
    ------
    ParameterError
        Names the line.
    """
    if "tune" not in spec.section.table:
        return
    section = spec.section.section("tune")
    section.check(_TUNE)
    section.choose("method", _METHODS, "tpe")
    with section.placing("metric"):
        parse_all(section.table.get("metric", "ndcg@10"))
    if "trials" in section.table:
        with section.placing():
            check_at_least("trials", section.table["trials"], 1, whole=True)


def tuned(
    spec: ModelSpec, model: Recommender, fold: Fold, seed: int, progress: bool | None
) -> tuple[dict[str, Any], str]:
    """The best parameters, and on what they were chosen."""
    raise NotImplementedError
