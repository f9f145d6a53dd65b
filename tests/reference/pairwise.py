"""A slow, float64 twin of ``native/sgd/pairwise*``, written from the losses in ``kernels/cpu/pairwise.py``."""

from __future__ import annotations

import numpy as np

from reference.sampling import Random, permutation, sample_negatives


def epoch_seed(seed, epoch):
    """The seed of an epoch's order and, with the number of an entry as the stream, of its negatives."""
    return Random(seed, epoch).next()


def chosen(loss, scores, margin):
    """Numbers of the negatives, from 1, that the loss is made of; ``scores`` of the positive, then of negatives."""
    if loss == "adaptive_hinge":
        return [1 + int(np.argmax(scores[1:]))]
    if loss == "warp":
        return [k for k in range(1, len(scores)) if margin - scores[0] + scores[k] > 0][:1]
    return list(range(1, len(scores)))


def factor(loss, k, n_items):
    """What a pair whose negative is number k counts: WARP's weight of the rank."""
    return sum(1 / r for r in range(1, max(1, (n_items - 1) // k) + 1)) if loss == "warp" else 1.0


def loss_of(loss, scores, counts, margin, n_items):
    """Loss of a positive, from its scores; ``counts`` of the negatives, from 1, 0 at the positive's place."""
    one = np.log1p(np.exp(-scores[0])) if loss == "logistic" else 0.0
    total = one
    for k in chosen(loss, scores, margin):
        ahead = scores[0] - scores[k]
        if loss == "bpr":
            pair = np.log1p(np.exp(-ahead))
        elif loss == "logistic":
            pair = np.log1p(np.exp(scores[k]))
        else:
            pair = max(0.0, margin - ahead)
        total += counts[k] * factor(loss, k, n_items) * pair
    return total


def derivatives(loss, scores, counts, margin, n_items):
    """Of the same, by the scores."""
    out = np.zeros(len(scores))
    if loss == "logistic":
        out[0] = -1 / (1 + np.exp(scores[0]))
    for k in chosen(loss, scores, margin):
        ahead = scores[0] - scores[k]
        share = counts[k] * factor(loss, k, n_items)
        if loss == "logistic":
            out[k] += share / (1 + np.exp(-scores[k]))
            continue
        slope = 1 / (1 + np.exp(ahead)) if loss == "bpr" else float(margin - ahead > 0)
        out[k] += share * slope
        out[0] -= share * slope
    return out


def violations(loss, scores, margin):
    room = 0.0 if loss in ("bpr", "logistic") else margin
    return sum(scores[k] > scores[0] - room for k in chosen(loss, scores, margin))


def counts_of(items, groups, discounts):
    """How much each item counts beside the first."""
    if groups is None:
        return np.ones(len(items))
    same = groups[items] == groups[items[0]]
    return np.maximum(0, 1 - same @ discounts.astype(np.float64))


class Steps:
    """An optimizer in float64: every row has a number of steps of its own."""

    def __init__(self, values, optimizer, rate, epsilon=1e-8, betas=(0.9, 0.999)):
        self.values = values.astype(np.float64)
        self.optimizer, self.rate, self.epsilon, self.betas = optimizer, rate, epsilon, betas
        self.first, self.second = np.zeros_like(self.values), np.zeros_like(self.values)
        self.n = np.zeros(len(values), int)

    def step(self, rows, gradient, slower=1.0):
        rate = slower * self.rate
        for row in rows:
            g = gradient[row]
            self.n[row] += 1
            if self.optimizer == "sgd":
                self.values[row] -= rate * g
            elif self.optimizer == "adagrad":
                self.second[row] += g**2
                self.values[row] -= rate * g / (np.sqrt(self.second[row]) + self.epsilon)
            else:
                b1, b2 = self.betas
                self.first[row] = b1 * self.first[row] + (1 - b1) * g
                self.second[row] = b2 * self.second[row] + (1 - b2) * g**2
                first, second = self.first[row] / (1 - b1 ** self.n[row]), self.second[row] / (1 - b2 ** self.n[row])
                self.values[row] -= rate * first / (np.sqrt(second) + self.epsilon)


def parts_of(n, n_rows, offset, parts):
    """Weights of all rows of the table for each of n vectors, dense."""
    return np.eye(n, n_rows, offset) if parts is None else parts.astype(np.float64)


def epoch(
    x, vectors, biases=None, user_parts=None, item_parts=None, *, loss, sampler, negatives=1, max_trials=30,
    alias=None, dislikes=None, dislike_share=0.0, groups=None, group_discounts=None, margin=1.0, regularization=0.0,
    bias_regularization=0.0, seed=0, epoch=0, batch_size=1024, update_users=True, update_items=True,
    rate=1.0, last_rate=None,
):  # fmt: skip
    """One deterministic epoch: ``x``, parts and dislikes are dense, 0 for no entry; tables are :class:`Steps`.

    Returns what the kernel does.
    """
    (n_users, n_items), n_rows = x.shape, len(vectors.values)
    makers = [
        parts_of(n_users, n_rows, 0, user_parts),
        parts_of(n_items, n_rows, n_users, item_parts),
    ]
    users, positives = np.nonzero(x)
    key = epoch_seed(seed, epoch)
    n = max_trials if loss == "warp" else negatives
    drawn = sample_negatives(
        users, n, x.shape, seen=x != 0 if sampler == "exact" else None, alias=alias, dislikes=dislikes,
        dislike_share=dislike_share, seed=key,
    )  # fmt: skip
    order = permutation(len(users), key)
    total, skipped, wrong = 0.0, 0, 0
    for begin in range(0, len(order), batch_size):
        by_vector, by_bias = np.zeros_like(vectors.values), np.zeros(n_rows)
        moved, biased = np.zeros(n_rows, bool), np.zeros(n_rows, bool)
        bias = np.zeros(n_rows) if biases is None else biases.values[:, 0]
        for entry in order[begin : begin + batch_size]:
            if drawn[entry, 0] < 0:
                skipped += 1
                continue
            user, items = users[entry], np.array([positives[entry], *drawn[entry]])
            of_user, of_items = makers[0][user], makers[1][items]
            u, v = of_user @ vectors.values, of_items @ vectors.values
            b_u, b = of_user @ bias * (loss == "logistic"), of_items @ bias
            scores = (v * u).sum(axis=1) + b + b_u  # the same for the same item, to the last bit
            counts, weight = counts_of(items, groups, group_discounts), float(x[user, items[0]])
            total += weight * loss_of(loss, scores, counts, margin, n_items)
            wrong += violations(loss, scores, margin)
            by = weight * derivatives(loss, scores, counts, margin, n_items)
            if not by.any():
                continue
            times = len(by) if loss == "logistic" else 1  # a pointwise loss makes a sample of every item
            by_vector += np.outer(of_user, by @ v + regularization * times * u)
            moved |= of_user != 0
            if loss == "logistic":
                by_bias += of_user * (by.sum() + bias_regularization * times * b_u)
                biased |= of_user != 0
            for k in np.flatnonzero(by):
                by_vector += np.outer(of_items[k], by[k] * u + regularization * v[k])
                by_bias += of_items[k] * (by[k] + bias_regularization * b[k])
                moved |= of_items[k] != 0
                biased |= of_items[k] != 0
        free = np.where(np.arange(n_rows) < n_users, update_users, update_items)
        middle = (begin + min(begin + batch_size, len(order))) / 2 / len(order)
        slower = rate if last_rate is None else rate + (last_rate - rate) * middle
        vectors.step(np.flatnonzero(moved & free), by_vector, slower)
        if biases is not None:
            biases.step(np.flatnonzero(biased & free), by_bias[:, None], slower)
    return total / max(len(users) - skipped, 1), skipped, int(wrong)
