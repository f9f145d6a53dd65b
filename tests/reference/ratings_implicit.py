"""SVD++ as it is written down: one rating after the other, every y at every step; float64."""

import numpy as np


def loss(rating, p, b_u, q, b_i, y, step, s_u, s_i):
    """Half of what one rating adds; y (n, width) are the vectors of all that its user rated."""
    over = rating - b_u - b_i - q @ (p + y.sum(0) / np.sqrt(len(y)))
    vectors = step.regularization * (s_u * (p @ p + (y**2).sum()) + s_i * q @ q)
    return (over**2 + vectors + step.bias_regularization * (s_u * b_u**2 + s_i * b_i**2)) / 2


def batches(ratings, batch):
    """(first user, one past the last) of each."""
    first = 0
    while first < ratings.n_rows:
        last = first
        while last < ratings.n_rows and ratings.indptr[last] - ratings.indptr[first] < batch:
            last += 1
        yield first, last
        first = last


def ratings_implicit_epoch(ratings, users, items, implicit, step, *, batch):
    """The sum of squared errors; users, items and implicit, in float64, are changed in place."""
    total, rate, shrink = 0.0, step.learning_rate, step.regularization
    for first, last in batches(ratings, batch):
        before, moved = (items.vectors.copy(), items.biases.copy(), implicit.copy()), []
        for user in range(first, last):
            columns, values = ratings.row(user)
            s_u, y = users.shrinkage[user], before[2][columns].copy()
            for item, rating in zip(columns, values, strict=True):
                s_i, p, q = items.shrinkage[item], users.vectors[user].copy(), before[0][item]
                x = p + y.sum(0) / np.sqrt(len(columns))
                over = float(rating) - users.biases[user] - before[1][item] - x @ q
                total += over**2
                users.vectors[user] += rate * (over * q - shrink * s_u * p)
                y += rate * (over * q / np.sqrt(len(columns)) - shrink * s_u * y)
                bias = users.biases[user]
                users.biases[user] += step.bias_learning_rate * (over - step.bias_regularization * s_u * bias)
                moved.append((item, over, x))
            decay = (1 - rate * shrink * s_u) ** len(columns)
            gained = y - decay * before[2][columns]
            implicit[columns] = decay * implicit[columns] + gained
        for item, over, x in moved:
            s_i, q, bias = items.shrinkage[item], items.vectors[item].copy(), items.biases[item]
            items.vectors[item] += rate * (over * x - shrink * s_i * q)
            items.biases[item] += step.bias_learning_rate * (over - step.bias_regularization * s_i * bias)
    return total
