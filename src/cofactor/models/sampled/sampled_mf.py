r"""Matrix factorization trained on sampled negatives.

Minimises, over user vectors :math:`x_u`, item vectors :math:`y_i` and biases, a loss of the scores of the observed
pairs :math:`(u, i)` and of items :math:`j` drawn as negatives, with :math:`s_{ui} = x_u \cdot y_i + b_i` or, with
``score="cosine"``, the cosine of both vectors plus the bias; in addition :math:`\lambda / 2` times the squared norms of
the vectors that take part in a sample ("logistic" makes one of every item). One or a few negatives for each pair:

.. math::
    \text{bpr}: -\log \sigma(s_{ui} - s_{uj}) \qquad \text{hinge}: [m - s_{ui} + s_{uj}]_+ \qquad
    \text{logistic}: -\log \sigma(b_u + s_{ui}) - \sum_j \log \sigma(-b_u - s_{uj})

"adaptive_hinge" takes the best scored of some negatives; "warp" draws until one violates the margin m, and weighs it by
the rank that the number of draws tells. Many negatives N that a whole batch shares, with a temperature t:

.. math::
    \text{softmax}: -\log \frac{e^{s_{ui}/t}}{e^{s_{ui}/t} + \sum_{j \in N} e^{s_{uj}/t} / q_j} \qquad
    \text{ccl}: [1 - s_{ui}]_+ + \frac{w}{|N|} \sum_{j \in N} [s_{uj} - m]_+

"softmax@k" weighs a pair by how near it is to the first k places; "bsl" has a temperature of its own for the pair,
which is not in the sum. ``kernels.shared_negatives_epoch`` and ``kernels.pairwise_epoch`` say the rest.

Sources: Rendle et al. 2009 (bpr); Weston, Bengio & Usunier 2011 (warp); Kula 2017, "Spotlight" (adaptive_hinge); Yi et
al. 2019 (log q); Mao et al. 2021, "SimpleX" (ccl); Wu et al. 2024 (bsl); Yang et al. 2025 (softmax@k).
Departures: weights of interactions, divided by their mean, multiply the loss of a pair.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from cofactor.checks import check_at_least, check_type
from cofactor.data.interactions import Interactions
from cofactor.errors import ParameterError
from cofactor.models.base.epochs import Plan
from cofactor.models.base.fitting import as_interactions, in_one_step
from cofactor.models.base.held_out import entries, some_entries, wanted_pairs
from cofactor.models.sampled.described import categories, disliked, further_dislikes
from cofactor.models.sampled.learned import SampledFactors
from cofactor.models.sampled.losses import check_parameters, settled
from cofactor.models.sampled.temperature import chosen_temperature, positive_temperature
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.data.tables import TableLike
    from cofactor.kernels.arrays import Float
    from cofactor.kernels.csr import CSR

__all__ = ["SampledMF"]

LossName = Literal["bpr", "hinge", "adaptive_hinge", "warp", "logistic", "softmax", "softmax@k", "bsl", "ccl"]
OptimizerName = Literal["sgd", "adagrad", "adam"]
_EPOCHS = 100  # at most, where held-out pairs say when to end
_LEAST_PAIRS = 200_000  # that are trained on, again and again, before they may: a small log takes many epochs to begin
_HELD_OUT, _SCORED_USERS = 0.1, 5000
_NEARLY_ALL = 0.98  # of the pairs: training again with the rest would hardly change anything


class SampledMF(SampledFactors):
    """Matrix factorization by gradient descent on observed pairs and sampled negatives, with a loss for ranking.

    Parameters
    ----------
    factors : int
        Length of the vectors.
    loss : str
        "softmax", "softmax@k", "bsl" and "ccl" set every pair against many negatives, which a batch shares: the better
        lists, and a result that never depends on the number of threads. "bpr", "hinge", "adaptive_hinge", "warp" and
        "logistic" take few negatives for each pair: the shorter epochs.
    score : {"dot", "cosine"}, optional
        By default the cosine where negatives are shared, else the inner product.
    negatives : int, optional
        For each batch (by default 1,024), or for each pair (1; 4 for "logistic", 5 for "adaptive_hinge").
    sampler : {"exact", "uniform", "popularity", "in_batch"}, optional
        "exact", the default, never takes an item that the user has. "uniform" does not look; "popularity" draws in
        proportion to the number of users to the power of ``popularity_power``; "in_batch", for shared negatives, takes
        the items of the other pairs. Where these draw popular items more often, "softmax" and its kin correct for it.
    popularity_power : float
    temperature : float, optional
        Of "softmax", "softmax@k" and "bsl": the smaller, the more the best scored negatives count. By default the one
        of some that finds most of a part of the pairs, held out.
    positive_temperature : float, optional
        Of "bsl", for the observed pair: the larger, the less it pulls; by default 1.1 times ``temperature``.
    margin : float
        Of "hinge", "adaptive_hinge", "warp" (1 is usual) and "ccl" (above 0 and below 1).
    negative_weight : float
        Of "ccl".
    max_trials : int
        Of "warp": draws for a pair before it is left alone.
    k : int
        Of "softmax@k".
    category : str, optional
        A column of ``item_features``: negatives of the pair's own category count less by ``category_discount`` (0 to
        1), since somebody who likes an item is no clear witness against another one of its kind.
    category_discount : float
    dislike_share : float
        How many of the negatives of few-negative losses are ``dislikes`` of :meth:`fit`, for users who have any.
    biases : bool, optional
        One for every item (and, for "logistic", for every user); by default with inner products only.
    regularization, bias_regularization : float, optional
        Of the squared norms of the vectors, and the biases, of each sample. By default 0.01 for few negatives, else 0.
    optimizer, bias_optimizer : {"adam", "adagrad", "sgd"}
        Each row of parameters has its own state, and Adam its own number of steps. A slow optimizer of biases keeps
        popular items down. By default biases have the one of the vectors.
    learning_rate, bias_learning_rate : float, optional
    weights : {"given", "binary"}
        Take the weights of interactions as they are, or 1 for all.
    batch_size : int
        Pairs; for few negatives only with ``deterministic``.
    epochs : int, optional
        Passes over the pairs. By default as many as are best for a tenth of the pairs of at most 5,000 users, held out
        (NDCG@10); where these are more than 2 % of all, training then begins again with all.
    patience : int
        Epochs without a better list after which training stops, where pairs are held out; the best epoch is kept. A
        small log (below 200,000 pairs in all epochs) is not stopped in the first half of them.
    lr_schedule : {"constant", "plateau", "cosine"}
        "plateau" halves the learning rate after two epochs without a better list, "cosine" lets it fall to zero; that
        of few negatives falls inside of epochs too.
    init_std : float
        Vectors start normal with standard deviation ``init_std / sqrt(factors)``.
    deterministic : bool
        For few negatives: False updates without locks, several times faster; then equal runs differ a little with more
        than one thread.
    seed : int
    threads : int, optional
        Default: what affinity and container limits grant.
    device : {"cpu", "torch", "cuda"}

    Attributes
    ----------
    user_factors_ : (n_users, factors) float32
    item_factors_ : (n_items, factors) float32
        With cosines their rows have length 1. With biases there are two more columns: 1 and the user's bias, the item's
        bias and 1.
    loss_history_, score_history_ : (epochs,) float64
        Mean training loss of each epoch, and NDCG@10 of the held-out pairs after it, if there were any.
    epoch_ : int
        Which of them is kept, from 1.

    Notes
    -----
    Ctrl-C ends training with the best state so far, which a warning tells; before the first epoch ended, the search of
    the temperature included, nothing is changed. Vectors of new users are trained from their histories, a dozen steps
    with the items held.

    Examples
    --------
    >>> import cofactor as cf
    >>> x = cf.datasets.synthetic(n_users=200, n_items=50, n_interactions=2000, factors=4, seed=0)
    >>> model = cf.SampledMF(factors=8, epochs=5, temperature=0.2, seed=0).fit(x)
    >>> model.recommend(users=[0], k=3).columns
    ['user_id', 'item_id', 'score', 'rank']
    """

    user_factors_: Float
    item_factors_: Float
    loss_history_: NDArray[np.float64]
    score_history_: NDArray[np.float64]
    epoch_: int
    dislikes_: CSR

    def __init__(
        self,
        factors: int = 64,
        *,
        loss: LossName = "softmax",
        score: Literal["dot", "cosine"] | None = None,
        negatives: int | None = None,
        sampler: Literal["exact", "uniform", "popularity", "in_batch"] | None = None,
        popularity_power: float = 0.75,
        temperature: float | None = None,
        positive_temperature: float | None = None,
        margin: float | None = None,
        negative_weight: float = 10.0,
        max_trials: int = 50,
        k: int = 20,
        category: str | None = None,
        category_discount: float = 0.5,
        dislike_share: float = 0.5,
        biases: bool | None = None,
        regularization: float | None = None,
        bias_regularization: float = 0.0,
        optimizer: OptimizerName = "adam",
        learning_rate: float | None = None,
        bias_optimizer: OptimizerName | None = None,
        bias_learning_rate: float | None = None,
        weights: Literal["given", "binary"] = "given",
        batch_size: int = 512,
        epochs: int | None = None,
        patience: int = 5,
        lr_schedule: Literal["constant", "plateau", "cosine"] = "plateau",
        init_std: float = 0.1,
        deterministic: bool = True,
        seed: int = 0,
        threads: int | None = None,
        device: str = "cpu",
    ) -> None:
        self.factors = factors
        self.loss = loss
        self.score = score
        self.negatives = negatives
        self.sampler = sampler
        self.popularity_power = popularity_power
        self.temperature = temperature
        self.positive_temperature = positive_temperature
        self.margin = margin
        self.negative_weight = negative_weight
        self.max_trials = max_trials
        self.k = k
        self.category = category
        self.category_discount = category_discount
        self.dislike_share = dislike_share
        self.biases = biases
        self.regularization = regularization
        self.bias_regularization = bias_regularization
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.bias_optimizer = bias_optimizer
        self.bias_learning_rate = bias_learning_rate
        self.weights = weights
        self.batch_size = batch_size
        self.epochs = epochs
        self.patience = patience
        self.lr_schedule = lr_schedule
        self.init_std = init_std
        self.deterministic = deterministic
        self.seed = seed
        self.threads = threads
        self.device = device

    @in_one_step
    def fit(
        self,
        interactions: Interactions,
        *,
        item_features: TableLike | None = None,
        user_features: TableLike | None = None,
        dislikes: TableLike | Interactions | None = None,
        held_out: TableLike | Interactions | None = None,
        warm_start: SampledMF | None = None,
        progress: bool | None = None,
    ) -> Self:
        """Train.

        Parameters
        ----------
        interactions : Interactions
        item_features, user_features : table, optional
            A row for each id with what is known of it besides, see :class:`cofactor.Features`. A vector is then the sum
            of one's own and those of the features. Ids that have features and no interactions become part of the model,
            so that what is new can be recommended.
        dislikes : Interactions or table, optional
            Pairs of users with items that they are known not to like, for losses with few negatives: a part of a user's
            negatives is drawn from them.
        held_out : Interactions or table, optional
            Pairs (``user_id``, ``item_id``) to stop by, instead of a part of ``interactions``.
        warm_start : SampledMF, optional
            A fitted model whose vectors, where ids are the same, are started from.
        progress : bool, optional
            Show a bar with the loss; by default in a terminal and in a notebook.

        Raises
        ------
        ParameterError
            A parameter is out of its range, or the parameters would not fit into memory.
        CofactorError
            Already the first epoch diverged.
        """
        self._check()
        check_type("warm_start", warm_start, SampledMF | None, "a fitted SampledMF, or None")
        if warm_start is not None and warm_start._fitted() and warm_start.factors != self.factors:
            raise ParameterError(
                f"warm_start has factors={warm_start.factors}, this model factors={self.factors}; give both the same, "
                "or leave warm_start out"
            )
        x = self._describe(interactions, {"item": item_features, "user": user_features}, warm_start)
        matrix, rows = self._rows_of(x)
        most = self.epochs or _EPOCHS
        least = min(most // 2, _LEAST_PAIRS // max(1, matrix.nnz))
        plan = Plan(most, self.patience, least, self.lr_schedule == "plateau", self.lr_schedule == "cosine")
        kept, out = self._parted(x, matrix, held_out)
        use = self._settled(matrix, warm_start)
        if self.category is not None:
            use["groups"] = categories(self.item_features_, self.item_described_, self.category)
        if dislikes is not None:
            self.dislikes_ = use["dislikes"] = disliked(x, dislikes, self.loss)
        training = self._training(kept, rows, use, warm_start, x)
        course = training.run(plan, out, progress=progress)
        training.tell_if_idle(course)
        epochs, self.epoch_ = course.epochs, course.kept
        self.loss_history_, self.score_history_ = epochs["loss"].to_numpy(), epochs["score"].drop_nulls().to_numpy()
        self._take(training, rows)
        self.interactions_ = x.without_log
        if kept.nnz >= _NEARLY_ALL * matrix.nnz or course.interrupted:
            return self
        del training
        again = self._training(matrix, rows, use, warm_start, x)  # with all pairs, for as long as was best
        if again.repeat(course, progress=progress):
            self._take(again, rows)
        return self

    def partial_fit(
        self,
        interactions: Interactions | None = None,
        *,
        epochs: int = 5,
        item_features: TableLike | None = None,
        user_features: TableLike | None = None,
        dislikes: TableLike | Interactions | None = None,
        progress: bool | None = None,
    ) -> Self:
        """Go on with new interactions, users and items, from the vectors that are there.

        Pairs that are known get the sum of both weights, and all pairs are trained on. Without interactions nothing is
        trained: users and items that only the tables have get the vectors that their features add up to.

        Parameters
        ----------
        interactions : Interactions, optional
            Or all else that ``fit`` takes.
        epochs : int
        item_features, user_features : table, optional
            Of what is new, where the model was fitted with features; of the others they are remembered.
        dislikes : Interactions or table, optional
            Besides those that the model was fitted with, which stay unless the pairs are among the interactions now.
        progress : bool, optional
        """
        check_at_least("epochs", epochs, 1, whole=True)
        further, old = copy(self), self._fitted()
        if interactions is None:
            x = Interactions(old.users, old.items, old.user_items)
            further._add_described(x, {"item": item_features, "user": user_features}, dislikes)
        else:
            both = pl.concat([old.to_frame(), as_interactions(interactions).to_frame()], how="vertical_relaxed")
            x = Interactions.from_frame(both, weight="weight").widened(old.users, old.items)
            further.epochs = epochs
            tables = {"item_features": item_features, "user_features": user_features}
            all_dislikes = further_dislikes(old, getattr(self, "dislikes_", None), dislikes)
            further.fit(x, warm_start=self, dislikes=all_dislikes, progress=progress, **tables)
        self.__dict__ = further.__dict__ | {"epochs": self.epochs}
        return self

    # Row numbers from here on.

    def _parted(
        self, x: Interactions, matrix: CSR, held_out: TableLike | Interactions | None
    ) -> tuple[CSR, CSR | None]:
        """What is trained on, and what training is stopped by."""
        if held_out is not None:
            return matrix, wanted_pairs(x, held_out)
        if self.epochs is not None:
            return matrix, None
        out = some_entries(matrix, _HELD_OUT, _SCORED_USERS, np.random.default_rng(self.seed))
        return entries(matrix, ~out), entries(matrix, out)

    def _settled(self, matrix: CSR, warm_start: SampledMF | None) -> dict[str, Any]:
        use = settled(self.params())
        if "temperature" not in use and warm_start is not None and warm_start.loss == self.loss:
            use["temperature"] = warm_start.temperature_  # its vectors are at home there
        if "temperature" not in use:
            cosine = use["shared"] and use["score"] == "cosine" and self.loss != "ccl"
            use["temperature"] = chosen_temperature(self._kernels(), matrix, use) if cosine else 1.0
        use["positive_temperature"] = positive_temperature(use, use["temperature"])
        self.temperature_ = float(use["temperature"])
        return use

    def _check(self) -> None:
        check_parameters(self.params())
        resolve_threads(self.threads)
        self._kernels()
