"""Item-item factorization on pairs of sessions."""

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.data.sessions import Sessions
from cofactor.errors import DataError, ParameterError


def walks(n_sessions=600, n_items=40, seed=0, length=6):
    """Sessions that go up by one, two types of events."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, n_items, n_sessions)
    items = (first[:, None] + np.arange(length)) % n_items
    frame = pl.DataFrame(
        {
            "session": np.repeat(np.arange(n_sessions), length),
            "item": items.ravel(),
            "type": rng.choice(["clicks", "carts"], n_sessions * length),
        }
    )
    return cf.read_events(frame, user=None, session="session", item="item", event_type="type")


@pytest.fixture(scope="module")
def events():
    return walks()


SMALL = {"factors": 16, "negatives": 16, "batch_size": 64, "epochs": 15}


@pytest.mark.parametrize("loss", ["softmax", "logistic"])
def test_it_learns_what_follows(events, loss):
    model = cf.ItemPairsMF(**SMALL | {"loss": loss}, shared=False, held_out=0.1).fit(events.interactions())
    assert len(model.loss_history_) == len(model.held_out_loss_) == len(model.accuracy_) >= model.epoch_ > 0
    assert model.loss_history_[-1] < model.loss_history_[0]
    assert model.accuracy_.max() > 0.9
    now = pl.DataFrame({"user_id": [1, 2], "item_id": [7, 30]})
    lists = model.recommend_for(now, k=1, exclude_seen=False)
    assert lists["item_id"].to_list() == [8, 31]


def test_shared_vectors_find_neighbours(events):
    model = cf.ItemPairsMF(**SMALL).fit(events)
    assert model.query_factors_.shape == (0, 16)
    table = model.similar_items([10], k=4)
    assert set(table["similar_item_id"]) <= set(range(6, 15))


def test_a_query_is_recent_and_weighted_by_type(events):
    model = cf.ItemPairsMF(**SMALL, recency=0.5, type_weights={"clicks": 1.0, "carts": 6.0}).fit(events)
    v = model.item_factors_
    row = {item: k for k, item in enumerate(model.interactions_.items.ids)}

    def scores(types):
        table = pl.DataFrame({"user_id": [1, 1, 1], "item_id": [3, 20, 3], "event_type": types})
        found = model.recommend_for(table, k=40, exclude_seen=False).sort("item_id")
        return found["score"].to_numpy()

    def wanted(three, twenty):
        u = (three * v[row[3]] + twenty * v[row[20]]) / (three + twenty)
        return (v @ u)[[row[k] for k in range(40)]]

    np.testing.assert_allclose(scores(["clicks", "clicks", "clicks"]), wanted(2, 0.5), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(scores(["carts", "carts", "clicks"]), wanted(7, 3), rtol=1e-4, atol=1e-6)
    with pytest.raises(DataError, match="no weight for events of orders"):
        scores(["orders", "clicks", "clicks"])


def test_pairs_of_ones_own(events):
    x = events.interactions()
    pairs = Sessions.of(x).pairs(2, types=["clicks"], distance_weights=[1, 0.5])
    before = pairs.items.copy()
    one, two = (cf.ItemPairsMF(**SMALL).fit(x, pairs=pairs) for _ in range(2))
    assert np.array_equal(one.item_factors_, two.item_factors_)
    assert np.array_equal(before, pairs.items)  # held-out ones change places in copies
    other = cf.ItemPairsMF(**SMALL).fit(x)
    assert not np.array_equal(one.item_factors_, other.item_factors_)
    with pytest.raises(ParameterError, match="pairs are of other items"):
        cf.ItemPairsMF().fit(x, pairs=walks(n_items=50).sessions().pairs())


def test_all_pairs_where_none_are_held_out(events):
    model = cf.ItemPairsMF(**SMALL | {"epochs": 3}, held_out=0).fit(events)
    assert (model.epoch_, len(model.loss_history_), len(model.accuracy_)) == (3, 3, 0)


def test_a_constant_rate_runs_out_of_patience_and_a_falling_one_comes_to_rest():
    constant, falling = (
        cf.ItemPairsMF(**SMALL | {"epochs": 40}, held_out=0.1, learning_rate=0.1, lr_schedule=one).fit(walks())
        for one in ("constant", "cosine")
    )
    assert len(constant.loss_history_) == constant.epoch_ + constant.patience < 40
    assert len(falling.loss_history_) == 40
    last, before = (np.diff(falling.loss_history_)[part] for part in (slice(-3, None), slice(3)))
    assert abs(last).max() < abs(before).max() / 10
    assert falling.held_out_loss_[falling.epoch_ - 1] == falling.held_out_loss_.min()


def test_sessions_of_one_event_train_nothing():
    model = cf.ItemPairsMF(4).fit(walks(length=1))
    assert model.epoch_ == 0
    assert not model.item_factors_.any()


def test_bots_are_capped_and_told():
    log = pl.DataFrame({"s": [1] * 900 + [2, 2], "i": [*range(9)] * 100 + [3, 4]})
    events = cf.read_events(log, user=None, session="s", item="i")
    with pytest.warns(cf.CofactorWarning, match=r"1 sessions have more than last_events=500 events \(the longest 900"):
        cf.ItemPairsMF(4, epochs=1).fit(events.interactions())


def test_threads_share_the_vectors_on_request():
    model = cf.ItemPairsMF(**SMALL | {"epochs": 3}, deterministic=False, threads=4).fit(walks(6000))
    assert model.accuracy_[-1] > 0.9


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"loss": "bpr"}, "loss must be one of"),
        ({"sampler": "exact"}, "sampler must be one of"),
        ({"optimizer": "sgd"}, "optimizer must be one of"),
        ({"lr_schedule": "plateau"}, "lr_schedule must be one of"),
        ({"recency": 0}, "above 0"),
        ({"recency": 1.5}, "at most 1"),
        ({"held_out": 0.6}, "at most 0.5"),
        ({"batch_size": 1}, "batch_size must be"),
        ({"batch_size": 10_000}, "at most 8192"),
        ({"negatives": 256}, "fewer than batch_size=256"),
        ({"type_weights": {"clicks": 0}}, "above 0"),
        ({"type_weights": [1]}, "must be a mapping"),
        ({"shared": 1}, "shared must be True or False"),
        ({"device": "abacus"}, "has no kernels"),
    ],
)
def test_what_cannot_be_asked(events, asked, told):
    with pytest.raises(ParameterError, match=told):
        cf.ItemPairsMF(**asked).fit(events)
