"""The native kernels; those of the other CPU levels have the same functions."""

import numpy as np
from numpy.typing import NDArray

level: str
lanes: int

def supported_level() -> str: ...
def transpose(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float32],
    n_columns: int,
    out_indptr: NDArray[np.int64],
    out_indices: NDArray[np.int32],
    out_values: NDArray[np.float32],
) -> None: ...
def gramian(y: NDArray[np.float32], out: NDArray[np.float32], threads: int) -> None: ...
def als_sweep(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float32],
    solved: NDArray[np.float32],
    fixed: NDArray[np.float32],
    gramian: NDArray[np.float32],
    alpha: float,
    unobserved_weight: float,
    regularization: float,
    regularization_exponent: float,
    solver: str,
    cg_steps: int,
    cg_tolerance: float,
    block_size: int,
    threads: int,
) -> tuple[float, int]: ...
def sparse_product(
    a_indptr: NDArray[np.int64],
    a_indices: NDArray[np.int32],
    a_values: NDArray[np.float32],
    b_indptr: NDArray[np.int64],
    b_indices: NDArray[np.int32],
    b_values: NDArray[np.float32],
    lower: bool,
    out: NDArray[np.float32],
    threads: int,
) -> None: ...
def dense_product(
    d: NDArray[np.float32],
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float32],
    out: NDArray[np.float32],
    threads: int,
) -> None: ...
def quadratic_forms(
    k: NDArray[np.float32],
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float32],
    out: NDArray[np.float64],
    threads: int,
) -> None: ...
def mirror_scaled(p: NDArray[np.float32], scale: NDArray[np.float32], diagonal: float, threads: int) -> None: ...
def top_k(
    queries: NDArray[np.float32],
    items: NDArray[np.float32],
    bias: NDArray[np.float32] | None,
    excluded_indptr: NDArray[np.int64] | None,
    excluded_indices: NDArray[np.int32] | None,
    allowed: NDArray[np.int32] | None,
    best_items: NDArray[np.int32],
    best_scores: NDArray[np.float32],
    threads: int,
) -> None: ...
def linear_top_k_sparse(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float32],
    weights_indptr: NDArray[np.int64],
    weights_indices: NDArray[np.int32],
    weights_values: NDArray[np.float32],
    n_columns: int,
    excluded_indptr: NDArray[np.int64] | None,
    excluded_indices: NDArray[np.int32] | None,
    allowed: NDArray[np.int32] | None,
    best_columns: NDArray[np.int32],
    best_scores: NDArray[np.float32],
    threads: int,
) -> None: ...
def linear_top_k_dense(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float32],
    weights: NDArray[np.float32],
    excluded_indptr: NDArray[np.int64] | None,
    excluded_indices: NDArray[np.int32] | None,
    allowed: NDArray[np.int32] | None,
    best_columns: NDArray[np.int32],
    best_scores: NDArray[np.float32],
    threads: int,
) -> None: ...
def select_top_k(
    scores: NDArray[np.float32],
    excluded_indptr: NDArray[np.int64] | None,
    excluded_indices: NDArray[np.int32] | None,
    allowed: NDArray[np.int32] | None,
    best_columns: NDArray[np.int32],
    best_scores: NDArray[np.float32],
    threads: int,
) -> None: ...
def session_places(
    indptr: NDArray[np.int64],
    items: NDArray[np.int32],
    limit: int,
    places_indptr: NDArray[np.int64],
    places: NDArray[np.int32],
    n_sessions_of: NDArray[np.int64],
) -> None: ...
def session_top_k(
    indptr: NDArray[np.int64],
    items: NDArray[np.int32],
    weights: NDArray[np.float64],
    places_indptr: NDArray[np.int64],
    places: NDArray[np.int32],
    item_weights: NDArray[np.float64],
    candidate_weights: NDArray[np.float64],
    neighbours: int,
    sample_size: int,
    last_events: int,
    lambda1: float,
    lambda3: float,
    backward: float,
    repeat: float,
    history_indptr: NDArray[np.int64],
    history_items: NDArray[np.int32],
    history_positions: NDArray[np.int32],
    excluded_indptr: NDArray[np.int64] | None,
    excluded_indices: NDArray[np.int32] | None,
    allowed: NDArray[np.int32] | None,
    best_items: NDArray[np.int32],
    best_scores: NDArray[np.float32],
    threads: int,
) -> None: ...
def session_scores(
    indptr: NDArray[np.int64],
    items: NDArray[np.int32],
    weights: NDArray[np.float64],
    places_indptr: NDArray[np.int64],
    places: NDArray[np.int32],
    item_weights: NDArray[np.float64],
    candidate_weights: NDArray[np.float64],
    neighbours: int,
    sample_size: int,
    last_events: int,
    lambda1: float,
    lambda3: float,
    backward: float,
    repeat: float,
    history_indptr: NDArray[np.int64],
    history_items: NDArray[np.int32],
    history_positions: NDArray[np.int32],
    wanted_indptr: NDArray[np.int64],
    wanted: NDArray[np.int32],
    scores: NDArray[np.float32],
    threads: int,
) -> None: ...
def covisitation_kept(
    indptr: NDArray[np.int64],
    items: NDArray[np.int32],
    weights: NDArray[np.uint32] | None,
    most: int,
    lengths: NDArray[np.int64],
    counts: NDArray[np.int64],
    work: NDArray[np.int64],
    threads: int,
) -> tuple[int, int, int]: ...
def covisitation_records(
    indptr: NDArray[np.int64],
    items: NDArray[np.int32],
    times: NDArray[np.int64] | None,
    weights: NDArray[np.uint32] | None,
    oldest: int,
    starts: NDArray[np.int64],
    out: NDArray[np.uint32],
    threads: int,
) -> None: ...
def covisitation_index(
    records: NDArray[np.uint32],
    n_items: int,
    first: int,
    starts: NDArray[np.int64],
    positions: NDArray[np.uint32],
    threads: int,
) -> None: ...
def covisitation_rows(
    records: NDArray[np.uint32],
    gap: int,
    once: bool,
    scale: float,
    work: NDArray[np.int64],
    first: int,
    begin: int,
    end: int,
    starts: NDArray[np.int64],
    positions: NDArray[np.uint32],
    places: NDArray[np.int64],
    n_best: int,
    lengths: NDArray[np.int32],
    neighbours: NDArray[np.int32],
    values: NDArray[np.float32],
    tables: NDArray[np.uint64],
    touched: NDArray[np.uint32],
    threads: int,
) -> None: ...
def covisitation_compact(
    places: NDArray[np.int64],
    lengths: NDArray[np.int32],
    neighbours: NDArray[np.int32],
    values: NDArray[np.float32],
) -> None: ...
