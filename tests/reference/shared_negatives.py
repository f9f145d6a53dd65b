"""Batches with shared negatives in float64, written from the equations: scores of all pairs, derivatives of each."""

import numpy as np

from reference.shuffle import permuted_rows

MASK = 2**64 - 1
STEP = 0x9E3779B97F4A7C15


def mixed(x):
    """The finaliser of SplitMix64."""
    x &= MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


class Random:
    """Stream number ``stream`` of a seed."""

    def __init__(self, seed, stream):
        self.state = mixed(seed ^ mixed(stream + STEP))

    def next(self):
        self.state = (self.state + STEP) & MASK
        return mixed(self.state)

    def below(self, n):
        return self.next() * n >> 64

    def uniform(self):
        return (self.next() >> 40) / 2**24


def permutation(n, seed):
    return permuted_rows(n, seed, 0, n)


def batches(x, *, sampler, negatives, batch_size, seed=0, epoch=0, alias=None):
    """Users, items, weights and negatives of every batch of an epoch."""
    users = x.row_index()
    epoch_seed = mixed(seed ^ mixed(epoch + 1))
    order = permutation(x.nnz, epoch_seed)
    for batch, begin in enumerate(range(0, x.nnz, batch_size)):
        at = order[begin : begin + batch_size]
        items = x.indices[at]
        if sampler == "in_batch":
            drawn = items[:negatives]
        else:
            random, drawn = Random(epoch_seed, batch), []
            for _ in range(negatives):
                item = random.below(x.n_columns)
                drawn.append(item if alias is None or random.uniform() < alias[0][item] else alias[1][item])
        yield users[at], items, x.values[at].astype(np.float64), np.asarray(drawn)


def composition(n, offset, parts, n_rows):
    """Matrix that makes the vectors of n users or items from the rows of the table."""
    return np.eye(n_rows)[offset : offset + n] if parts is None else parts.to_scipy().toarray().astype(np.float64)


def pair_losses(positive, scores, counts, *, loss, quantiles, options):
    """Losses (B,) of scores (B,) and (B, N), and their derivatives by both."""
    t, q = options.get("temperature", 1.0), options["log_q"]
    if loss == "ccl":
        margin, total = options["margin"], counts.sum(1)
        share = np.divide(options["negative_weight"], total, out=np.zeros_like(total), where=total > 0)
        losses = np.maximum(0, 1 - positive) + share * (counts * np.maximum(0, scores - margin)).sum(1)
        return losses, np.where(positive < 1, -1.0, 0.0), share[:, None] * counts * (scores > margin)
    z, most = np.where(counts > 0, scores / t - q, -np.inf), positive / t
    if loss == "bsl":
        most = z.max(1, initial=-np.inf)
        some = np.isfinite(most)
        most = np.where(some, most, 0)
    else:
        most = np.maximum(z.max(1, initial=-np.inf), most)
    e = counts * np.exp(z - most[:, None])
    if loss == "bsl":
        total = np.where(some, e.sum(1), 1)
        losses = some * (most + np.log(total) - positive / options["positive_temperature"])
        return losses, np.where(some, -1 / options["positive_temperature"], 0.0), e / total[:, None] / t
    total = e.sum(1) + np.exp(positive / t - most)
    losses, by_scores = most + np.log(total) - positive / t, e / total[:, None] / t
    by_positive = -by_scores.sum(1)
    if loss == "softmax":
        return losses, by_positive, by_scores
    x = (positive - quantiles) / options["quantile_temperature"]
    weight = 1 / (1 + np.exp(-x))
    slope = weight * (1 - weight) / options["quantile_temperature"]
    return weight * losses, weight * by_positive + slope * losses, weight[:, None] * by_scores


def counts_of(x, users, items, negatives, sampler, groups, discounts):
    """How much each negative counts for each pair, (B, N)."""
    counts = (items[:, None] != negatives).astype(np.float64)
    if groups is not None:
        same = groups[items][:, None] == groups[negatives]
        counts *= np.maximum(0, 1 - (same * discounts.astype(np.float64)).sum(2))
    if sampler == "exact":
        seen = np.zeros(x.shape, bool)
        seen[x.row_index(), x.indices] = True
        counts *= ~seen[users][:, negatives]
    return counts


def normalised(vectors, score):
    """Vectors as they are multiplied, and a function from derivatives by these to derivatives by vectors."""
    if score == "dot":
        return vectors, lambda d: d
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    inverse = np.divide(1, length, out=np.zeros_like(length), where=length > 0)
    unit = vectors * inverse
    return unit, lambda d: inverse * (d - (d * unit).sum(1, keepdims=True) * unit)


