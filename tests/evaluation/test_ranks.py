"""Models that tell ranks of single items make no complete lists, and nobody sees a difference in the values."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cofactor as cf
from cofactor import metrics
from cofactor.data.ids import IdMap
from cofactor.data.interactions import Interactions
from cofactor.evaluation.evaluate import evaluate
from cofactor.evaluation.measure import measure
from cofactor.kernels.cpu import Kernels
from cofactor.kernels.csr import CSR
from cofactor.metrics.kinds import Kind, Needs
from cofactor.models.base.factor import FactorModel

NAMES = ["map@3", "mrr", "auc", "recall@2", "ndcg@5", "coverage@2"]


class Both(FactorModel):
    """Vectors that a test sets; notes how long the lists are that it is asked for, and whether for ranks."""

    def fit(self, interactions, *, progress=None):
        raise NotImplementedError

    def _fold_in(self, histories):
        raise NotImplementedError

    @classmethod
    def of(cls, user_items, users, items, item_ids=None):
        model = cls()
        ids = IdMap(pl.Series(range(len(items)) if item_ids is None else item_ids))
        model.interactions_ = Interactions.from_csr(user_items, items=ids)
        model.user_factors_, model.item_factors_ = users.astype(np.float32), items.astype(np.float32)
        model.asked = []
        return model

    def recommend(self, users=None, k=10, **options):
        self.asked.append(k)
        return super().recommend(users, k, **options)

    def ranks(self, users, wanted, **options):
        self.asked.append("ranks")
        return super().ranks(users, wanted, **options)


class Listing(Both):
    """The same, but nobody knows whether its ranks are those of these lists."""

    def recommend(self, users=None, k=10, **options):
        return super().recommend(users, k, **options)


@st.composite
def cases(draw):
    """Whole vectors, full of ties; users without history, items and users unknown to the model; ids in any order."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_users, n_items, factors = draw(st.integers(1, 12)), draw(st.integers(1, 30)), draw(st.integers(1, 3))
    rows, columns = np.nonzero(rng.random((n_users, n_items)) < draw(st.sampled_from([0.1, 0.3])))
    seen = CSR.from_pairs(rows, columns, np.ones(len(rows)), (n_users, n_items))
    vectors = (rng.integers(-1, 2, (n, factors)) for n in (n_users, n_items))
    user, item = np.nonzero(rng.random((n_users + 2, n_items + 3)) < 0.3)
    ids = [f"{i:02}" for i in range(n_items + 3)]
    known = sorted(rng.choice(ids, n_items, replace=False))
    test = pl.DataFrame({"user_id": user, "item_id": pl.Series(ids).gather(item)})
    if draw(st.booleans()):
        test = test.cast({"item_id": pl.Enum(rng.permutation(ids))})  # sorted by place among the categories
    return (seen, *vectors, known), test


def values(model, test, names, **options):
    try:
        return measure(model, test, names, **options).values
    except cf.DataError as error:
        return str(error)


def assert_same(got, wanted):
    assert type(got) is type(wanted)
    if isinstance(got, str):
        assert got == wanted
        return
    assert list(got) == list(wanted)
    for name in got:
        np.testing.assert_array_equal(got[name], wanted[name])


@settings(max_examples=100)
@given(
    cases(),
    st.lists(st.sampled_from(NAMES), min_size=1, unique=True),
    st.booleans(),
    st.sampled_from(["exclude", "zero"]),
)
def test_values_are_those_of_complete_lists(case, names, exclude_seen, unknown_users):
    arrays, test = case
    if not len(test):
        return
    options = {"exclude_seen": exclude_seen, "unknown_users": unknown_users}
    told, listed = Both.of(*arrays), Listing.of(*arrays)
    assert_same(values(told, test, names, **options), values(listed, test, names, **options))
    assert "ranks" not in listed.asked


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    rows, columns = np.nonzero(rng.random((9, 40)) < 0.2)
    seen = CSR.from_pairs(rows, columns, np.ones(len(rows)), (9, 40))
    return seen, rng.standard_normal((9, 3)), rng.standard_normal((40, 3))


@pytest.fixture
def test():
    user, item = np.nonzero(np.random.default_rng(1).random((9, 40)) < 0.1)
    return pl.DataFrame({"user_id": user, "item_id": item})


@pytest.mark.parametrize("names", ["auc", "mrr", ["recall@3", "auc"], "map@40", ["map@10", "mrr", "auc"]])
def test_no_list_is_made_for_what_ranks_tell(arrays, test, names, monkeypatch):
    monkeypatch.delattr(Kernels, "top_k")
    model = Both.of(*arrays)
    assert evaluate(model, test, names, exclude_seen=False)["value"].is_between(0, 1).all()
    assert model.asked == ["ranks"]


def test_lists_are_made_for_what_they_alone_tell(arrays, test):
    model = Both.of(*arrays)
    evaluate(model, test, ["auc", "coverage@3", "recall@7"], exclude_seen=False)
    assert model.asked == ["ranks", 3]
    assert evaluate(model, test, ["auc", "coverage@3"], exclude_seen=False)["value"].to_list() == [
        evaluate(model, test, name, exclude_seen=False)["value"].item() for name in ("auc", "coverage@3")
    ]


