"""Twins of the kernels of factorization machines: the order-2 machine over all features, in float64."""

import numpy as np
from scipy.special import expit, ndtr


def design(x):
    """A row of features for every rating: ids of users and items, then what is known of either; dense."""
    user_features, item_features = (side.features.to_scipy().toarray().astype(float) for side in x.sides)
    u, i = x.targets.row_index(), x.targets.indices
    one_u, one_i = np.eye(x.targets.n_rows), np.eye(x.targets.n_columns)
    return np.hstack([one_u[u], user_features[u], one_i[i], item_features[i]])


def predicted(design, weights, vectors, offset):
    """By the definition, over all pairs of features: Rendle 2010, equation 1."""
    products = np.triu(vectors @ vectors.T, 1)  # of each pair j < k once
    return offset + design @ weights + ((design @ products) * design).sum(axis=1)


def derivative(design, vectors, j, c):
    """Of what is predicted, by the weight of feature j (c = 0) or coordinate c of its vector (from 1)."""
    if c == 0:
        return design[:, j]
    return design[:, j] * (design @ vectors[:, c - 1] - design[:, j] * vectors[j, c - 1])


def conditional(design, targets, weights, vectors, offset, j, c, noise_precision, prior_mean, prior_precision):
    """Mean and precision of one coordinate given all others; the noise has one precision, or one for each rating."""
    h = derivative(design, vectors, j, c)
    e = targets - predicted(design, weights, vectors, offset)
    value = weights[j] if c == 0 else vectors[j, c - 1]
    precision = h @ (noise_precision * h) + prior_precision
    mean = h @ (noise_precision * (e + value * h)) + prior_precision * prior_mean
    return (mean / precision if precision > 0 else value), precision


def sweep(x, side, noise=None):
    """All coordinates of one side in the order of the kernel; ``noise(j, c)`` are standard normal numbers.

    Changes ``x.weights`` and ``x.vectors``, rows of which are columns of the design.
    """
    n, n_features = x.sides[side].features.shape
    first = 0 if side == 0 else sum(x.sides[0].features.shape)
    all_features, factors = design(x), x.vectors.shape[1]
    targets = x.targets.values.astype(float)
    order = [(j, c) for j in range(n) for c in range(factors + 1)]
    order += [(n + j, c) for c in range(factors + 1) for j in range(n_features)]
    for j, c in order:
        group = 0 if j < n else x.sides[side].groups[j - n]
        prior = x.means[side][group, c], x.precisions[side][group, c]
        mean, precision = conditional(
            all_features, targets, x.weights, x.vectors, x.offset, first + j, c, x.noise_precision, *prior
        )
        value = mean if noise is None or precision == 0 else mean + noise(j, c) / np.sqrt(precision)
        if c == 0:
            x.weights[first + j] = value
        else:
            x.vectors[first + j, c - 1] = value
    return targets - predicted(all_features, x.weights, x.vectors, x.offset)


def ratings(users, items, samples):
    """Mean and variance over samples, from loops."""
    k, means, variances = len(samples.offsets), [], []
    for u, i in zip(users, items, strict=True):
        user = (samples.unknown_user if u < 0 else samples.users[u]).reshape(k, -1).astype(float)
        item = (samples.unknown_item if i < 0 else samples.items[i]).reshape(k, -1).astype(float)
        first, second = [], []
        for s in range(k):
            z = samples.offsets[s] + user[s, 0] + item[s, 0] + user[s, 1:] @ item[s, 1:]
            if samples.levels is None:
                first.append(z)
                second.append(z * z)
                continue
            upto = np.concatenate([[0.0], ndtr(samples.cutpoints[s] - z), [1.0]])
            first.append(np.diff(upto) @ samples.levels)
            second.append(np.diff(upto) @ samples.levels**2)
        means.append(np.mean(first))
        variances.append(np.mean(second) - np.mean(first) ** 2)
    return np.array(means), np.array(variances)


def losses(z, targets, *, logistic=False, span=0.0):
    """Of ratings of which z is predicted, and their derivatives by that."""
    if logistic:
        return np.logaddexp(0, np.where(targets == 1, -z, z)), expit(z) - targets
    if span > 0:
        errors = span * expit(z) - targets
        return errors**2, 2 * errors * span * expit(z) * expit(-z)
    return (z - targets) ** 2, 2 * (z - targets)


def epoch_gradient(rows, pairs, targets, offset, weight_decay, *, logistic=False, span=0.0):
    """Of a batch's mean loss, for every row, a weight and a vector; and the loss of each pair."""
    z = np.array([offset + rows[u, 0] + rows[i, 0] + rows[u, 1:] @ rows[i, 1:] for u, i in pairs])
    of_pairs, slopes = losses(z, targets, logistic=logistic, span=span)
    gradient = np.zeros_like(rows)
    for (u, i), slope in zip(pairs, slopes / len(pairs), strict=True):
        for own, other in ((u, i), (i, u)):
            gradient[own, 0] += slope
            gradient[own, 1:] += slope * rows[other, 1:]
    touched = np.unique(pairs)
    gradient[touched] += weight_decay * rows[touched]
    return gradient, of_pairs


def row_adam_step(values, first, second, gradient, *, step, learning_rate, n_coordinates):
    """Adam (Kingma & Ba 2015) with two second moments a row: of its weight, and the mean over its vector."""
    first += 0.1 * (gradient - first)
    squares = np.column_stack([gradient[:, 0] ** 2, (gradient[:, 1:] ** 2).sum(axis=1) / (n_coordinates - 1)])
    second += 0.001 * (squares - second)
    spread = np.sqrt(second / (1 - 0.999**step)) + 1e-8
    spread = np.column_stack([spread[:, :1], np.repeat(spread[:, 1:], values.shape[1] - 1, axis=1)])
    values -= learning_rate * first / (1 - 0.9**step) / spread


class DenseSteps:
    """An optimizer that steps a whole table (n, width) in place, in float64; the given rows alone have a gradient."""

    def __init__(self, values, optimizer, learning_rate, *, n_coordinates):
        self._values, self._kind, self._rate, self._n = values, optimizer, learning_rate, n_coordinates
        self._first, self._second = np.zeros_like(values), np.zeros_like(values)
        self._steps = np.zeros((len(values), 1))

    def step(self, gradient, touched):
        if self._kind == "sgd":
            self._values -= self._rate * gradient
            return
        if self._kind == "adagrad":
            self._second += gradient**2
            self._values -= self._rate * gradient / (np.sqrt(self._second) + 1e-8)
            return
        has = np.zeros((len(gradient), 1))
        has[touched] = 1
        squares = gradient**2
        if self._kind == "row_adam":
            squares[:, 1:] = squares[:, 1:].sum(axis=1, keepdims=True) / (self._n - 1)
        self._steps += has
        self._first += 0.1 * has * (gradient - self._first)
        self._second += 0.001 * has * (squares - self._second)
        n = np.maximum(self._steps, 1)
        spread = np.sqrt(self._second / (1 - 0.999**n)) + 1e-8
        self._values -= has * self._rate * self._first / (1 - 0.9**n) / spread