def batch_gradient(x, values, biases, users, items, weights, negatives, *, loss, score, sampler, **options):
    """Summed loss of a batch, derivatives of its objective by all rows and biases, and the objective itself."""
    n_rows = len(values)
    of_users = composition(x.n_rows, 0, options.get("user_parts"), n_rows)
    of_items = composition(x.n_columns, x.n_rows, options.get("item_parts"), n_rows)
    a, b, c = of_users[users], of_items[items], of_items[negatives]
    log_q, quantiles = options.get("log_q"), options.get("quantiles")
    options["log_q"] = 0.0 if log_q is None else log_q[negatives].astype(np.float64)
    (u, back_u), (v, back_v), (w, back_w) = (normalised(part @ values, score) for part in (a, b, c))
    positive, scores = (u * v).sum(1) + b @ biases, u @ w.T + c @ biases
    counts = counts_of(x, users, items, negatives, sampler, options.get("groups"), options.get("group_discounts"))
    per_user = None if quantiles is None else quantiles[users].astype(np.float64)
    losses, by_positive, by_scores = pair_losses(
        positive, scores, counts, loss=loss, quantiles=per_user, options=options
    )
    by_positive, by_scores = by_positive * weights / len(users), by_scores * (weights / len(users))[:, None]
    reg, bias_reg = options.get("regularization", 0.0), options.get("bias_regularization", 0.0)
    gradient, by_bias = np.zeros_like(values), np.zeros_like(biases)
    penalty = 0.0
    if options.get("update_users", True):
        by_u = back_u(by_positive[:, None] * v + by_scores @ w) + reg / len(users) * (a @ values)
        gradient += a.T @ by_u
        penalty += reg / 2 * ((a @ values) ** 2).sum() / len(users)
    if options.get("update_items", True):
        gradient += b.T @ (back_v(by_positive[:, None] * u) + reg / len(users) * (b @ values))
        gradient += c.T @ (back_w(by_scores.T @ u) + reg / len(negatives) * (c @ values))
        by_bias += b.T @ (by_positive + bias_reg / len(users) * (b @ biases))
        by_bias += c.T @ (by_scores.sum(0) + bias_reg / len(negatives) * (c @ biases))
        for part, n in ((b, len(users)), (c, len(negatives))):
            penalty += (reg * ((part @ values) ** 2).sum() + bias_reg * ((part @ biases) ** 2).sum()) / (2 * n)
    loss_sum = float(weights @ losses)
    return loss_sum, gradient, by_bias, loss_sum / len(users) + penalty


def step(table, state, rows, gradient):
    """One step of the optimizer for some rows of float64 values and state, in place."""
    values, first, second, steps = state
    g = gradient[rows]
    if table.optimizer == "sgd":
        values[rows] -= table.learning_rate * g
    elif table.optimizer == "adagrad":
        second[rows] += g**2
        values[rows] -= table.learning_rate * g / (np.sqrt(second[rows]) + table.epsilon)
    else:
        steps[rows] += 1
        first[rows] = table.beta1 * first[rows] + (1 - table.beta1) * g
        second[rows] = table.beta2 * second[rows] + (1 - table.beta2) * g**2
        n = steps[rows].reshape(-1, *[1] * (values.ndim - 1))
        m, v = first[rows] / (1 - table.beta1**n), second[rows] / (1 - table.beta2**n)
        values[rows] -= table.learning_rate * m / (np.sqrt(v) + table.epsilon)


def state_of(table):
    """Values, moments and counts of a table in float64, one number a row for biases."""
    values = table.values.astype(np.float64)
    moments = [np.zeros_like(values) if part.size == 0 else part.astype(np.float64) for part in table[1:3]]
    return [values, *moments, np.zeros(len(values)) if table.steps.size == 0 else table.steps.astype(np.float64)]


def epoch(x, vectors, biases=None, user_parts=None, item_parts=None, **options):
    """Mean loss of an epoch, and the values of both tables after it, (n_rows, width) and (n_rows,)."""
    drawing = {name: options.pop(name) for name in ("negatives", "batch_size", "seed", "epoch") if name in options}
    drawing |= {"sampler": options["sampler"], "alias": options.pop("alias", None)}
    update_users, update_items = options.get("update_users", True), options.get("update_items", True)
    state, n_rows = state_of(vectors), len(vectors.values)
    bias_state = [a.reshape(n_rows) for a in state_of(biases)] if biases is not None else [np.zeros(n_rows)] * 4
    of_users = composition(x.n_rows, 0, user_parts, n_rows)
    of_items = composition(x.n_columns, x.n_rows, item_parts, n_rows)
    loss = 0.0
    for users, items, weights, negatives in batches(x, **drawing):
        options |= {"user_parts": user_parts, "item_parts": item_parts}
        part, gradient, by_bias, _ = batch_gradient(
            x, state[0], bias_state[0], users, items, weights, negatives, **options
        )
        loss += part
        touched_users = (of_users[users] != 0).any(0) & update_users
        touched_items = ((of_items[items] != 0).any(0) | (of_items[negatives] != 0).any(0)) & update_items
        may = np.where(np.arange(n_rows) < x.n_rows, update_users, update_items)
        step(vectors, state, (touched_users | touched_items) & may, gradient)
        if biases is not None:
            step(biases, bias_state, touched_items & may, by_bias)
    return loss / max(x.nnz, 1), state[0], bias_state[0]
