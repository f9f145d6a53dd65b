"""How well could repeat purchases be ranked? ``Repurchase`` beside models that learn from the test weeks themselves.

    pip install '.[bench,demo]' scikit-learn
    python benchmarks/repeats.py

The grocery log of ``examples/baselines_study.py``, its last four weeks and the four before. All models rank the
products of a household's own history by the same features of (household, product) pairs as they stand before the test
weeks:

- ``Repurchase`` has learned from the four weeks before the test weeks, as it would in use;
- the same logistic regression, fitted on the test weeks that it is judged on;
- boosted trees, which learn from the test weeks of four fifths of the households and are judged on the others;
- the same with the scores of ``OTHERS`` among the features.

All but the first cannot be had before the weeks are over. What they leave is not in the features.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from _measure import print_header, print_row

import cofactor as cf
from cofactor.data.baskets import Baskets
from cofactor.kernels.csr import CSR
from cofactor.models.repeats import repurchase

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from baselines_study import MODELS, rooted, split

OTHERS = ("NextBasket", "NextBasket as in the paper", "EASE", "iALS")
FOLDS = 5
BLOCK = 1 << 16


def main() -> None:
    print_header(["weeks", "learned from", "recall@10", "ndcg@10"], n_texts=2)
    for validate, weeks in ((True, "those before the last four"), (False, "the last four")):
        train, test = split(validate, None)
        x, pairs = train.interactions(), test.pairs()
        model = cf.Repurchase().fit(x)
        met, features = _features(model, x)
        bought = _bought(x, pairs).lookup(met.users, met.items) > 0
        probabilities = {
            "the weeks before": model.scores_.values,
            "the test weeks, in sample": _logistic(model, features, bought),
            "other households' test weeks, trees": _boosted(features, bought, met.users),
            "the same with others' scores": _boosted(np.hstack([features, _scores(train, x, met)]), bought, met.users),
        }
        for name, values in probabilities.items():
            own = model.scores_
            model.scores_ = CSR(own.indptr, own.indices, values.astype(np.float32), own.n_columns)
            found = cf.evaluate(model, pairs, ("recall@10", "ndcg@10"), exclude_seen=False, n_bootstrap=0)
            print_row(weeks, name, *(f"{value:.4f}" for value in found["value"]))


def _features(model: cf.Repurchase, x: cf.Interactions) -> tuple[repurchase._Met, np.ndarray]:
    """The pairs of the log, and what is known of each at its end."""
    baskets = Baskets.of(x)
    met = repurchase._Met.of(baskets)
    return met, model._features(baskets, met, x.n_users, model.item_features_)


def _scores(train: cf.Events, x: cf.Interactions, met: repurchase._Met) -> np.ndarray:
    """What other models say of the pairs."""
    weights = {"counts": x, "recent": rooted(train.interactions(cf.weights.half_life("90d")))}
    columns = []
    for kind, make in (MODELS[name] for name in OTHERS):
        model, blocks = make().fit(weights[kind]), range(0, len(met.users), BLOCK)
        columns.append([model._scores(met.users[at : at + BLOCK], met.items[at : at + BLOCK]) for at in blocks])
    return np.column_stack([np.concatenate(pieces) for pieces in columns])


def _bought(x: cf.Interactions, pairs: object) -> CSR:
    users, items = x.users.rows(pairs["user_id"]), x.items.rows(pairs["item_id"])
    known = (users >= 0) & (items >= 0)
    return CSR.from_pairs(users[known], items[known], np.ones(known.sum(), np.float32), (x.n_users, x.n_items))


def _logistic(model: cf.Repurchase, features: np.ndarray, bought: np.ndarray) -> np.ndarray:
    z = (features - model.centres_) / model.scales_
    coefficients = repurchase._logistic(z, bought, model.regularization)
    return repurchase._probabilities(z, coefficients)


def _boosted(features: np.ndarray, bought: np.ndarray, users: np.ndarray) -> np.ndarray:
    from sklearn.ensemble import HistGradientBoostingClassifier

    fold = np.random.default_rng(0).integers(0, FOLDS, users.max() + 1)[users]
    out = np.empty(len(bought))
    for number in range(FOLDS):
        trees = HistGradientBoostingClassifier(
            max_iter=300, learning_rate=0.06, min_samples_leaf=200, l2_regularization=10.0, early_stopping=False,
            random_state=0,
        )  # fmt: skip
        trees.fit(features[fold != number], bought[fold != number])
        out[fold == number] = trees.predict_proba(features[fold == number])[:, 1]
    return out


if __name__ == "__main__":
    main()
