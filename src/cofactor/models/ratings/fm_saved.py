"""What a factorization machine learns, as files must hold it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.models.ratings.fm_samples import Kept

__all__ = ["check_samples", "shapes"]


def shapes(n: int, c: int, *, classes: bool, implicit: bool) -> dict[str, str]:
    """Types and shapes of ``n`` samples of ``c`` coordinates."""
    return {
        **dict.fromkeys(("mean_", "std_"), "number"),
        **dict.fromkeys(("unknown_user_", "unknown_item_"), f"float32 {n * c}"),
        **dict.fromkeys(("user_covariances_", "item_covariances_"), f"float32 {n} {c} {c} or nothing"),
        **dict.fromkeys(("prior_means_", "prior_precisions_"), f"float32 {n} {c}"),
        **dict.fromkeys(("offsets_", "noise_precisions_"), f"float64 {n}"),
        "user_samples_": f"float32 users {n * c}",
        "item_samples_": f"float32 items {n * c}",
        "rated_item_samples_": f"float32 {'items' if implicit else 0} {n * c}",
        "user_noises_": "float32 users",
        "cutpoints_": f"float64 {n} {'cutpoints' if classes else 0}",
        "levels_": f"float64 {'levels' if classes else 0}",
        "error_history_": "float64 sweeps",
        "user_features_": "features g or nothing",
        "item_features_": "features h or nothing",
        "user_feature_samples_": f"float32 g {n * c} or nothing",
        "item_feature_samples_": f"float32 h {n * c} or nothing",
        **dict.fromkeys(("item_prior_means_", "item_prior_precisions_"), f"float32 {n} {c} or nothing"),
        "described_users_": "uint8 users or nothing",
        "described_items_": "uint8 items or nothing",
        "context_features_": "features categories or nothing",
        "context_samples_": f"float32 categories {n * c} or nothing",
        "unknown_contexts_": f"float32 columns {n * c} or nothing",
        "context_covariances_": f"float32 columns {n} {c} {c} or nothing",
    }


def check_samples(kept: Kept, levels: NDArray[np.float64], std: float, *, noisy: bool) -> None:
    """Raise DataError where samples, of the right shapes, contradict themselves.

    Parameters
    ----------
    kept : Kept
    levels : (n_levels,) float64
        Empty unless ratings are ordinal.
    std : float
    noisy : bool
        Whether the noise of users was learned; otherwise theirs may be 0.
    """
    precisions = [kept.precisions, kept.noise_precisions, *((kept.noises,) if noisy else ())]
    if kept.item_precisions is not None:
        precisions.append(kept.item_precisions)
    if not len(kept.offsets) or not std > 0:
        raise DataError("a FactorizationMachine must have samples, and std_ must be above 0")
    if not all((own > 0).all() for own in precisions) or (kept.noises < 0).any():
        raise DataError("precisions and noises of a FactorizationMachine must be above 0")
    if len(levels) and kept.cutpoints.shape[1] != len(levels) - 1:
        raise DataError(f"there are {kept.cutpoints.shape[1]} cutpoints of {len(levels)} levels")
    for name, own in (("levels_", levels), ("cutpoints_", kept.cutpoints)):
        if not (np.diff(own) > 0).all():
            raise DataError(f"{name} of a FactorizationMachine must ascend")
