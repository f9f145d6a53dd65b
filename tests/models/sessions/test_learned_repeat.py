"""SessionKNN(repeat=None): read off the newest sessions, as good as the best constant, kept and saved."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cofactor as cf
from cofactor.data.sessions import Sessions
from cofactor.datasets import next_item_tests
from cofactor.kernels.csr import offsets
from cofactor.models.base import saved
from cofactor.models.sessions import _learned_repeat as learned
from cofactor.models.sessions.session_knn import _by_time
from reference import session_knn as reference


def sessions_with_repeats(share, n_sessions=2500, n_items=400, seed=0):
    """Walks through neighbouring items that come back, with that probability, to an item of their own."""
    rng = np.random.default_rng(seed)
    rows = []
    for session in range(n_sessions):
        own = [int(n_items * rng.random() ** 2)]
        for _ in range(rng.geometric(0.25)):
            back = int(min(rng.geometric(0.5), len(own)))
            step = (own[-1] + int(rng.choice([1, 2, 3, 7]))) % n_items
            own.append(own[-back] if rng.random() < share else step)
        rows += [(session, item) for item in own]
    return pl.DataFrame(rows, schema=["visit", "item"], orient="row")


def read(table):
    return cf.read_events(table, user=None, session="visit", item="item")


def hit_rate(model, tests):
    lists = model.recommend_for(tests[0], k=20, exclude_seen=False)
    return cf.evaluate(lists, tests[1], "hit_rate@20", n_bootstrap=0)["value"][0]


@pytest.mark.filterwarnings("ignore:histories")  # the last sessions have items of their own
@pytest.mark.parametrize("share", [0.05, 0.25, 0.45])
def test_as_good_as_the_best_constant(share):
    log = sessions_with_repeats(share)
    x = read(log.filter(pl.col("visit") < 2000)).interactions()
    tests = next_item_tests(read(log.filter(pl.col("visit") >= 2000)))
    constants = [hit_rate(cf.SessionKNN(repeat=r).fit(x), tests) for r in (0.01, 0.1, 0.3, 1.0, 10.0, 100.0)]
    model = cf.SessionKNN().fit(x)
    assert hit_rate(model, tests) >= max(constants) - 0.005
    assert model.repeat is None
    assert model.repeat_ in learned.REPEATS


def test_more_repeats_are_worth_more():
    few, many = (
        cf.SessionKNN().fit(read(sessions_with_repeats(share)).interactions()).repeat_ for share in (0.01, 0.6)
    )
    assert few < many


def test_all_values_are_measured_as_lists_would_be():
    """Of one pass of scores, against the twin's scores for each value; ties may go either way."""
    log = sessions_with_repeats(0.3, n_sessions=300, n_items=60)
    s = Sessions.of(read(log).interactions())
    indptr, items, _ = _by_time(s, None)
    first, tests = learned.newest_tests(indptr, items, s.n_items)
    model = cf.SessionKNN(neighbours=50, candidate_idf=0.5)
    past = model._past(s.n_items, indptr[: first + 1], items[: indptr[first]], None)
    repeats = np.array([0.01, 0.3, 2.0, 50.0])
    hit, mrr = learned.measured_repeats(model._kernels(), past, model._query(first, 1.0), tests, repeats)
    for i, repeat in enumerate(repeats):
        least, most = np.zeros((2, 2))
        for row, target in enumerate(tests.targets):
            at = slice(*tests.histories.indptr[row : row + 2])
            knn = model._query(first, repeat)
            scores = reference.scores(past, knn, tests.histories.indices[at], tests.histories.positions[at])
            if scores[target] > 0:
                near = 1e-5 * scores[target]
                worst = (scores > scores[target] - near).sum()
                best = (scores > scores[target] + near).sum() + 1
                least += [worst <= 20, (worst <= 20) / worst]
                most += [best <= 20, (best <= 20) / best]
        n = len(tests.targets)
        assert least[0] / n - 1e-9 <= hit[i] <= most[0] / n + 1e-9
        assert least[1] / n - 1e-9 <= mrr[i] <= most[1] / n + 1e-9


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=8), min_size=1, max_size=40), st.integers(1, 30))
def test_the_newest_tests_are_beginnings_and_what_came_next(sessions, most):
    indptr, items = offsets(np.array([len(one) for one in sessions])), np.concatenate(sessions).astype(np.int32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learned, "_MOST_TESTS", most)
        first, tests = learned.newest_tests(indptr, items, 10)
    assert first == len(sessions) - len(sessions) // 10
    wanted = [
        (dict(zip(one[:at], range(1, at + 1), strict=True)), one[at])
        for one in sessions[first:]
        for at in range(1, len(one))
    ]
    if len(wanted) > most:
        wanted = [wanted[i * len(wanted) // most] for i in range(most)]
    h = tests.histories
    h.check()
    found = [
        (dict(zip(h.indices[a:b].tolist(), h.positions[a:b].tolist(), strict=True)), target)
        for a, b, target in zip(h.indptr[:-1], h.indptr[1:], tests.targets.tolist(), strict=True)
    ]
    assert found == wanted


def test_what_cannot_tell_has_the_constant(interactions):
    assert cf.SessionKNN().fit(interactions).repeat_ == 0.3  # a matrix has no order
    assert cf.SessionKNN().fit(read(sessions_with_repeats(0.5, n_sessions=50)).interactions()).repeat_ == 0.3
    alone = pl.DataFrame({"visit": range(5000), "item": [n % 7 for n in range(5000)]})  # sessions of one event
    assert cf.SessionKNN().fit(read(alone).interactions()).repeat_ == 0.3


def test_a_given_value_is_used_as_given():
    x = read(sessions_with_repeats(0.6)).interactions()
    assert cf.SessionKNN(repeat=0).fit(x).repeat_ == 0
    assert cf.SessionKNN(repeat=2).fit(x).repeat_ == 2


def test_nothing_of_the_newest_sessions_is_known_before(monkeypatch):
    """Every value is judged by sessions that are not among those that give the scores."""
    seen = {}

    def spy(kernels, past, knn, tests, threads):
        seen.update(past=past, tests=tests)
        return 1.0

    monkeypatch.setattr("cofactor.models.sessions.session_knn.best_repeat", spy)
    model = cf.SessionKNN(lambda2=100).fit(read(sessions_with_repeats(0.3)).interactions())
    assert len(seen["past"].weights) == 2250 == len(seen["past"].indptr) - 1
    assert seen["past"].places.max() < 2250
    assert seen["past"].weights[-1] == 1  # the newest of those that are known
    assert len(model.session_weights_) == 2500


# Saving


@pytest.fixture
def folder(tmp_path):
    model = cf.SessionKNN().fit(read(sessions_with_repeats(0.5)).interactions())
    model.save(tmp_path / "model")
    return tmp_path / "model"


def edit(folder, change):
    header = json.loads((folder / "model.json").read_text())
    change(header["model"])
    (folder / "model.json").write_text(json.dumps(header))


def test_it_is_saved(folder):
    loaded = cf.load(folder)
    assert loaded.repeat is None
    assert loaded.repeat_ == saved.read_header(folder)["model"]["state"]["repeat_"] > 0.3


def test_models_saved_before_load_and_answer_as_before(folder):
    def older(model):
        del model["state"]["repeat_"]
        model["params"]["repeat"] = 0.3

    edit(folder, older)
    loaded = cf.load(folder)
    now = pl.DataFrame({"user_id": [1, 1], "item_id": [5, 6]})
    wanted = cf.SessionKNN(repeat=0.3).fit(read(sessions_with_repeats(0.5)).interactions())
    assert loaded.recommend_for(now, exclude_seen=False).equals(wanted.recommend_for(now, exclude_seen=False))


@pytest.mark.parametrize(
    ("state", "message"),
    [({}, "repeat_ is missing"), ({"repeat_": -1.0}, "repeat_ must be"), ({"repeat_": "much"}, "repeat_ is 'much'")],
)
def test_damage_is_noticed(folder, state, message):
    def damaged(model):
        del model["state"]["repeat_"]
        model["state"] |= state

    edit(folder, damaged)
    with pytest.raises(cf.ArtifactError, match=message):
        cf.load(folder)
