"""Pairs of sessions against loops over their events."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cofactor.kernels import native
from cofactor.kernels.arguments import PairEvents, PairRules
from device import kernels
from reference import session_pairs as reference

BLOCK = native.lib.session_block


def sessions(lengths, seed, n_items=5):
    rng = np.random.default_rng(seed)
    indptr = np.concatenate([[0], np.cumsum(np.array(lengths, np.int64))])
    n = int(indptr[-1])
    times = np.concatenate([np.sort(rng.integers(0, 9, size)) for size in lengths] or [np.zeros(0)])
    items, types = rng.integers(0, n_items, n, dtype=np.int32), rng.integers(0, 3, n, dtype=np.uint8)
    return indptr, items, times.astype(np.int64), types


def all_of(events, rules, **more):
    starts, told = kernels.count_session_pairs(events, rules, threads=more.get("threads"))
    items, next_items, weights = kernels.session_pairs(events, rules, starts=starts, **more)
    weights = np.ones(len(items), np.float32) if weights is None else weights
    return list(zip(items.tolist(), next_items.tolist(), weights.tolist(), strict=True)), told


RULES = st.builds(
    PairRules,
    window=st.integers(1, 4),
    max_gap=st.integers(0, 9),
    last_events=st.integers(2, 9) | st.just(2**62),
    both=st.booleans(),
    repeats=st.booleans(),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 12), max_size=9), RULES, st.data(), st.integers(0, 99))
def test_as_loops_over_events_find_them(cpu_level, lengths, rules, data, seed):
    indptr, items, times, types = sessions(lengths, seed)
    kept, of_types = np.zeros(256, np.uint8), np.ones(256, np.float32)
    kept[data.draw(st.sets(st.integers(0, 2), min_size=1).map(list))] = 1
    of_types[:3] = 1, 6, 0.5
    choose = {name: data.draw(st.booleans(), name) for name in ("times", "kept", "types", "distances")}
    rules = rules._replace(
        type_weights=of_types if choose["types"] else None,
        distance_weights=np.float32(2.0) ** -np.arange(rules.window, dtype=np.float32) if choose["distances"] else None,
    )
    events = PairEvents(indptr, items, times if choose["times"] else None, types, kept if choose["kept"] else None)
    assert all_of(events, rules) == reference.session_pairs(*events, *rules)


@pytest.mark.parametrize("threads", [1, 50])
@pytest.mark.parametrize("rules", [PairRules(), PairRules(window=3, both=True), PairRules(repeats=False)])
def test_blocks_of_sessions_and_parts_of_them(threads, rules):
    lengths = np.random.default_rng(1).integers(0, 4, 2 * BLOCK + 5)
    lengths[BLOCK] = 5000
    indptr, items, *_ = sessions(lengths, 0)
    events = PairEvents(indptr, items)
    wanted = reference.session_pairs(*events, *rules)
    assert all_of(events, rules, threads=threads) == wanted
    starts, _ = kernels.count_session_pairs(events, rules)
    assert len(starts) == 4
    parts = [kernels.session_pairs(events, rules, starts=starts, first=b, last=b + 1) for b in range(3)]
    for column in range(2):
        assert np.concatenate([part[column] for part in parts]).tolist() == [pair[column] for pair in wanted[0]]


def test_what_does_not_fit_is_refused():
    indptr, items, times, types = sessions([2, 3], 0)
    with pytest.raises(ValueError, match="kept and type_weights need types"):
        kernels.count_session_pairs(PairEvents(indptr, items, None, None, np.ones(256, np.uint8)), PairRules())
    with pytest.raises(ValueError, match="times must have one value"):
        kernels.count_session_pairs(PairEvents(indptr, items, times[1:], None, None), PairRules())
    with pytest.raises(ValueError, match="distance_weights must have one value"):
        kernels.count_session_pairs(
            PairEvents(indptr, items, None, types, None), PairRules(distance_weights=np.ones(2, np.float32))
        )
    with pytest.raises(ValueError, match="first and last must be blocks"):
        kernels.session_pairs(PairEvents(indptr, items, None, None, None), PairRules(), starts=np.array([0, 1, 3]))
    for rules in (PairRules(), PairRules(repeats=False), PairRules(window=2)):
        for wrong in (0, 1, 2, 9):
            with pytest.raises(ValueError, match="starts must be those of the pairs"):
                kernels.session_pairs(PairEvents(indptr, np.arange(5, dtype=np.int32), None, None, None), rules,
                                      starts=np.array([0, wrong]))  # fmt: skip
