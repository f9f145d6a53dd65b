"""The losses that a factorization can be trained with on sampled negatives, and what suits each of them."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["LOSSES", "SAMPLERS", "Loss"]

SAMPLERS = ("exact", "uniform", "popularity", "in_batch")


class Loss(NamedTuple):
    """A loss and the values of parameters that are not given.

    Parameters
    ----------
    shared : bool
        Whether all positives of a batch share their negatives.
    score : {"dot", "cosine"}
    negatives : int
        For every positive, or for every batch.
    sampler : str
    learning_rate : float
        Of Adam; the other optimizers' is ten times as large.
    biases : bool
    regularization : float
    parameters : frozenset of str
        Of the model, that this loss reads and others do not.
    """

    shared: bool
    score: str
    negatives: int
    sampler: str
    learning_rate: float
    biases: bool
    regularization: float
    parameters: frozenset[str] = frozenset()


def _pairwise(negatives: int, *parameters: str) -> Loss:
    return Loss(False, "dot", negatives, "exact", 0.005, True, 0.01, frozenset(parameters))


def _shared(*parameters: str) -> Loss:
    return Loss(True, "cosine", 1024, "exact", 0.005, False, 0.0, frozenset(parameters))


LOSSES = {
    "bpr": _pairwise(1),
    "hinge": _pairwise(1, "margin"),
    "adaptive_hinge": _pairwise(5, "margin"),
    "warp": _pairwise(1, "margin", "max_trials"),
    "logistic": _pairwise(4),
    "softmax": _shared("temperature"),
    "softmax@k": _shared("temperature", "k"),
    "bsl": _shared("temperature", "positive_temperature"),
    "ccl": _shared("margin", "negative_weight"),
}
