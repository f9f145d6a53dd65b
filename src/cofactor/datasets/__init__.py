"""Readers for well-known data sets and generators of synthetic ones."""

from cofactor.datasets._grocery import completejourney, grocery_products
from cofactor.datasets._movielens import movielens, movielens_fold
from cofactor.datasets._otto import otto
from cofactor.datasets._sessions import NextItem, next_item, next_item_tests
from cofactor.datasets._synthetic import planted_factors, synthetic, synthetic_events
from cofactor.datasets._synthetic_sessions import planted_clusters, synthetic_sessions
from cofactor.datasets._texts import LeaveOneOut, leave_one_out_with_negatives, user_item_lists

__all__ = [
    "LeaveOneOut",
    "NextItem",
    "completejourney",
    "grocery_products",
    "leave_one_out_with_negatives",
    "movielens",
    "movielens_fold",
    "next_item",
    "next_item_tests",
    "otto",
    "planted_clusters",
    "planted_factors",
    "synthetic",
    "synthetic_events",
    "synthetic_sessions",
    "user_item_lists",
]