def test_short_lists_are_quicker_than_ranks(arrays, test):
    model = Both.of(*arrays)
    evaluate(model, test, ["recall@10", "map@39"], exclude_seen=False)
    assert model.asked == [39]


def test_users_are_asked_about_in_batches(arrays, test, monkeypatch):
    model = Both.of(*arrays)
    whole = evaluate(model, test, NAMES, exclude_seen=False)
    monkeypatch.setattr("cofactor.evaluation.lists.USERS_PER_BATCH", 4)
    model.asked.clear()
    assert evaluate(model, test, NAMES, exclude_seen=False).equals(whole)
    assert model.asked.count("ranks") == 3


def test_who_changes_recommend_alone_is_asked_for_lists(arrays, test):
    class Reversed(Both):
        def recommend(self, users=None, k=10, **options):
            lists = super().recommend(users, k, **options)
            return lists.with_columns(rank=pl.len().over("user_id") + 1 - pl.col("rank"), score=-pl.col("score"))

    plain = evaluate(Both.of(*arrays), test, "auc", per_user=True, exclude_seen=False)
    turned = evaluate(Reversed.of(*arrays), test, "auc", per_user=True, exclude_seen=False)
    np.testing.assert_allclose(turned["auc"], 1 - plain["auc"], atol=1e-12)


def test_who_changes_recommend_of_one_object_is_asked_for_lists(arrays, test):
    model = Both.of(*arrays)
    asked, lists = [], model.recommend
    model.recommend = lambda users, k, exclude_seen: asked.append(k) or lists(users, k, exclude_seen=exclude_seen)
    evaluate(model, test, "auc", exclude_seen=False)
    assert asked == [40]


@pytest.mark.parametrize("changed", ["_nearest", "_top_k"])
def test_factors_whose_lists_are_made_otherwise_have_the_ranks_of_those(arrays, changed):
    class Backwards(Both):
        pass

    def of_opposite_vectors(self, first, *rest):
        first = -first if changed == "_nearest" else first[::-1]
        return getattr(super(Backwards, self), changed)(first, *rest)

    setattr(Backwards, changed, of_opposite_vectors)
    seen, users, items = arrays
    wanted = CSR.one_each(np.arange(9, dtype=np.int32), 40)
    nothing = {"exclude_seen": False}
    got = Backwards.of(*arrays).ranks(np.arange(9), wanted, **nothing)
    opposite = Both.of(seen, -users if changed == "_nearest" else users[::-1].copy(), items)
    for one, other in zip(got, opposite.ranks(np.arange(9), wanted, **nothing), strict=True):
        np.testing.assert_array_equal(one, other)


class Lengths(Kind):
    """How long the complete lists are: a kind of its own that reads them."""

    per_user = False

    class reader:
        def __init__(self, trial, metrics):
            self.n = 0

        def add(self, lists):
            self.n += len(lists)

        def finish(self):
            return self.n

    def written(self, family):
        return family

    def read_k(self, name):
        return None

    def needs(self, k):
        return Needs(complete=True)

    def compute(self, reading, k):
        return float(reading)


def test_a_kind_that_reads_complete_lists_gets_them(arrays, test, monkeypatch):
    monkeypatch.setitem(metrics.METRICS, "lengths", Lengths())
    model = Both.of(*arrays)
    auc = evaluate(model, test, "auc", exclude_seen=False)["value"].item()
    model.asked.clear()
    found = evaluate(model, test, ["lengths", "auc"], exclude_seen=False)["value"].to_list()
    assert found == [40 * test["user_id"].n_unique(), auc]
    assert model.asked == [40]


@pytest.mark.parametrize("names", ["auc", "recall@3"])
def test_a_bar_is_shown_where_it_is_wanted(arrays, test, names, capfd):
    evaluate(Both.of(*arrays), test, names, exclude_seen=False)
    evaluate(Both.of(*arrays), test, names, exclude_seen=False, progress=False)
    assert capfd.readouterr().err == ""
    evaluate(Both.of(*arrays), test, names, exclude_seen=False, progress=True)
    assert f"/{test['user_id'].n_unique()}" in capfd.readouterr().err


def test_mrr_is_of_all_places_in_tables_too():
    table = pl.DataFrame({"user_id": [1, 1, 1], "item_id": [7, 8, 9], "rank": [1, 2, 3]})
    pairs = pl.DataFrame({"user_id": [1, 2], "item_id": [9, 7]})
    assert evaluate(table, pairs, ["mrr", "mrr@2"])["value"].to_list() == [(1 / 3 + 0) / 2, 0]


def test_an_empty_list_is_told(arrays, test):
    seen, users, items = arrays
    nobody = CSR.from_pairs([], [], [], seen.shape)
    with pytest.warns(cf.CofactorWarning, match="Both listed no item for any test user"):
        assert evaluate(Both.of(nobody, users, items), test, "mrr")["value"].item() == 0
