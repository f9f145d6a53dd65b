"""Gradient descent on ratings, one rating after the other, in float64."""


def loss(rating, p, b_u, q, b_i, step, s_u, s_i):
    """Half of what one rating adds."""
    over = rating - b_u - b_i - p @ q
    vectors = step.regularization * (s_u * p @ p + s_i * q @ q)
    return (over**2 + vectors + step.bias_regularization * (s_u * b_u**2 + s_i * b_i**2)) / 2


def order(ratings, blocks, shift):
    """(user, place of the rating) as a single thread goes through them."""
    users, items = blocks
    n = len(users) - 1
    for turn in range(n):
        for block in range(n):
            of_items = (block + turn + shift) % n
            for user in range(users[block], users[block + 1]):
                for entry in range(ratings.indptr[user], ratings.indptr[user + 1]):
                    if items[of_items] <= ratings.indices[entry] < items[of_items + 1]:
                        yield user, entry


def ratings_sgd_epoch(ratings, users, items, step, blocks, *, shift=0, update_items=True):
    """The sum of squared errors; users and items, in float64, are changed in place."""
    total = 0.0
    if not update_items:
        blocks, shift = ((0, ratings.n_rows), (0, ratings.n_columns)), 0
    for user, entry in order(ratings, blocks, shift):
        item, rating = ratings.indices[entry], float(ratings.values[entry])
        p, q = users.vectors[user].copy(), items.vectors[item].copy()
        over = rating - users.biases[user] - items.biases[item] - p @ q
        total += over**2
        for side, row, own, other in ((users, user, p, q), (items, item, q, p)):
            if side is items and not update_items:
                continue
            shrinkage = side.shrinkage[row]
            side.vectors[row] += step.learning_rate * (over * other - step.regularization * shrinkage * own)
            bias = side.biases[row]
            side.biases[row] += step.bias_learning_rate * (over - step.bias_regularization * shrinkage * bias)
    return total
