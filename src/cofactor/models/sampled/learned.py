"""What a factorization trained on sampled negatives has learned: vectors, biases, and what they were made of."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.errors import DataError, ParameterError
from cofactor.models.base.factor import FactorModel
from cofactor.models.sampled.described import Known, describe, disliked, further_dislikes
from cofactor.models.sampled.losses import settled
from cofactor.models.sampled.rows import Rows, unit
from cofactor.models.sampled.training import Training, fold_in, tables
from cofactor.system.memory import require_memory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from cofactor.data.features import Features, Of
    from cofactor.data.interactions import Interactions
    from cofactor.data.tables import TableLike
    from cofactor.kernels.arguments import Table
    from cofactor.kernels.arrays import Float
    from cofactor.kernels.arrays import Rows as RowNumbers
    from cofactor.kernels.csr import CSR

__all__ = ["SampledFactors"]

_LESS = "fewer factors, or optimizer='sgd'"


class SampledFactors(FactorModel):
    """Vectors of users and items, with what is needed to go on training them and to fold in new users.

    A subclass trains, and calls :meth:`_take` with the result.
    """

    loss: str
    optimizer: str
    factors: int
    user_norms_: Float
    item_norms_: Float
    user_features_: Features | None
    item_features_: Features | None
    user_described_: CSR | None
    item_described_: CSR | None
    feature_vectors_: Float
    feature_biases_: Float
    temperature_: float
    user_scale_: float

    def _use(self) -> dict[str, Any]:
        """The parameters with numbers in the place of those that were not given."""
        use = settled(self.params()) | {"temperature": self.temperature_}
        return {"positive_temperature": self.temperature_} | use

    def _evidence(self, users: RowNumbers) -> NDArray[np.int64]:
        described = 0 if self.user_described_ is None else np.diff(self.user_described_.indptr)[users]
        return super()._evidence(users) + described

    def _compared(self, vectors: Float) -> Float:
        return np.ascontiguousarray(vectors[:, : self.factors])

    def _fold_in(self, histories: CSR) -> Float:
        n, use, y = self.factors, self._use(), self.item_factors_
        biases = y[:, n] if use["biases"] else None
        vectors = fold_in(self._kernels(), self._weighed(histories), (y[:, :n], biases), self.user_scale_, use)
        if use["score"] == "cosine":
            vectors = unit(vectors)
        if biases is None:
            return vectors
        ones = np.ones((len(vectors), 1), np.float32)
        return np.hstack([vectors, ones, np.zeros_like(ones)])

    def _describe(
        self, x: Interactions, tables: Mapping[Of, TableLike | None], before: SampledFactors | None
    ) -> Interactions:
        """Keep what features say of users and items; the interactions with all ids that they tell of."""
        for side, table in tables.items():
            x, features, described = describe(x, side, table, None if before is None else before._known(side))
            setattr(self, f"{side}_features_", features)
            setattr(self, f"{side}_described_", described)
        return x

    def _add_described(
        self, x: Interactions, told: Mapping[Of, TableLike | None], dislikes: TableLike | Interactions | None
    ) -> None:
        """Let tables add users and items to a fitted model: their vectors are what features add up to."""
        if dislikes is not None:
            raise ParameterError("dislikes are trained on: partial_fit needs interactions with them")
        if all(table is None for table in told.values()):
            raise ParameterError("partial_fit needs interactions, or item_features or user_features of what is new")
        for side, table in told.items():
            if table is not None and self._known(side).features is None:
                raise ParameterError(
                    f"{side}_features: the model was fitted without, and nothing is known of what they say; give them "
                    "to fit, or interactions too"
                )
        before = copy(self)
        pairs = further_dislikes(self._fitted(), getattr(self, "dislikes_", None), None)
        x = self._describe(x, told, before)
        matrix, rows = self._rows_of(x)
        self._take(self._training(matrix, rows, self._use(), before, x), rows)
        self.user_scale_, self.interactions_ = before.user_scale_, x.without_log
        if pairs is not None:
            self.dislikes_ = disliked(x, pairs, self.loss)

    def _rows_of(self, x: Interactions) -> tuple[CSR, Rows]:
        """What is trained on, and which rows the tables have for it; ParameterError unless they fit into memory."""
        matrix = self._weighed(x.user_items)
        rows = Rows(x.n_users, x.n_items, self.user_described_, self.item_described_)
        self._require_memory(rows, matrix)
        return matrix, rows

    def _training(
        self, matrix: CSR, rows: Rows, use: dict[str, Any], warm_start: SampledFactors | None, x: Interactions
    ) -> Training:
        start = tables(rows, use)
        if warm_start is not None:
            warm_start._write(start, x, rows)
        return Training(self._kernels(), matrix, rows, start, use)

    def _require_memory(self, rows: Rows, matrix: CSR) -> None:
        use = settled(self.params())
        copies = 1 + {"sgd": 0, "adagrad": 1, "adam": 2}[self.optimizer]
        row, drawn = 4 * (self.factors + 16), 19 * use["negatives"] * use["shared"]
        what = f"SampledMF(factors={self.factors}) on {rows.n_users:,} users and {rows.n_items:,} items"
        with_kept = copies + 3  # the start, the best epoch, and what is kept
        require_memory(row * (rows.n * with_kept + drawn) + 12 * matrix.nnz, what, _LESS)
        self._require_on_card(row * (rows.n * copies + drawn) + 8 * matrix.nnz, what, _LESS)

    def _take(self, training: Training, rows: Rows) -> None:
        """Keep what was trained, in a form that training can go on from.

        Of users and items without interactions nothing is left but what their features say.
        """
        training.forget_strangers()
        (users, items), _ = training.composed()
        self.user_factors_, self.item_factors_ = training.factors()
        self.user_norms_, self.item_norms_ = np.linalg.norm(users, axis=1), np.linalg.norm(items, axis=1)
        squares = float(np.square(self.user_factors_[:, : self.factors], dtype=np.float64).sum())
        self.user_scale_ = np.sqrt(squares / max(users.size, 1)) or 1.0
        vectors, biases = training.tables()
        features = slice(rows.n_users + rows.n_items, rows.n)
        self.feature_vectors_ = vectors.values[features, : self.factors].copy()
        self.feature_biases_ = (
            np.zeros(rows.n - features.start, np.float32) if biases is None else biases.values[features, 0].copy()
        )

    def _write(self, start: tuple[Table, Table | None], x: Interactions, rows: Rows) -> None:
        """Put what was learned into tables that training starts from, for the ids that are there too."""
        (vectors, biases), n, old = start, self.factors, self._fitted()
        n_of_users = 0 if self.user_described_ is None else self.user_described_.n_columns
        of_features = rows.n_users + rows.n_items
        for side, ids, of_ids, first, first_feature in (
            ("user", old.users, x.users, 0, of_features),
            ("item", old.items, x.items, rows.n_users, of_features + rows.n_user_features),
        ):
            factors, norms = getattr(self, f"{side}_factors_"), getattr(self, f"{side}_norms_")
            own = unit(factors[:, :n]) * norms[:, None]
            has_biases = biases is not None and factors.shape[1] > n
            own_biases = factors[:, n + (side == "user")] if has_biases else None
            described: CSR | None = getattr(self, f"{side}_described_")
            if described is not None:
                part = slice(0, n_of_users) if side == "user" else slice(n_of_users, None)
                features = slice(first_feature, first_feature + described.n_columns)
                vectors.values[features, :n] = self.feature_vectors_[part]
                own -= described.to_scipy() @ self.feature_vectors_[part]
                if biases is not None and own_biases is not None:
                    biases.values[features, 0] = self.feature_biases_[part]
                    own_biases = own_biases - described.to_scipy() @ self.feature_biases_[part]
            at = of_ids.rows(ids.ids)
            there = (at >= 0) & (norms > 0)  # a vector of zeros has no direction to start from
            vectors.values[first + at[there], :n] = own[there]
            if biases is not None and own_biases is not None:
                biases.values[first + at[there], 0] = own_biases[there]

    def _known(self, side: Of) -> Known:
        x = self._fitted()
        return Known(
            x.items if side == "item" else x.users,
            getattr(self, f"{side}_features_", None),
            getattr(self, f"{side}_described_", None),
        )

    def _learned(self) -> dict[str, str]:
        learned = {f"{side}_factors_": f"float32 {side}s f" for side in ("user", "item")}
        learned |= {f"{side}_norms_": f"float32 {side}s" for side in ("user", "item")}
        learned |= {f"{side}_features_": f"features {side}-features or nothing" for side in ("user", "item")}
        learned |= {f"{side}_described_": f"csr {side}s {side}-features or nothing" for side in ("user", "item")}
        learned |= {"dislikes_": "csr users items or nothing"}
        learned |= {"feature_vectors_": f"float32 features {self.factors}", "feature_biases_": "float32 features"}
        return learned | {"temperature_": "number", "user_scale_": "number", "epoch_": "number"}

    def _check_state(self) -> None:
        columns = self.factors + 2 * settled(self.params())["biases"]
        if self.item_factors_.shape[1] != columns:
            raise DataError(f"item_factors_ has {self.item_factors_.shape[1]} columns, not {columns}")
