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
def rotate(x: NDArray[np.float32], q: NDArray[np.float32], threads: int) -> None: ...
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
def ranks(
    queries: NDArray[np.float32],
    items: NDArray[np.float32],
    wanted_indptr: NDArray[np.int64],
    wanted_indices: NDArray[np.int32],
    excluded_indptr: NDArray[np.int64] | None,
    excluded_indices: NDArray[np.int32] | None,
    allowed: NDArray[np.int32] | None,
    rank: NDArray[np.int32],
    middle: NDArray[np.float64],
    n_listed: NDArray[np.int64],
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
    seconds: NDArray[np.uint32] | None,
    threads: int,
) -> None: ...
def covisitation_index(
    records: NDArray[np.uint32],
    seconds: NDArray[np.uint32] | None,
    sessions: NDArray[np.int64],
    gap: int,
    n_items: int,
    first: int,
    starts: NDArray[np.int64],
    windows: NDArray[np.uint32],
    threads: int,
) -> None: ...
def covisitation_rows(
    records: NDArray[np.uint32],
    once: bool,
    scale: float,
    work: NDArray[np.int64],
    first: int,
    begin: int,
    end: int,
    starts: NDArray[np.int64],
    windows: NDArray[np.uint32],
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
def gram_neighbours(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float32] | None,
    weights: NDArray[np.float32],
    row_scale: NDArray[np.float32],
    column_scale: NDArray[np.float32],
    row_add: NDArray[np.float32],
    column_add: NDArray[np.float32],
    overlap: float,
    shrink: float,
    out_columns: NDArray[np.int32],
    out_scores: NDArray[np.float32],
    threads: int,
) -> None: ...
def product_neighbours(
    a_indptr: NDArray[np.int64],
    a_indices: NDArray[np.int32],
    a_values: NDArray[np.float32],
    b_indptr: NDArray[np.int64],
    b_indices: NDArray[np.int32],
    b_values: NDArray[np.float32],
    row_scale: NDArray[np.float32],
    column_scale: NDArray[np.float32],
    row_add: NDArray[np.float32],
    column_add: NDArray[np.float32],
    overlap: float,
    shrink: float,
    row_groups: NDArray[np.int32] | None,
    column_groups: NDArray[np.int32] | None,
    out_columns: NDArray[np.int32],
    out_scores: NDArray[np.float32],
    threads: int,
) -> None: ...

# fmt: off
def shared_negatives_epoch(
    indptr: NDArray[np.int64], indices: NDArray[np.int32], weights: NDArray[np.float32], n_items: int,
    values: NDArray[np.float32], first: NDArray[np.float32], second: NDArray[np.float32], steps: NDArray[np.int32],
    optimizer: str, learning_rate: float, epsilon: float, beta1: float, beta2: float, bias_values: NDArray[np.float32],
    bias_first: NDArray[np.float32], bias_second: NDArray[np.float32], bias_steps: NDArray[np.int32],
    bias_optimizer: str, bias_learning_rate: float, bias_epsilon: float, bias_beta1: float, bias_beta2: float,
    user_indptr: NDArray[np.int64] | None, user_rows: NDArray[np.int32] | None,
    user_weights: NDArray[np.float32] | None, item_indptr: NDArray[np.int64] | None,
    item_rows: NDArray[np.int32] | None, item_weights: NDArray[np.float32] | None, loss: str, score: str,
    temperature: float, positive_temperature: float, margin: float, negative_weight: float,
    quantiles: NDArray[np.float32] | None, quantile_temperature: float, sampler: str, negatives: int,
    keep: NDArray[np.float32] | None, alias: NDArray[np.int32] | None, log_q: NDArray[np.float32] | None,
    groups: NDArray[np.int32] | None, group_discounts: NDArray[np.float32] | None, regularization: float,
    bias_regularization: float, batch_size: int, seed: int, epoch: int, update_users: bool, update_items: bool,
    threads: int,
) -> float: ...
# fmt: on
def slim_columns(
    user_indptr: NDArray[np.int64],
    user_indices: NDArray[np.int32],
    user_values: NDArray[np.float32],
    item_indptr: NDArray[np.int64],
    item_indices: NDArray[np.int32],
    item_values: NDArray[np.float32],
    squares: NDArray[np.float32],
    gramian: NDArray[np.float32] | None,
    start_indptr: NDArray[np.int64] | None,
    start_indices: NDArray[np.int32] | None,
    start_values: NDArray[np.float32] | None,
    l1: float,
    l2: float,
    non_negative: bool,
    tolerance: float,
    iterations: int,
    neighbours: int,
    top_n: int,
    max_active: int,
    begin: int,
    out_counts: NDArray[np.int32],
    out_items: NDArray[np.int32],
    out_values: NDArray[np.float32],
    out_status: NDArray[np.uint8],
    threads: int,
) -> None: ...

