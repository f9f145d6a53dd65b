"""Pairs of sessions by loops over their events."""

from itertools import pairwise


def session_pairs(
    indptr, items, times, types, kept, window, max_gap, last_events, both, repeats, type_weights, distance_weights
):
    """(item, next item, weight) of every pair, in order; and events left out, lone, capped, cut and longest."""
    pairs, told = [], [0, 0, 0, 0, 0]
    for begin, end in pairwise(indptr):
        some = [e for e in range(begin, end) if kept is None or kept[types[e]]]
        taking = some[-last_events:]
        told[0] += end - begin - len(some)
        told[1] += len(taking) < 2
        told[2] += len(taking) < len(some)
        told[3] += len(some) - len(taking)
        told[4] = max(told[4], end - begin)
        for k, one in enumerate(taking):
            for distance, other in enumerate(taking[k + 1 : k + 1 + window], 1):
                if times is not None and times[other] - times[one] > max_gap:
                    continue
                if not repeats and items[one] == items[other]:
                    continue
                for a, b in [(one, other), (other, one)][: 1 + both]:
                    weight = 1 if type_weights is None else type_weights[types[b]]
                    weight *= 1 if distance_weights is None else distance_weights[distance - 1]
                    pairs.append((items[a], items[b], weight))
    return pairs, tuple(told)
