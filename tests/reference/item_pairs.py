"""Blocks of pairs in float64, written from the equations: scores, derivatives of each, then the steps in turn."""

import numpy as np

from reference.sampling import MASK, Random
from reference.shuffle import permuted_rows

PIECE = 1 << 13


def epoch(items, next_items, weights, table, *, n_items, loss, sampler, negatives, alias, log_q, shared,
          regularization, batch_size, seed, epoch, learn=True):  # fmt: skip
    """Changes ``table``: a dict of values, first, second (float64), steps, optimizer, learning_rate; loss, accuracy."""
    seed = Random(seed, epoch).next()
    offset, n = 0 if shared else n_items, len(items)
    correction = np.zeros(n_items) if log_q is None else log_q
    total, above, compared = 0.0, 0, 0
    weights = np.ones(n) if weights is None else weights
    for begin in range(0, n, PIECE):
        order = permuted_rows(n, seed, begin, min(n, begin + PIECE))
        pool = drawn(Random(seed, begin), len(order), n_items, alias)
        shifts = Random(seed, ~begin & MASK)
        for at in range(0, len(order), batch_size):
            block = order[at : at + batch_size]
            i, j, w = items[block], next_items[block], weights[block]
            of = j if sampler == "in_batch" else pool[at : at + batch_size]
            size = len(block)
            others = size - (sampler == "in_batch")
            m = min(negatives, others)
            shift = 0 if others == 0 else shifts.below(others - m + 1) + (sampler == "in_batch")
            at_of = (np.arange(size)[:, None] + shift + np.arange(m)) % size
            k = of[at_of]
            v = table["values"]
            vi, vj, vk = v[i], v[j + offset], v[k + offset]
            s = np.hstack([(vi * vj).sum(1, keepdims=True), np.einsum("bf,bnf->bn", vi, vk)])
            s -= correction[np.hstack([j[:, None], k])]
            s[:, 1:][k == j[:, None]] = -np.inf
            if m:
                real = s[:, 1] > -np.inf
                compared += real.sum()
                above += (s[real, 0] > s[real, 1]).sum()
            if loss == "logistic":
                g = 1 / (1 + np.exp(-s))
                g[:, 0] -= 1
                total += (w * (np.logaddexp(0, -s[:, 0]) + np.logaddexp(0, s[:, 1:]).sum(1))).sum()
            else:
                most = s.max(1, keepdims=True)
                g = np.exp(s - most)
                total += (w * (np.log(g.sum(1)) + most[:, 0] - s[:, 0])).sum()
                g /= g.sum(1, keepdims=True)
                g[:, 0] -= 1
            g *= w[:, None]
            if not learn:
                continue
            by_i = g[:, :1] * vj + np.einsum("bn,bnf->bf", g[:, 1:], vk) + regularization * vi
            by_j = g[:, :1] * vi + regularization * vj
            by_of = np.zeros_like(by_i)
            np.add.at(by_of, at_of.ravel(), (g[:, 1:, None] * vi[:, None]).reshape(-1, v.shape[1]))
            if sampler == "in_batch":
                by_j += by_of
            else:
                by_of += regularization * v[of + offset]
            for b in range(size):
                step(table, i[b], by_i[b])
                step(table, j[b] + offset, by_j[b])
                if sampler != "in_batch":
                    step(table, of[b] + offset, by_of[b])
    return total / weights.sum(), above / max(compared, 1)


def drawn(random, n, n_items, alias):
    out = []
    for _ in range(n):
        item = random.below(n_items)
        if alias is not None and random.uniform() >= alias[0][item]:
            item = alias[1][item]
        out.append(item)
    return np.array(out, np.int64)


def step(table, row, gradient):
    if table["optimizer"] == "adagrad":
        table["second"][row] += gradient**2
        table["values"][row] -= table["learning_rate"] * gradient / (np.sqrt(table["second"][row]) + 1e-8)
        return
    table["steps"][row] += 1
    n = table["steps"][row]
    table["first"][row] += 0.1 * (gradient - table["first"][row])
    table["second"][row] += 0.001 * (gradient**2 - table["second"][row])
    mean, square = table["first"][row] / (1 - 0.9**n), table["second"][row] / (1 - 0.999**n)
    table["values"][row] -= table["learning_rate"] * mean / (np.sqrt(square) + 1e-8)