# fmt: off
def pairwise_epoch(
    indptr: NDArray[np.int64], indices: NDArray[np.int32], weights: NDArray[np.float32], n_items: int,
    values: NDArray[np.float32], first: NDArray[np.float32], second: NDArray[np.float32], steps: NDArray[np.int32],
    optimizer: str, learning_rate: float, epsilon: float, beta1: float, beta2: float, bias_values: NDArray[np.float32],
    bias_first: NDArray[np.float32], bias_second: NDArray[np.float32], bias_steps: NDArray[np.int32],
    bias_optimizer: str, bias_learning_rate: float, bias_epsilon: float, bias_beta1: float, bias_beta2: float,
    user_indptr: NDArray[np.int64] | None, user_rows: NDArray[np.int32] | None,
    user_weights: NDArray[np.float32] | None, item_indptr: NDArray[np.int64] | None,
    item_rows: NDArray[np.int32] | None, item_weights: NDArray[np.float32] | None, loss: str, exact: bool,
    negatives: int, keep: NDArray[np.float32] | None, alias: NDArray[np.int32] | None,
    disliked_indptr: NDArray[np.int64] | None, disliked_indices: NDArray[np.int32] | None, dislike_share: float,
    groups: NDArray[np.int32] | None, group_discounts: NDArray[np.float32] | None, margin: float,
    regularization: float, bias_regularization: float, seed: int, epoch: int, deterministic: bool, batch_size: int,
    update_users: bool, update_items: bool, threads: int,
) -> tuple[float, int, int]: ...
# fmt: on
def sample_negatives(
    users: NDArray[np.int32],
    n_users: int,
    n_items: int,
    seen_indptr: NDArray[np.int64] | None,
    seen_indices: NDArray[np.int32] | None,
    disliked_indptr: NDArray[np.int64] | None,
    disliked_indices: NDArray[np.int32] | None,
    dislike_share: float,
    keep: NDArray[np.float32] | None,
    alias: NDArray[np.int32] | None,
    seed: int,
    first: int,
    out: NDArray[np.int32],
    threads: int,
) -> None: ...
def alias_table(
    weights: NDArray[np.float64],
    keep: NDArray[np.float32],
    alias: NDArray[np.int32],
) -> None: ...
def permuted_rows(n: int, seed: int, begin: int, out: NDArray[np.int64], threads: int) -> None: ...
def gather_int32(values: NDArray[np.int32], rows: NDArray[np.int64], out: NDArray[np.int32], threads: int) -> None: ...
def gather_int64(values: NDArray[np.int64], rows: NDArray[np.int64], out: NDArray[np.int64], threads: int) -> None: ...

session_block: int

# fmt: off
def count_session_pairs(
    indptr: NDArray[np.int64], items: NDArray[np.int32], times: NDArray[np.int64] | None,
    types: NDArray[np.uint8] | None, kept: NDArray[np.uint8] | None, window: int, max_gap: int, last_events: int,
    both: bool, repeats: bool, type_weights: NDArray[np.float32] | None, distance_weights: NDArray[np.float32] | None,
    counts: NDArray[np.int64], threads: int,
) -> tuple[int, int, int, int, int]: ...
def session_pairs(
    indptr: NDArray[np.int64], items: NDArray[np.int32], times: NDArray[np.int64] | None,
    types: NDArray[np.uint8] | None, kept: NDArray[np.uint8] | None, window: int, max_gap: int, last_events: int,
    both: bool, repeats: bool, type_weights: NDArray[np.float32] | None, distance_weights: NDArray[np.float32] | None,
    first: int, last: int, starts: NDArray[np.int64], out_items: NDArray[np.int32], out_next_items: NDArray[np.int32],
    out_weights: NDArray[np.float32], threads: int,
) -> None: ...
def item_pairs_epoch(
    items: NDArray[np.int32], next_items: NDArray[np.int32], weights: NDArray[np.float32] | None, n_items: int,
    values: NDArray[np.float32], first: NDArray[np.float32], second: NDArray[np.float32], steps: NDArray[np.int32],
    optimizer: str, learning_rate: float, epsilon: float, beta1: float, beta2: float, shared: bool, loss: str,
    in_batch: bool, keep: NDArray[np.float32] | None, alias: NDArray[np.int32] | None, negatives: int,
    log_q: NDArray[np.float32] | None, regularization: float, seed: int, epoch: int, batch_size: int, learn: bool,
    threads: int,
) -> tuple[float, float, int, int]: ...
# fmt: on
