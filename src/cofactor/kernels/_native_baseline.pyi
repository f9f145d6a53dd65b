"""The native kernels; those of the other CPU levels have the same functions."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U32 = NDArray[np.uint32]
F64 = NDArray[np.float64]

level: str
lanes: int

def supported_level() -> str: ...
def transpose(
    indptr: I64, indices: I32, values: F32, n_columns: int, out_indptr: I64, out_indices: I32, out_values: F32
) -> None: ...
def gramian(y: F32, out: F32, threads: int) -> None: ...
def rotate(x: F32, q: F32, threads: int) -> None: ...
def als_sweep(
    indptr: I64, indices: I32, values: F32, solved: F32, fixed: Sequence[F32], gramian: F32, alpha: float,
    unobserved_weight: float, regularization: float, regularization_exponent: float, solver: str, cg_steps: int,
    cg_tolerance: float, block_size: int, gather: str, threads: int
) -> tuple[float, int]: ...  # fmt: skip
def gaussian_rows(
    indptr: I64, indices: I32, values: F32, solved: F32, fixed: F32, offsets: F32, factors: int, prior: F32, side: F32,
    exponent: float, deviation: float, seed: int, threads: int
) -> tuple[float, int]: ...  # fmt: skip
def ratings_sgd_epoch(
    indptr: I64, indices: I32, values: F32, user_vectors: F32, user_biases: F32, user_shrinkage: F32,
    item_vectors: F32, item_biases: F32, item_shrinkage: F32, user_blocks: I32, item_blocks: I32,
    learning_rate: float, bias_learning_rate: float, regularization: float, bias_regularization: float, shift: int,
    update_items: bool, threads: int
) -> float: ...  # fmt: skip
def ratings_implicit_epoch(
    indptr: I64, indices: I32, values: F32, user_vectors: F32, user_biases: F32, user_shrinkage: F32,
    item_vectors: F32, item_biases: F32, item_shrinkage: F32, implicit: F32, user_blocks: I32, item_blocks: I32,
    learning_rate: float, bias_learning_rate: float, regularization: float, bias_regularization: float, batch: int,
    threads: int
) -> float: ...  # fmt: skip
def sparse_product(
    a_indptr: I64,
    a_indices: I32,
    a_values: F32,
    b_indptr: I64,
    b_indices: I32,
    b_values: F32,
    lower: bool,
    out: F32,
    threads: int,
) -> None: ...
def dense_product(d: F32, indptr: I64, indices: I32, values: F32, out: F32, threads: int) -> None: ...
def quadratic_forms(k: F32, indptr: I64, indices: I32, values: F32, out: F64, threads: int) -> None: ...
def mirror_scaled(p: F32, scale: F32, diagonal: float, threads: int) -> None: ...
def top_k(
    queries: F32,
    items: F32,
    bias: F32 | None,
    excluded_indptr: I64 | None,
    excluded_indices: I32 | None,
    allowed: I32 | None,
    best_items: I32,
    best_scores: F32,
    threads: int,
) -> None: ...
def ranks(
    queries: F32,
    items: F32,
    wanted_indptr: I64,
    wanted_indices: I32,
    excluded_indptr: I64 | None,
    excluded_indices: I32 | None,
    allowed: I32 | None,
    rank: I32,
    middle: F64,
    n_listed: I64,
    threads: int,
) -> None: ...
def linear_top_k_sparse(
    indptr: I64, indices: I32, values: F32, weights_indptr: I64, weights_indices: I32, weights_values: F32,
    n_columns: int, excluded_indptr: I64 | None, excluded_indices: I32 | None, allowed: I32 | None, best_columns: I32,
    best_scores: F32, threads: int
) -> None: ...  # fmt: skip
def linear_top_k_dense(
    indptr: I64,
    indices: I32,
    values: F32,
    weights: F32,
    excluded_indptr: I64 | None,
    excluded_indices: I32 | None,
    allowed: I32 | None,
    best_columns: I32,
    best_scores: F32,
    threads: int,
) -> None: ...
def select_top_k(
    scores: F32,
    excluded_indptr: I64 | None,
    excluded_indices: I32 | None,
    allowed: I32 | None,
    best_columns: I32,
    best_scores: F32,
    threads: int,
) -> None: ...
def session_places(
    indptr: I64, items: I32, limit: int, places_indptr: I64, places: I32, n_sessions_of: I64
) -> None: ...
def session_top_k(
    indptr: I64, items: I32, weights: F64, places_indptr: I64, places: I32, item_weights: F64, candidate_weights: F64,
    neighbours: int, sample_size: int, last_events: int, lambda1: float, lambda3: float, backward: float,
    repeat: float, history_indptr: I64, history_items: I32, history_positions: I32, excluded_indptr: I64 | None,
    excluded_indices: I32 | None, allowed: I32 | None, best_items: I32, best_scores: F32, threads: int
) -> None: ...  # fmt: skip
def session_scores(
    indptr: I64, items: I32, weights: F64, places_indptr: I64, places: I32, item_weights: F64, candidate_weights: F64,
    neighbours: int, sample_size: int, last_events: int, lambda1: float, lambda3: float, backward: float,
    repeat: float, history_indptr: I64, history_items: I32, history_positions: I32, wanted_indptr: I64, wanted: I32,
    scores: F32, threads: int
) -> None: ...  # fmt: skip
def covisitation_kept(
    indptr: I64, items: I32, weights: U32 | None, most: int, lengths: I64, counts: I64, work: I64, threads: int
) -> tuple[int, int, int]: ...
def covisitation_records(
    indptr: I64,
    items: I32,
    times: I64 | None,
    weights: U32 | None,
    oldest: int,
    starts: I64,
    out: U32,
    seconds: U32 | None,
    threads: int,
) -> None: ...
def covisitation_index(
    records: U32,
    seconds: U32 | None,
    sessions: I64,
    gap: int,
    n_items: int,
    first: int,
    starts: I64,
    windows: U32,
    threads: int,
) -> None: ...
def covisitation_rows(
    records: U32, once: bool, scale: float, work: I64, first: int, begin: int, end: int, starts: I64, windows: U32,
    places: I64, n_best: int, lengths: I32, neighbours: I32, values: F32, tables: NDArray[np.uint64], touched: U32,
    threads: int
) -> None: ...  # fmt: skip
def covisitation_compact(places: I64, lengths: I32, neighbours: I32, values: F32) -> None: ...
def gram_neighbours(
    indptr: I64, indices: I32, values: F32 | None, weights: F32, row_scale: F32, column_scale: F32, row_add: F32,
    column_add: F32, overlap: float, shrink: float, out_columns: I32, out_scores: F32, threads: int
) -> None: ...  # fmt: skip
def product_neighbours(
    a_indptr: I64, a_indices: I32, a_values: F32, b_indptr: I64, b_indices: I32, b_values: F32, row_scale: F32,
    column_scale: F32, row_add: F32, column_add: F32, overlap: float, shrink: float, row_groups: I32 | None,
    column_groups: I32 | None, out_columns: I32, out_scores: F32, threads: int
) -> None: ...  # fmt: skip
def shared_negatives_epoch(
    indptr: I64, indices: I32, weights: F32, n_items: int, values: F32, first: F32, second: F32, steps: I32,
    optimizer: str, learning_rate: float, epsilon: float, beta1: float, beta2: float, bias_values: F32,
    bias_first: F32, bias_second: F32, bias_steps: I32, bias_optimizer: str, bias_learning_rate: float,
    bias_epsilon: float, bias_beta1: float, bias_beta2: float, user_indptr: I64 | None, user_rows: I32 | None,
    user_weights: F32 | None, item_indptr: I64 | None, item_rows: I32 | None, item_weights: F32 | None, loss: str,
    score: str, temperature: float, positive_temperature: float, margin: float, negative_weight: float,
    quantiles: F32 | None, quantile_temperature: float, sampler: str, negatives: int, keep: F32 | None,
    alias: I32 | None, log_q: F32 | None, groups: I32 | None, group_discounts: F32 | None, regularization: float,
    bias_regularization: float, batch_size: int, seed: int, epoch: int, update_users: bool, update_items: bool,
    threads: int
) -> float: ...  # fmt: skip
def slim_columns(
    user_indptr: I64, user_indices: I32, user_values: F32, item_indptr: I64, item_indices: I32, item_values: F32,
    squares: F32, gramian: F32 | None, start_indptr: I64 | None, start_indices: I32 | None, start_values: F32 | None,
    l1: float, l2: float, non_negative: bool, tolerance: float, iterations: int, neighbours: int, top_n: int,
    max_active: int, begin: int, out_counts: I32, out_items: I32, out_values: F32, out_status: NDArray[np.uint8],
    threads: int
) -> None: ...  # fmt: skip
def pairwise_epoch(
    indptr: I64, indices: I32, weights: F32, n_items: int, values: F32, first: F32, second: F32, steps: I32,
    optimizer: str, learning_rate: float, epsilon: float, beta1: float, beta2: float, bias_values: F32,
    bias_first: F32, bias_second: F32, bias_steps: I32, bias_optimizer: str, bias_learning_rate: float,
    bias_epsilon: float, bias_beta1: float, bias_beta2: float, user_indptr: I64 | None, user_rows: I32 | None,
    user_weights: F32 | None, item_indptr: I64 | None, item_rows: I32 | None, item_weights: F32 | None, loss: str,
    exact: bool, negatives: int, keep: F32 | None, alias: I32 | None, disliked_indptr: I64 | None,
    disliked_indices: I32 | None, dislike_share: float, groups: I32 | None, group_discounts: F32 | None,
    margin: float, regularization: float, bias_regularization: float, falls_to: float, seed: int, epoch: int,
    deterministic: bool, batch_size: int, update_users: bool, update_items: bool, threads: int
) -> tuple[float, int, int]: ...  # fmt: skip
def sample_negatives(
    users: I32, n_users: int, n_items: int, seen_indptr: I64 | None, seen_indices: I32 | None,
    disliked_indptr: I64 | None, disliked_indices: I32 | None, dislike_share: float, keep: F32 | None,
    alias: I32 | None, seed: int, first: int, out: I32, threads: int
) -> None: ...  # fmt: skip
def alias_table(weights: F64, keep: F32, alias: I32) -> None: ...
def permuted_rows(n: int, seed: int, begin: int, out: I64, threads: int) -> None: ...
def gather_int32(values: I32, rows: I64, out: I32, threads: int) -> None: ...
def gather_int64(values: I64, rows: I64, out: I64, threads: int) -> None: ...
def index_layout(factors: int) -> tuple[int, int]: ...
def cut_blocks(items: F32, order: I32, given: I64, offsets: I64, most: int, threads: int) -> int: ...
def pack_index(
    items: F32,
    bias: F32 | None,
    order: I32,
    offsets: I64,
    places: I32,
    first_panel: I64,
    directions: F32,
    blocks: F64,
    panels: F64,
    codes: NDArray[np.uint8],
    threads: int,
) -> None: ...
def index_top_k(
    queries: F32, items: F32, bias: F32 | None, places: I32, first_panel: I64, directions: F32, blocks: F64,
    panels: F64, codes: NDArray[np.uint8], excluded_indptr: I64 | None, excluded_indices: I32 | None,
    allowed: I32 | None, best_items: I32, best_scores: F32, threads: int
) -> None: ...  # fmt: skip

session_block: int

def count_session_pairs(
    indptr: I64,
    items: I32,
    times: I64 | None,
    types: NDArray[np.uint8] | None,
    kept: NDArray[np.uint8] | None,
    window: int,
    max_gap: int,
    last_events: int,
    both: bool,
    repeats: bool,
    type_weights: F32 | None,
    distance_weights: F32 | None,
    counts: I64,
    threads: int,
) -> tuple[int, int, int, int, int]: ...
def session_pairs(
    indptr: I64,
    items: I32,
    times: I64 | None,
    types: NDArray[np.uint8] | None,
    kept: NDArray[np.uint8] | None,
    window: int,
    max_gap: int,
    last_events: int,
    both: bool,
    repeats: bool,
    type_weights: F32 | None,
    distance_weights: F32 | None,
    first: int,
    last: int,
    starts: I64,
    out_items: I32,
    out_next_items: I32,
    out_weights: F32,
    threads: int,
) -> None: ...
def item_pairs_epoch(
    items: I32,
    next_items: I32,
    weights: F32 | None,
    n_items: int,
    values: F32,
    first: F32,
    second: F32,
    steps: I32,
    optimizer: str,
    learning_rate: float,
    epsilon: float,
    beta1: float,
    beta2: float,
    shared: bool,
    loss: str,
    in_batch: bool,
    keep: F32 | None,
    alias: I32 | None,
    negatives: int,
    log_q: F32 | None,
    regularization: float,
    seed: int,
    epoch: int,
    batch_size: int,
    learn: bool,
    threads: int,
) -> tuple[float, float, int, int]: ...
def fm_sweep(
    indptr: I64, indices: I32, values: F32, totals: F32, ids: F32, parts: F32, feature_indptr: I64,
    feature_indices: I32, feature_values: F32, column_indptr: I64, column_indices: I32, column_values: F32, groups: I32,
    weights: F32, other: F32, other_weights: F32, means: F32, precisions: F32, offset: float, noise_precision: float,
    seed: int, sampled: bool, passes: int, residuals: F32, row_sums: F64, threads: int
) -> None: ...  # fmt: skip
def fm_epoch(
    indptr: I64, indices: I32, values: F32, n_items: int, rows: F32, first: F32, second: F32, steps: I32,
    optimizer: str, learning_rate: float, epsilon: float, beta1: float, beta2: float, n_coordinates: int,
    logistic: bool, span: float, offset: float, weight_decay: float, batch_size: int, seed: int, threads: int
) -> float: ...  # fmt: skip
def fm_relations_epoch(
    indptr: I64, indices: I32, values: F32, n_items: int, user_indptr: I64, user_indices: I32, user_values: F32,
    n_user_features: int, item_indptr: I64, item_indices: I32, item_values: F32, n_item_features: int, categories: I32,
    n_categories: int, rates: F32, batches: int, rows: F32, first: F32, second: F32, steps: I32, optimizer: str,
    learning_rate: float, epsilon: float, beta1: float, beta2: float, n_coordinates: int, logistic: bool, span: float,
    offset: float, weight_decay: float, batch_size: int, seed: int, threads: int
) -> float: ...  # fmt: skip
def fm_ratings(
    users: I32, items: I32, user_samples: F32, item_samples: F32, unknown_user: F32, unknown_item: F32, offsets: F64,
    cutpoints: F64, levels: F64, means: F32, variances: F32, threads: int
) -> None: ...  # fmt: skip
def list_hits(
    indptr: I64,
    items: I32,
    of: I32,
    relevant_indptr: I64,
    relevant: I32,
    n_items: int,
    nth: I32,
    count: I64,
    threads: int,
) -> int: ...
