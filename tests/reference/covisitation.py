"""Co-visitation by its definition: every pair of events of every session, one after the other."""

import numpy as np


def covisitation(sessions, weights=None, *, gap=None, once=True, last_events=None, neighbours=None):
    """{(a, b): W[a, b]} of float64 weights of events (0 leaves an event out), the best ``neighbours`` of every a."""
    totals = {}
    for s in range(len(sessions.indptr) - 1):
        events = [e for e in range(*sessions.indptr[s : s + 2]) if weights is None or weights[e] > 0]
        events = events if last_events is None else events[-last_events:]
        met = {}
        for e in events:
            for f in events:
                a, b = int(sessions.items[e]), int(sessions.items[f])
                near = gap is None or abs(int(sessions.times[e]) - int(sessions.times[f])) <= gap
                if a != b and near:
                    met.setdefault((a, b), []).append(1.0 if weights is None else float(weights[f]))
        for pair, found in met.items():
            totals[pair] = totals.get(pair, 0.0) + (max(found) if once else sum(found))
    best = sorted(totals.items(), key=lambda entry: (entry[0][0], -np.float32(entry[1]), entry[0][1]))
    kept, rank, last = {}, 0, None
    for (a, b), total in best:
        rank = rank + 1 if a == last else 1
        last = a
        if neighbours is None or rank <= neighbours:
            kept[a, b] = float(np.float32(total))
    return kept
