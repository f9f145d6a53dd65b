"""A slow twin of ``native/sessions/session_knn.hpp``: every past session is looked at, in float64."""

from __future__ import annotations

import numpy as np


def scores(past, knn, items, positions):
    """Scores of all items for one history, (n_items,)."""
    n_items = len(past.item_weights)
    out = np.zeros(n_items)
    if not len(items):
        return out
    back = max(positions) - np.asarray(positions)
    kept = back < knn.last_events
    current = dict(zip(np.asarray(items)[kept].tolist(), back[kept].tolist(), strict=True))
    found = []
    for session in range(len(past.weights) - 1, -1, -1):
        events = past.items[past.indptr[session] : past.indptr[session + 1]].tolist()
        shared = set(events) & set(current)
        if shared and len(found) < knn.sample_size:
            weights = [np.exp(-current[i] / knn.lambda1) * past.item_weights[i] for i in shared]
            found.append((sum(weights) * past.weights[session], events, min(shared, key=current.__getitem__)))
    found.sort(key=lambda one: -one[0])  # stable: of equal ones the newer
    for similarity, events, recent in found[: knn.neighbours]:
        match = len(events) - 1 - events[::-1].index(recent)
        for at, item in enumerate(events):
            side = knn.repeat if at == match else knn.backward if at < match else 1.0
            out[item] += similarity / found[0][0] * side * np.exp(-abs(at - match) / knn.lambda3)
    return out * past.candidate_weights


def places(indptr, items, n_items, limit):
    """The newest sessions of every item, and how many there are in all."""
    of = [[] for _ in range(n_items)]
    for session in range(len(indptr) - 2, -1, -1):
        for item in set(items[indptr[session] : indptr[session + 1]].tolist()):
            of[item].append(session)
    return [sessions[:limit] for sessions in of], [len(sessions) for sessions in of]
