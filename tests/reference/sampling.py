"""A slow twin of ``native/sampling/`` and of the random numbers of ``native/core/random.hpp``, in whole numbers."""

from __future__ import annotations

import numpy as np

MASK = 2**64 - 1
STEP = 0x9E3779B97F4A7C15


def mixed(x):
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


class Random:
    """Stream number ``stream`` of a seed."""

    def __init__(self, seed, stream):
        self.state = mixed(seed ^ mixed((stream + STEP) & MASK))

    def next(self):
        self.state = (self.state + STEP) & MASK
        return mixed(self.state)

    def below(self, n):
        return self.next() * n >> 64

    def uniform(self):
        return (self.next() >> 40) / 2**24


def permutation(n, seed):
    """All places of ``Permutation(n, seed)``: a Feistel network, walked until it is back in range."""
    half = 4
    while half < 31 and 1 << 2 * half < n:
        half += 1
    mask, seed = (1 << half) - 1, mixed(seed)

    def once(i):
        left, right = i >> half, i & mask
        for round_ in range(1, (12 if n <= 1 << 14 else 4) + 1):
            left, right = right, left ^ mixed((seed + (round_ << 58) + right) & MASK) & mask
        return left << half | right

    def walked(i):
        i = once(i)
        while i >= n:
            i = once(i)
        return i

    return [walked(i) for i in range(n)]


def draw(n_items, seen, disliked, dislike_share, alias, random):
    """One negative: ``seen`` and ``disliked`` are ascending, None where nothing is checked or nobody dislikes anything.

    ``alias``: keep and alias, or None.
    """
    seen = [] if seen is None else list(seen)
    unseen = [i for i in range(n_items) if i not in set(seen)]
    if disliked is not None and len(disliked) and (random.uniform() < np.float32(dislike_share) or not unseen):
        return disliked[random.below(len(disliked))]
    if not unseen:
        return -1

    def item():
        at = random.below(n_items)
        return at if alias is None or random.uniform() < alias[0][at] else alias[1][at]

    if not seen:
        return item()
    if alias is not None or len(unseen) >= len(seen):
        for _ in range(64):
            if (found := item()) not in seen:
                return found
    return unseen[random.below(len(unseen))]


def sample_negatives(users, n, shape, *, seen=None, alias=None, dislikes=None, dislike_share=0.0, seed=0, first=0):
    """(len(users), n) int32; ``seen`` and ``dislikes`` are dense patterns."""
    out = np.empty((len(users), n), np.int32)
    for k, user in enumerate(users):
        random = Random(seed, first + k)
        of_user = [None if m is None else np.flatnonzero(m[user]) for m in (seen, dislikes)]
        out[k] = [draw(shape[1], *of_user, dislike_share, alias, random) for _ in range(n)]
    return out


def probabilities(keep, alias):
    """With which probability the alias table gives each item, in float64."""
    n = len(keep)
    out = keep.astype(np.float64) / n
    np.add.at(out, alias, (1 - keep.astype(np.float64)) / n)
    return out
