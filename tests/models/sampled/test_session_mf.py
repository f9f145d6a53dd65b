"""Vectors trained on whole sessions."""

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.errors import ParameterError
from cofactor.kernels import on

SMALL = {"factors": 16, "negatives": 32, "batch_size": 64, "epochs": 12, "learning_rate": 0.03}


def log(n_sessions=700, n_items=40, seed=0):
    """Sessions of two items and then their sum: what comes third hangs on both."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, n_items, (n_sessions, 2))
    items = np.column_stack([first, first.sum(axis=1) % n_items])
    frame = pl.DataFrame({"session": np.repeat(np.arange(n_sessions), 3), "item": items.ravel()})
    return cf.read_events(frame, user=None, session="session", item="item")


def walks(n_sessions=600, n_items=40, length=6, seed=0):
    """Sessions that go up by one."""
    first = np.random.default_rng(seed).integers(0, n_items, n_sessions)
    items = (first[:, None] + np.arange(length)) % n_items
    frame = pl.DataFrame({"session": np.repeat(np.arange(n_sessions), length), "item": items.ravel()})
    return cf.read_events(frame, user=None, session="session", item="item")


@pytest.fixture(scope="module")
def model():
    return cf.SessionMF(**SMALL).fit(walks())


def test_it_learns_what_follows(model):
    assert model.loss_history_[-1] < 0.7 * model.loss_history_[0]
    now = pl.DataFrame({"user_id": [1, 1, 2, 2], "item_id": [6, 7, 29, 30]})
    lists = model.recommend_for(now, k=4)
    for user, last in ((1, 7), (2, 30)):
        assert last + 1 in lists.filter(user_id=user)["item_id"].to_list()


def test_scores_are_cosines_of_the_weighted_sum(model):
    """Of an item that comes twice the newest place counts, and nothing beyond last_events."""
    v = model.item_factors_ * model.item_norms_[:, None]
    np.testing.assert_allclose(np.linalg.norm(model.item_factors_, axis=1), 1, rtol=1e-5)
    table = pl.DataFrame({"user_id": [1] * 4, "item_id": [3, 20, 3, 8]})
    found = model.recommend_for(table, k=40, exclude_seen=False).sort("item_id")["score"].to_numpy()
    sums = v[8] + 0.5 * v[3] + 0.25 * v[20]
    np.testing.assert_allclose(found, model.item_factors_ @ sums / np.linalg.norm(sums), rtol=1e-4, atol=1e-6)
    short = cf.SessionMF(**SMALL | {"last_events": 2}).fit(walks())
    lists = [short.recommend_for(pl.DataFrame({"user_id": [1] * len(h), "item_id": h}), k=40, exclude_seen=False)
             for h in ([20, 3, 8], [5, 6, 3, 8])]  # fmt: skip
    assert lists[0].equals(lists[1])


def test_known_users_are_their_histories():
    events = walks(n_sessions=50)
    model = cf.SessionMF(**SMALL | {"epochs": 2}).fit(events)
    table = events.frame.select(user_id="session", item_id="item").collect()
    one, other = model.recommend(k=5), model.recommend_for(table, k=5)
    assert one["item_id"].to_list() == other["item_id"].to_list()
    np.testing.assert_allclose(one["score"].to_numpy(), other["score"].to_numpy(), rtol=1e-5)


def test_the_same_for_any_number_of_threads():
    events = log()
    one, two = (cf.SessionMF(**SMALL | {"epochs": 2}, threads=n).fit(events) for n in (1, 3))
    assert np.array_equal(one.item_factors_, two.item_factors_)
    assert np.array_equal(one.loss_history_, two.loss_history_)


def test_chunks_hold_every_beginning_once(monkeypatch):
    module = "cofactor.models.sampled.session_mf"
    monkeypatch.setattr(f"{module}._CHUNK", 100)
    calls = []
    kernels = type(on("cpu"))
    real = kernels.shared_negatives_epoch
    monkeypatch.setattr(
        kernels, "shared_negatives_epoch", staticmethod(lambda x, *a, **k: calls.append(x) or real(x, *a, **k))
    )
    model = cf.SessionMF(**SMALL | {"epochs": 1}).fit(log(130))
    assert [x.nnz for x in calls] == [100, 100, 60]
    events = log(130).frame.collect()
    wanted = np.bincount(events["item"].to_numpy().reshape(-1, 3)[:, 1:].ravel(), minlength=40)
    assert sum(np.bincount(x.indices, minlength=40) for x in calls).tolist() == wanted.tolist()
    assert np.isfinite(model.item_factors_).all()


def test_gradients_are_those_of_the_loss():
    """The vectors of sessions in training are those of histories: the loss of a fitted model, found anew."""
    events = walks(n_sessions=40, n_items=12)
    options = {"factors": 8, "negatives": 4096, "batch_size": 4096, "epochs": 1, "learning_rate": 1e-9, "init_std": 1.0}
    model = cf.SessionMF(**options).fit(events)
    items = events.frame.select("item").collect()["item"].to_numpy().reshape(-1, 6)
    v, unit = model.item_factors_ * model.item_norms_[:, None], model.item_factors_
    losses = []
    for session in items:
        for end in range(1, 6):
            u = sum(0.5 ** (end - 1 - at) * v[session[at]] for at in range(end))
            scores = unit @ u / np.linalg.norm(u) / 0.07
            others = np.delete(scores, session[end])
            estimate = np.exp(others).mean() * 4096 * 11 / 12  # the item itself is drawn as often, and left out
            losses.append(np.log(np.exp(scores[session[end]]) + estimate) - scores[session[end]])
    np.testing.assert_allclose(model.loss_history_, np.mean(losses), rtol=0.01)


def test_sessions_of_one_event_train_nothing():
    frame = pl.DataFrame({"session": [1, 2, 3], "item": [5, 6, 5]})
    model = cf.SessionMF(4).fit(cf.read_events(frame, user=None, session="session", item="item"))
    assert not model.item_factors_.any()
    assert len(model.loss_history_) == 0


def test_items_of_lone_events_have_no_vector():
    frame = pl.DataFrame({"session": [1, 1, 2], "item": [5, 6, 7]})
    model = cf.SessionMF(4).fit(cf.read_events(frame, user=None, session="session", item="item"))
    assert model.item_factors_.any(axis=1).tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"recency": 0}, "recency"),
        ({"recency": 1.5}, "recency=1.5; it must be at most 1"),
        ({"temperature": 0}, "temperature"),
        ({"last_events": 0}, "last_events"),
        ({"negatives": 0}, "negatives"),
        ({"epochs": 0}, "epochs"),
        ({"learning_rate": -1}, "learning_rate"),
        ({"seed": -1}, "seed"),
        ({"factors": 10**9}, "SessionMF"),
        ({"device": "tpu"}, "device"),
    ],
)
def test_what_cannot_be_asked(asked, told):
    with pytest.raises(ParameterError, match=told):
        cf.SessionMF(**asked).fit(walks(20))


def test_saved(model, tmp_path):
    model.save(tmp_path)
    table = pl.DataFrame({"user_id": [1, 1], "item_id": [3, 4]})
    assert cf.load(tmp_path).recommend_for(table, k=5).equals(model.recommend_for(table, k=5))
