"""Co-visitation kernels against the definition, exactly; whatever the threads, parts and steps."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cofactor as cf
from cofactor.data.sessions import Sessions
from cofactor.kernels.csr import offsets
from cofactor.models.sessions import _covisitation_count as counting
from device import kernels
from reference.covisitation import covisitation

WEIGHTS = np.array([1.0, 3.0, 6.5])


def make(rng, lengths, n_items, span=100):
    indptr = offsets(np.asarray(lengths, np.int64))
    n = int(indptr[-1])
    times = np.concatenate([np.sort(rng.integers(0, span, m)) for m in lengths] or [[]]).astype(np.int64)
    return Sessions(
        indptr,
        rng.integers(0, n_items, n).astype(np.int32),
        n_items,
        times=times + 1_700_000_000,
        types=rng.integers(0, 3, n).astype(np.uint8),
        type_names=("click", "order", "cart"),
    )


def entries(csr):
    assert csr.nnz == len(csr.values) == csr.indptr[-1]
    assert all(np.all(np.diff(csr.row(r)[0]) > 0) for r in range(csr.n_rows))
    return dict(zip(zip(csr.row_index().tolist(), csr.indices.tolist(), strict=True), csr.values.tolist(), strict=True))


def counted(sessions, weights=None, *, gap=None, **options):
    """What the model counts, and what the definition gives for the same parameters."""
    names = sessions.type_names
    model = cf.CoVisitation(
        type_weights=None if weights is None else dict(zip(names, weights.tolist(), strict=True)),
        max_gap=None if gap is None else f"{gap}s",
        **({"last_events": None, "neighbours": 10**9} | options),
    )
    wanted = covisitation(
        sessions,
        None if weights is None else weights[sessions.types],
        gap=gap,
        once=model.pairs == "once",
        last_events=model.last_events,
        neighbours=model.neighbours,
    )
    return entries(model.count(sessions)), wanted


@st.composite
def cases(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    lengths = rng.integers(0, draw(st.sampled_from([3, 8, 30])), draw(st.integers(0, 12)))
    sessions = make(rng, lengths, draw(st.sampled_from([1, 2, 5, 40])), draw(st.sampled_from([1, 10, 1000])))
    return sessions, {
        "weights": draw(st.sampled_from([None, WEIGHTS])),
        "gap": draw(st.sampled_from([None, 1, 5, 200])),
        "pairs": draw(st.sampled_from(["once", "all"])),
        "last_events": draw(st.sampled_from([None, 2, 5])),
        "neighbours": draw(st.sampled_from([1, 3, 100])),
        "threads": draw(st.integers(1, 3)),
    }


@pytest.mark.filterwarnings("ignore:.*last_events.*:cofactor.CofactorWarning")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cases())
def test_the_definition(cpu_level, case):
    sessions, options = case
    got, wanted = counted(sessions, **options)
    assert got == wanted


@pytest.mark.parametrize("pairs", ["once", "all"])
def test_popular_items_are_counted_in_the_table_of_all_items(cpu_level, pairs):
    """Item 0 is in every session: more neighbours than the hash table takes."""
    rng = np.random.default_rng(0)
    sessions = make(rng, [6] * 3300, 2000)
    items = sessions.items.copy()
    items[::6] = 0
    got, wanted = counted(replace(sessions, items=items), WEIGHTS, gap=60, pairs=pairs, neighbours=7)
    assert got == wanted


def test_many_neighbours_with_equal_weights_go_to_the_lower_items(cpu_level):
    sessions = make(np.random.default_rng(1), [320], 1000)
    for neighbours in (1, 20):
        got, wanted = counted(sessions, neighbours=neighbours)
        assert got == wanted


def test_parts_and_threads_change_nothing(monkeypatch):
    sessions = make(np.random.default_rng(2), np.random.default_rng(3).integers(0, 20, 400), 90)
    model = cf.CoVisitation(neighbours=12, type_weights="click:1,order:2,cart:3", max_gap="20s")
    whole = model.count(sessions)
    for parts, threads in ((1, 5), (7, 1), (64, 3), (90, 20)):
        monkeypatch.setattr(counting._Plan, "choose", lambda *_, p=parts, t=threads: (t, p))
        again = model.count(sessions)
        assert all(np.array_equal(getattr(again, n), getattr(whole, n)) for n in ("indptr", "indices", "values"))


def test_what_does_not_fit_together_is_refused(cpu_level):
    sessions = make(np.random.default_rng(4), [3, 4], 5)
    with pytest.raises(ValueError, match="items must lie below the number of items"):
        kernels.covisitation_kept(sessions.indptr, sessions.items, None, 9, int(sessions.items.max()))
    with pytest.raises(ValueError, match="indptr must ascend"):
        kernels.covisitation_kept(sessions.indptr[:-1], sessions.items, None, 9, 5)
    lengths, counts, _, _ = kernels.covisitation_kept(sessions.indptr, sessions.items, None, 9, 5)
    starts = offsets(lengths)
    records, seconds = kernels.covisitation_records(
        sessions.indptr, sessions.items, sessions.times, None, starts=starts
    )
    assert np.array_equal(records[:, 0], sessions.items)
    assert np.array_equal(seconds, sessions.times - sessions.times.min())
    parts = {"gap": 5, "n_items": 5, "first": 0}
    with pytest.raises(ValueError, match="one place for every record"):
        kernels.covisitation_index(
            records, seconds, starts, **parts, starts=offsets(counts[::-1].copy() + np.arange(5))
        )
    with pytest.raises(ValueError, match="a gap needs the seconds of the records"):
        kernels.covisitation_index(records, None, starts, **parts, starts=offsets(counts))
    with pytest.raises(ValueError, match="sessions must ascend from 0 to the number of records"):
        kernels.covisitation_index(records, seconds, starts[:-1], **parts, starts=offsets(counts))
    windows = kernels.covisitation_index(records, seconds, starts, **parts, starts=offsets(counts))
    for first, last, session in windows.tolist():
        assert session - 1 in starts
        assert session - 1 <= first < last <= starts[np.searchsorted(starts, session - 1) + 1]
    with pytest.raises(ValueError, match="a session has fewer events than records"):
        kernels.covisitation_records(sessions.indptr, sessions.items, None, None, starts=np.array([0, 5, 7]))
