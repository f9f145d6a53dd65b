"""Parameters of a factorization machine: what they are unless given, and which of them go together."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from cofactor.checks import check_at_least, check_choice, check_flag
from cofactor.data.context import widths_of
from cofactor.errors import DataError, ParameterError
from cofactor.models.ratings.factored import standardized
from cofactor.system.memory import require_memory
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cofactor.data.context import Context
    from cofactor.data.ratings import Ratings
    from cofactor.kernels.csr import CSR
    from cofactor.models.ratings.fm_sides import SideFeatures

__all__ = ["Chosen", "Settings", "check_settings", "defaults", "require_room", "slope_at_mean", "targets_of"]

_METHODS = ("mcmc", "als", "sgd")
_SWEEPS = {"mcmc": 500, "als": 30}
_PENALTY = 10.0  # of "als"
_MANY = 900_000  # ratings, from which on "sgd" takes as few passes as it ever does
_MOST_PASSES, _FASTEST = 30, 0.005
_OF_ADAGRAD = 0.05  # its learning rate
_WITH_SETS = 1.25  # what its penalty is multiplied by
_OUTPUTS = ("identity", "sigmoid")
_TASKS = ("regression", "ordinal", "classification")
_OPTIMIZERS = {"row_adam": 2, "adam": 3, "adagrad": 2}  # numbers that each keeps of a parameter, itself among them
_MOST_LEVELS = 50


class Settings(Protocol):
    """What a machine says of itself; see ``FactorizationMachine``."""

    factors: int
    method: str
    task: str
    output: str
    implicit: bool
    context: Context | None
    user_noise: bool
    iterations: int | None
    samples: int
    regularization: float | None
    learning_rate: float | None
    optimizer: str
    batch_size: int
    init_std: float
    seed: int
    threads: int | None


class Chosen(NamedTuple):
    """What a fit goes by."""

    iterations: int
    learning_rate: float
    regularization: float


def slope_at_mean(shares: CSR) -> float:
    """Of a sigmoid where it is the mean of these shares of the scale, in units of their standard deviation."""
    values = shares.values.astype(np.float64)
    return float(values.mean() * (1 - values.mean()) / values.std())


def defaults(model: Settings, n: int, slope: float = 1.0) -> Chosen:
    """What suits a method, a task and so many ratings.

    Those of "sgd" were chosen on held-out ratings of ml-100k (70,000 in training) and of ml-1m (810,000), between which
    they go by powers of the number. What is predicted is ``slope`` times as steep as the machine, so that as much of a
    penalty weighs ``1 / slope**2`` times what it does there.
    """
    if model.method != "sgd":
        return Chosen(_SWEEPS[model.method], 0.0, _PENALTY)
    fewer = max(_MANY / max(n, 1), 1.0)
    if model.task == "classification":
        passes, rate, penalty = 8 * fewer**0.5, min(0.002 * fewer**0.375, _FASTEST), 5e-5 * fewer**0.9
    else:
        passes, rate, penalty = 5 * fewer**0.69, _FASTEST, 8e-5 * fewer**0.715
    penalty *= _WITH_SETS if model.implicit else 1.0
    rate = _OF_ADAGRAD if model.optimizer == "adagrad" else rate
    return Chosen(min(round(passes), _MOST_PASSES), rate, penalty * slope**2)


def check_settings(model: Settings) -> None:
    """Raise ParameterError for parameters out of their range, or that do not go together."""
    check_at_least("factors", model.factors, 1, whole=True)
    check_choice("method", model.method, _METHODS)
    check_choice("task", model.task, _TASKS)
    check_choice("output", model.output, _OUTPUTS)
    check_flag("implicit", model.implicit)
    check_flag("user_noise", model.user_noise)
    widths_of(model.context)
    if model.iterations is not None:
        check_at_least("iterations", model.iterations, 2, whole=True)
    check_at_least("samples", model.samples, 1, whole=True)
    if model.regularization is not None:
        check_at_least("regularization", model.regularization, 0, above=True)
    if model.learning_rate is not None:
        check_at_least("learning_rate", model.learning_rate, 0, above=True)
    check_choice("optimizer", model.optimizer, tuple(_OPTIMIZERS))
    check_at_least("batch_size", model.batch_size, 1, whole=True)
    check_at_least("init_std", model.init_std, 0, above=True)
    check_at_least("seed", model.seed, 0, whole=True)
    if model.task == "ordinal" and model.method != "mcmc":
        raise ParameterError(f"task='ordinal' needs method='mcmc', got method={model.method!r}")
    if model.output == "sigmoid" and model.method != "sgd":
        raise ParameterError(f"output='sigmoid' needs method='sgd', got method={model.method!r}")
    if model.output == "sigmoid" and model.task != "regression":
        raise ParameterError(
            f"output='sigmoid' needs task='regression', got task={model.task!r}, which has a curve of its own"
        )
    if model.optimizer != "row_adam" and model.method != "sgd":
        raise ParameterError(f"optimizer={model.optimizer!r} needs method='sgd', got method={model.method!r}")
    resolve_threads(model.threads)


def targets_of(model: Settings, x: Ratings) -> tuple[CSR, NDArray[np.float64], float, float]:
    """Targets, the levels where these are classes, and mean and standard deviation where they are standardized.

    With ``output="sigmoid"`` targets are shares of the scale, whose ends are the levels.

    Raises
    ------
    DataError
        ``task="classification"``, and there are not two values.
    ParameterError
        ``task="ordinal"``, and there are too many levels.
    """
    matrix, task = x.user_items, model.task
    if model.output == "sigmoid":
        low, high = x.scale
        shares = (matrix.values.astype(np.float64) - low) / (high - low)
        return matrix.with_values(np.clip(shares, 0, 1)), np.array([low, high]), 0.0, 1.0
    if task == "regression":
        targets, mean, std = standardized(matrix)
        return targets, np.empty(0), mean, std
    levels, classes = np.unique(matrix.values.astype(np.float64), return_inverse=True)
    if task == "classification" and len(levels) != 2:
        shown = ", ".join(f"{level:g}" for level in levels[:5]) + (" ..." if len(levels) > 5 else "")
        raise DataError(
            f"task='classification' is for ratings of two values, such as 0 and 1; these have {len(levels):,}: "
            f"{shown}. Make two of them, for example 1 where a rating is 4 or more and 0 elsewhere, or take "
            "task='regression' or 'ordinal'"
        )
    if len(levels) > _MOST_LEVELS:
        raise ParameterError(
            f"task='ordinal' is for ratings of at most {_MOST_LEVELS} levels, these have {len(levels):,}; take "
            "task='regression', or round the ratings"
        )
    return matrix.with_values(classes.astype(np.float32)), levels, 0.0, 1.0


def require_room(
    model: Settings, x: Ratings, sides: Sequence[SideFeatures], n_samples: int, *, in_context: bool
) -> None:
    """Raise ParameterError unless what training takes is there."""
    c, n_categories = model.factors + 17, sum(side.features.n_rows for side in sides[2:])
    rows = x.n_users + x.n_items * (1 + model.implicit) + n_categories
    copies = 3 * _OPTIMIZERS[model.optimizer] if model.method == "sgd" else 3  # what is kept of the best passes, too
    parts = sum(side.features.n_columns for side in sides)
    entries = sum(side.features.nnz for side in sides)
    rows += parts - model.implicit * (x.n_users + x.n_items)  # samples of what tables tell are kept, too
    longest = max(int(np.diff(m.indptr).max(initial=0)) for m in (x.user_items, x.item_users))
    needed = 4 * (n_samples * (model.factors + 1) * rows + copies * c * (x.n_users + x.n_items + n_categories + parts))
    needed += 8 * n_samples * (model.factors + 1) ** 2 + 40 * x.nnz + 16 * entries
    needed += 4 * c * longest * resolve_threads(model.threads)
    if model.method == "sgd":  # what features add up to and what they get, and a batch
        batch, largest = min(model.batch_size, x.nnz), max(x.n_users, x.n_items, n_categories)
        needed += 4 * c * ((2 * (x.n_users + x.n_items) + parts) * bool(parts) + (4 + len(sides)) * batch)
        needed += 8 * x.nnz * (len(sides) - 1) + min(32 * batch, x.nnz) * (12 + 8 * len(sides))
        needed += 5 * largest * resolve_threads(model.threads)
    elif in_context:  # rows beside each rating, also coordinate by coordinate, and the orders of all sides
        needed += x.nnz * (8 * c + 24 * len(sides))
    what = f"{type(model).__name__}(factors={model.factors}) on {x.n_users:,} users and {x.n_items:,} items"
    require_memory(needed, what, "fewer samples or factors")
