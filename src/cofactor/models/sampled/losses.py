"""The losses that a factorization can be trained with on sampled negatives, and what suits each of them."""

from __future__ import annotations

from typing import Any, NamedTuple

from cofactor.checks import check_at_least, check_choice, check_flag, check_fraction, check_type, is_number, shown
from cofactor.errors import ParameterError

__all__ = ["LOSSES", "Loss", "check_parameters", "settled"]

_SAMPLERS = ("exact", "uniform", "popularity", "in_batch")
_OPTIMIZERS = ("adam", "adagrad", "sgd")
_SCHEDULES = ("constant", "plateau", "cosine")
_OPTIONAL = frozenset(
    {"score", "negatives", "sampler", "temperature", "positive_temperature", "margin", "biases", "regularization"}
    | {"learning_rate", "bias_optimizer", "bias_learning_rate", "epochs"}
)
_RATES = {"adam": 1.0, "adagrad": 10.0, "sgd": 10.0}  # learning rates, that of Adam being 1


class Loss(NamedTuple):
    """A loss, and values of parameters that are not given."""

    shared: bool  # whether all positives of a batch share their negatives
    negatives: int  # for each batch, or for each positive
    margin: float | None = None

    def defaults(self) -> dict[str, Any]:
        """What suits the loss, by the names of the model's parameters."""
        kind: dict[str, Any] = (
            {"score": "cosine", "biases": False, "regularization": 0.0, "learning_rate": 0.003}
            if self.shared
            else {"score": "dot", "biases": True, "regularization": 0.01, "learning_rate": 0.005}
        )
        return kind | self._asdict()


LOSSES = {
    "bpr": Loss(shared=False, negatives=1),
    "hinge": Loss(shared=False, negatives=1, margin=1.0),
    "adaptive_hinge": Loss(shared=False, negatives=5, margin=1.0),
    "warp": Loss(shared=False, negatives=1, margin=1.0),
    "logistic": Loss(shared=False, negatives=4),
    "softmax": Loss(shared=True, negatives=1024),
    "softmax@k": Loss(shared=True, negatives=1024),
    "bsl": Loss(shared=True, negatives=1024),
    "ccl": Loss(shared=True, negatives=1024, margin=0.7),
}


def settled(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters of a model with numbers in the place of those that are not given, but for the temperature."""
    out = LOSSES[params["loss"]].defaults() | {name: value for name, value in params.items() if value is not None}
    out.setdefault("sampler", "exact")
    out.setdefault("bias_optimizer", out["optimizer"])
    if params["learning_rate"] is None:
        out["learning_rate"] *= _RATES[out["optimizer"]]
    if params["bias_learning_rate"] is None:
        ratio = _RATES[out["bias_optimizer"]] / _RATES[out["optimizer"]]
        out["bias_learning_rate"] = out["learning_rate"] * ratio
    return out


def check_parameters(params: dict[str, Any]) -> None:
    """Raise ParameterError for parameters out of their range, or that the loss has no use for."""
    check_choice("loss", params["loss"], LOSSES)
    loss = LOSSES[params["loss"]]
    given = {name: value for name, value in params.items() if value is not None or name not in _OPTIONAL}
    for name in ("factors", "negatives", "max_trials", "k", "batch_size", "epochs", "patience"):
        check_at_least(name, given.get(name, 1), 1, whole=True)
    check_at_least("seed", params["seed"], 0, whole=True)
    for name in ("popularity_power", "regularization", "bias_regularization", "negative_weight"):
        check_at_least(name, given.get(name, 0), 0)
    for name in ("temperature", "positive_temperature", "learning_rate", "bias_learning_rate", "init_std"):
        check_at_least(name, given.get(name, 1), 0, above=True)
    for name in ("category_discount", "dislike_share"):
        if not (is_number(params[name]) and 0 <= params[name] <= 1):
            raise ParameterError(f"{name} must be a number from 0 to 1, got {shown(params[name])}")
    check_type("category", params["category"], str | None, "the name of a column of item_features, or None")
    check_choice("score", given.get("score", "dot"), ("dot", "cosine"))
    check_choice("sampler", given.get("sampler", "exact"), _SAMPLERS)
    check_choice("weights", params["weights"], ("given", "binary"))
    check_choice("lr_schedule", params["lr_schedule"], _SCHEDULES)
    for name in ("optimizer", "bias_optimizer"):
        check_choice(name, given.get(name, "adam"), _OPTIMIZERS)
    for name in ("biases", "deterministic"):
        check_flag(name, given.get(name, True))
    if "margin" in given:
        if params["loss"] == "ccl":
            check_fraction("margin", params["margin"])
        else:
            check_at_least("margin", params["margin"], 0, above=True)
    if not loss.shared and params["sampler"] == "in_batch":
        raise ParameterError(
            f"sampler='in_batch' is for losses whose negatives a batch shares ({_shared()}), not for "
            f"loss={params['loss']!r}; use 'popularity', which draws the same items as often"
        )
    if not loss.shared and params["score"] == "cosine":
        raise ParameterError(
            f"score='cosine' is for losses whose negatives a batch shares ({_shared()}); loss={params['loss']!r} is of "
            "inner products: leave score out"
        )


def _shared() -> str:
    return ", ".join(repr(name) for name, loss in LOSSES.items() if loss.shared)
