"""The kernels of the CPU, compiled for several CPU levels; ``cofactor.kernels.on("cpu")`` gives them."""

from __future__ import annotations

from typing import TypeVar

from cofactor.kernels.blas import invert
from cofactor.kernels.cpu import (
    als,
    covisitation,
    fm,
    fm_relations,
    gaussian_rows,
    item_pairs,
    metrics,
    neighbours,
    pairwise,
    products,
    ranks,
    ratings_implicit,
    ratings_sgd,
    retrieval,
    sampling,
    session_knn,
    session_pairs,
    shared_negatives,
    shuffle,
    slim,
    topk,
)

__all__ = ["Kernels"]

Held = TypeVar("Held")


class Kernels:
    """Every kernel of one device, and what they hold there, for one fit or one question.

    This is the contract of all devices: another one has a class of the same name and methods in a folder of its own,
    and passes the tests in ``tests/kernels``. A model asks :func:`cofactor.kernels.on` and calls nothing else.

    Matrices and vectors are where the kernels compute once :meth:`hold` has put them there, and dense matrices and
    vectors that kernels return stay there until :meth:`fetch` brings them back; ranked lists and sparse rows come back
    by themselves. Arguments may be held or not, but one that a kernel changes in place must be held. On the CPU all of
    this costs nothing.
    """

    device = "cpu"

    def hold(self, x: Held) -> Held:
        """Bring sparse rows or vectors to where the kernels compute; on the CPU they are there."""
        return x

    def fetch(self, x: Held) -> Held:
        """Bring back what is held, as arrays of NumPy; on the CPU they are that."""
        return x

    def free_memory(self) -> int | None:
        """Bytes that are free where it computes; None where that is the machine's memory."""
        return None

    als_bytes = staticmethod(als.als_bytes)
    als_sweep = staticmethod(als.als_sweep)
    gramian = staticmethod(als.gramian)
    squared_norms = staticmethod(als.squared_norms)
    to_principal_axes = staticmethod(als.to_principal_axes)
    vectors = staticmethod(als.vectors)

    gaussian_rows = staticmethod(gaussian_rows.gaussian_rows)
    rating_blocks = staticmethod(ratings_sgd.rating_blocks)
    ratings_implicit_epoch = staticmethod(ratings_implicit.ratings_implicit_epoch)
    ratings_sgd_epoch = staticmethod(ratings_sgd.ratings_sgd_epoch)

    dense_product = staticmethod(products.dense_product)
    diagonal = staticmethod(products.diagonal)
    invert = staticmethod(invert)
    mirror_scaled = staticmethod(products.mirror_scaled)
    quadratic_forms = staticmethod(products.quadratic_forms)
    set_diagonal = staticmethod(products.set_diagonal)
    sparse_product = staticmethod(products.sparse_product)

    linear_top_k = staticmethod(topk.linear_top_k)
    select_top_k = staticmethod(topk.select_top_k)
    top_k = staticmethod(topk.top_k)
    ranks = staticmethod(ranks.ranks)
    list_hits = staticmethod(metrics.list_hits)

    block_order = staticmethod(retrieval.block_order)
    pack_index = staticmethod(retrieval.pack_index)
    unpacked_index = staticmethod(retrieval.unpacked_index)
    index_top_k = staticmethod(retrieval.index_top_k)
    lowered_bounds = staticmethod(retrieval.lowered_bounds)

    product_neighbours = staticmethod(neighbours.product_neighbours)
    neighbours = staticmethod(neighbours.neighbours)
    slim_columns = staticmethod(slim.slim_columns)

    shared_negatives_epoch = staticmethod(shared_negatives.shared_negatives_epoch)
    alias_table = staticmethod(sampling.alias_table)
    item_pairs_epoch = staticmethod(item_pairs.item_pairs_epoch)
    pairwise_epoch = staticmethod(pairwise.pairwise_epoch)
    sample_negatives = staticmethod(sampling.sample_negatives)

    covisitation_compact = staticmethod(covisitation.covisitation_compact)
    covisitation_index = staticmethod(covisitation.covisitation_index)
    covisitation_kept = staticmethod(covisitation.covisitation_kept)
    covisitation_records = staticmethod(covisitation.covisitation_records)
    covisitation_rows = staticmethod(covisitation.covisitation_rows)

    session_places = staticmethod(session_knn.session_places)
    session_scores = staticmethod(session_knn.session_scores)
    session_top_k = staticmethod(session_knn.session_top_k)

    count_session_pairs = staticmethod(session_pairs.count_session_pairs)
    session_pairs = staticmethod(session_pairs.session_pairs)

    fm_epoch = staticmethod(fm.fm_epoch)
    fm_ratings = staticmethod(fm.fm_ratings)
    fm_relations_epoch = staticmethod(fm_relations.fm_relations_epoch)
    fm_sweep = staticmethod(fm.fm_sweep)

    gather = staticmethod(shuffle.gather)
    permuted_rows = staticmethod(shuffle.permuted_rows)
