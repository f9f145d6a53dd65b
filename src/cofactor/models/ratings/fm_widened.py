"""Users and items whom a factorization machine was not fitted with, and of whom tables of features tell.

What is known of one is its features; what its id adds besides has the prior of the ids of its side. So its row in a
sample is the features' sum beside the mean of that prior, and the prior's variance is part of the spread.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

import numpy as np

from cofactor.checks import check_flag, warn
from cofactor.data.ids import IdMap
from cofactor.errors import ParameterError
from cofactor.models.ratings.fm_predictions import MachinePredictions
from cofactor.models.ratings.fm_sides import rows_of_features
from cofactor.system.memory import require_memory

if TYPE_CHECKING:
    from typing import Self

    import polars as pl

    from cofactor.data.features import Features, Of
    from cofactor.data.log import Log
    from cofactor.data.ratings import Ratings
    from cofactor.data.tables import TableLike
    from cofactor.kernels.arrays import Float, Rows, TopK
    from cofactor.kernels.csr import CSR
    from cofactor.kernels.filters import Filters
    from cofactor.models.base.rating import UnknownRated
    from cofactor.models.base.recommender import Ids, Unknown

__all__ = ["WidenedMachine"]


class WidenedMachine(MachinePredictions):
    """A machine that takes tables of users and items after its fit, too."""

    user_features_: Features | None
    item_features_: Features | None

    def widened(self, *, user_features: TableLike | None = None, item_features: TableLike | None = None) -> Self:
        """The same model among the ids of tables of features as well: what is new is known by its features.

        Of ids that the model knows nothing changes. New ids of whose features the model knows none, and values that
        were not there when it was fitted, are told in a ``CofactorWarning``; the ids stay unknown then.

        Parameters
        ----------
        user_features, item_features : table, optional
            With the columns that ``fit`` was given, a row for each id.

        Returns
        -------
        FactorizationMachine
            Another one, to predict, rank, measure and save with; this one stays as it is.

        Raises
        ------
        DataError
            A table cannot be used: ids that are missing, null or repeated, a column that is missing or of another kind,
            numbers that are null or not finite.
        ParameterError
            The model was fitted without features of that side, or the new rows would not fit into memory.
        """
        self._fitted_for_tables()
        new = copy(self)
        new._keeps = None if self._keeps is None else {}
        if user_features is not None:
            new._describe("user", user_features)
        if item_features is not None:
            new._describe("item", item_features)
        return new

    def predict(
        self,
        pairs: TableLike,
        *,
        unknown: UnknownRated = "estimate",
        clip: bool = False,
        user_features: TableLike | None = None,
        item_features: TableLike | None = None,
    ) -> pl.DataFrame:
        """Rate given (user_id, item_id) rows, in their order.

        As every :meth:`RatingModel.predict`, and with ``user_features`` and ``item_features`` as :meth:`widened` does:
        new users and items in these tables are rated by their features.
        """
        model = self._with(user_features, item_features)
        return MachinePredictions.predict(model, pairs, unknown=unknown, clip=clip)

    def recommend(
        self,
        users: Ids | None = None,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        items: Ids | None = None,
        exclude: TableLike | None = None,
        unknown: Unknown = "error",
        user_features: TableLike | None = None,
        item_features: TableLike | None = None,
    ) -> pl.DataFrame:
        """Rank items for users.

        As every :meth:`Recommender.recommend`, and with ``user_features`` and ``item_features`` as :meth:`widened`
        does: new items in these tables are in the lists, new users have some.
        """
        model = self._with(user_features, item_features)
        return MachinePredictions.recommend(
            model, users, k, exclude_seen=exclude_seen, items=items, exclude=exclude, unknown=unknown
        )

    def recommend_for(
        self,
        histories: TableLike | Log,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        items: Ids | None = None,
        unknown: Unknown = "error",
        user_features: TableLike | None = None,
        item_features: TableLike | None = None,
    ) -> pl.DataFrame:
        """Rank items for users that ``fit`` never saw, from their ratings.

        As every :meth:`Recommender.recommend_for`, and of users in ``user_features`` by their features, too; new items
        in ``item_features`` may be in histories and lists.
        """
        model = self._with(None, item_features)
        if user_features is None:
            return MachinePredictions.recommend_for(
                model, histories, k, exclude_seen=exclude_seen, items=items, unknown=unknown
            )

        def lists(users: pl.Series, csr: CSR, filters: Filters) -> TopK:
            check_flag("exclude_seen", exclude_seen)
            model._check_histories(csr)
            told = model._features_to_tell("user").encode(user_features, IdMap(users))
            seen = filters.excluding(csr) if exclude_seen else filters
            rows_of = lambda rows: model._fold_in(csr.take(rows), told.take(rows))  # noqa: E731
            return model._as_fitted._lists(rows_of, len(users), int(k), seen)

        return model._recommend_by(lists, histories, k, items, unknown)

    def _with(self, user_features: TableLike | None, item_features: TableLike | None) -> Self:
        """The model itself, or among more ids where some are described."""
        if user_features is None and item_features is None:
            return self
        return self.widened(user_features=user_features, item_features=item_features)

    # Row numbers from here on.

    def _features_to_tell(self, side: Of) -> Features:
        """What was learned of a side's tables."""
        features: Features | None = getattr(self, f"{side}_features_")
        name = f"{side}_features"
        if features is None:
            raise ParameterError(
                f"{name}: this FactorizationMachine was fitted without, so that it does not know what they say; give "
                f"some to fit first: fit(ratings, {name}=...)"
            )
        if getattr(self, f"{side}_feature_samples_") is None:
            raise ParameterError(
                f"{name}: this FactorizationMachine is from a file of before new ids could be described; fit it anew"
            )
        return features

    def _describe(self, side: Of, table: TableLike) -> None:
        """Take the new ids of a table in."""
        features, x = self._features_to_tell(side), self.interactions_
        known = x.users if side == "user" else x.items
        new = features.new_ids(table, known)
        encoded = features.encode(table, new)
        told = np.diff(encoded.indptr) > 0
        if not told.all():
            warn(
                f"{side}_features: of {(~told).sum():,} of {len(told):,} new {side}s no feature is known, so that they "
                "stay unknown"
            )
            new, encoded = IdMap(new.ids.filter(told)), encoded.take(np.flatnonzero(told))
        if not len(new):
            return
        samples: Float = getattr(self, f"{side}_samples_")
        require_memory(
            4 * (samples.size + 4 * len(new) * samples.shape[1]),
            f"{side}_features of {len(new):,} new {side}s",
            "fewer of them at a time",
        )
        wider = x.widened(users=new) if side == "user" else x.widened(items=new)
        ids = wider.users if side == "user" else wider.items
        self._make_place(side, ids.rows(known.ids), ids.rows(new.ids), encoded)
        self.interactions_: Ratings = wider

    def _make_place(self, side: Of, known: Rows, new: Rows, encoded: CSR) -> None:
        """Rows of a side, those that are known and those by features, where they are from now on."""
        n = len(known) + len(new)

        def placed(name: str, added: Float | float) -> None:
            old = getattr(self, name)
            both = np.empty((n, *old.shape[1:]), old.dtype)
            both[known], both[new] = old, added
            setattr(self, name, both)

        described: str = f"described_{side}s_"
        if getattr(self, described) is None:
            setattr(self, described, np.zeros(len(known), np.uint8))
        placed(described, 1)
        parts = getattr(self, f"{side}_feature_samples_")
        if side == "user":
            placed("user_samples_", rows_of_features(encoded, parts, self.prior_means_))
            placed("user_noises_", self._as_fitted._unknown_noise)
            return
        assert self.item_prior_means_ is not None
        placed("item_samples_", rows_of_features(encoded, parts, self.item_prior_means_))
        if len(self.rated_item_samples_):
            placed("rated_item_samples_", 0)  # what they say of users who rate them, nobody knows
