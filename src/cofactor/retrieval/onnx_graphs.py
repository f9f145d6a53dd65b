"""Scoring as ONNX graphs: inner products of vectors, and histories times item-to-item weights.

Both give ``items`` (n, k) int64, rows of items, and ``scores`` (n, k) float32, best first, ties to the lower row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.errors import MissingExtraError, ParameterError
from cofactor.kernels.csr import CSR
from cofactor.version import __version__

if TYPE_CHECKING:
    from cofactor.kernels.arrays import Float
    from cofactor.models.base.factor import FactorModel
    from cofactor.models.base.item_weights import ItemWeightModel

__all__ = ["as_dense", "dot_product", "fold_in"]

_OPSET = 17
_MOST = 2**31 - 2**20  # bytes of a protocol buffer, less something for all but the numbers


def dot_product(model: FactorModel) -> bytes:
    """From ``users`` (n,) int64, rows of users, and ``k`` (1,) int64."""
    helper, arrays, types = _onnx()
    users, items = model.user_factors_, np.ascontiguousarray(model.item_factors_.T)
    _check_size(users.nbytes + items.nbytes, "the vectors")
    nodes = [
        helper.make_node("Gather", ["user_factors", "users"], ["vectors"], axis=0),
        helper.make_node("MatMul", ["vectors", "item_factors"], ["all_scores"]),
        helper.make_node("TopK", ["all_scores", "k"], ["scores", "items"], axis=1, largest=1, sorted=1),
    ]
    constants = [arrays.from_array(users, "user_factors"), arrays.from_array(items, "item_factors")]
    asked = helper.make_tensor_value_info("users", types.INT64, ["n"])
    return _graph(nodes, asked, constants, type(model).__name__)


def fold_in(model: ItemWeightModel) -> bytes:
    """From ``history`` (n, n_items) float32, weights as in training, 0 where an item is not there, and ``k``.

    Items of the history never come back.
    """
    helper, arrays, types = _onnx()
    weights = getattr(model, "item_weights_", None)
    if weights is None:  # EASE in its dual form
        raise ParameterError(
            f"this {type(model).__name__} has no item-to-item weights, as it was fitted by users; "
            "fit it with form='primal'"
        )
    n_items = weights.shape[0]
    _check_size(4 * n_items**2, f"the weights of {n_items:,} items")
    dense: Float = as_dense(weights) if isinstance(weights, CSR) else weights
    binary = getattr(model, "weights", None) == "binary"
    nodes = [
        helper.make_node("Greater", ["history", "zero"], ["seen"]),
        *([helper.make_node("Cast", ["seen"], ["weighed"], to=types.FLOAT)] if binary else []),
        helper.make_node("MatMul", ["weighed" if binary else "history", "item_weights"], ["all_scores"]),
        helper.make_node("Where", ["seen", "lowest", "all_scores"], ["unseen_scores"]),
        helper.make_node("TopK", ["unseen_scores", "k"], ["scores", "items"], axis=1, largest=1, sorted=1),
    ]
    constants = [
        arrays.from_array(np.ascontiguousarray(dense, np.float32), "item_weights"),
        arrays.from_array(np.float32(0), "zero"),
        arrays.from_array(np.float32(-np.inf), "lowest"),
    ]
    asked = helper.make_tensor_value_info("history", types.FLOAT, ["n", n_items])
    return _graph(nodes, asked, constants, type(model).__name__)


def as_dense(matrix: CSR) -> Float:
    """The matrix with its zeros, float32."""
    dense = np.zeros(matrix.shape, np.float32)
    dense[matrix.row_index(), matrix.indices] = matrix.values
    return dense


def _graph(nodes: list[Any], asked: Any, constants: list[Any], name: str) -> bytes:  # noqa: ANN401
    helper, _, types = _onnx()
    k = helper.make_tensor_value_info("k", types.INT64, [1])
    given = [
        helper.make_tensor_value_info("items", types.INT64, ["n", "k_items"]),
        helper.make_tensor_value_info("scores", types.FLOAT, ["n", "k_items"]),
    ]
    graph = helper.make_graph(nodes, name, [asked, k], given, constants)
    model = helper.make_model(
        graph,
        producer_name="cofactor",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=8,  # which runtimes of 2022 and later read
    )
    data: bytes = model.SerializeToString()
    return data


def _check_size(n_bytes: int, what: str) -> None:
    if n_bytes > _MOST:
        raise ParameterError(
            f"to='onnx': {what} take {n_bytes / 2**30:.1f} GiB, and a file of ONNX holds 2; export to 'parquet' instead"
        )


def _onnx() -> tuple[Any, Any, Any]:
    try:
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as error:
        raise MissingExtraError(
            "this export needs onnx, which is not installed; run: pip install 'cofactor[export]'"
        ) from error
    return helper, numpy_helper, TensorProto
