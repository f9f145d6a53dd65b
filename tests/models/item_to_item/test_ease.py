"""EASE against its equations in dense float64, its gradient, and RecTools."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import cofactor as cf
from cofactor.kernels import blas
from cofactor.kernels.cpu import Kernels
from cofactor.kernels.csr import CSR
from cofactor.models.item_to_item import ease

OPTIONS = {
    "plain": {},
    "grows with popularity": {"regularization_exponent": 0.5},
    "dropout": {"dropout": 0.4},
    "weighted users": {"user_exponent": 0.7},
    "popular items cost": {"popularity_exponent": 0.3},
    "binary": {"weights": "binary"},
    "all": {"regularization_exponent": 0.3, "dropout": 0.2, "user_exponent": 0.4, "popularity_exponent": 0.2},
}


def dense(x):
    return x.user_items.to_scipy().toarray().astype(np.float64)


def problem(x, regularization, regularization_exponent=0.0, dropout=0.0, user_exponent=0.0, weights="given", **_):
    """Histories, user weights and the regularization of items."""
    h = dense(x)
    if weights == "binary":
        h = (h > 0).astype(np.float64)
    w = np.maximum((h > 0).sum(axis=1), 1.0) ** -user_exponent
    g = w @ h**2
    return h, w, regularization * np.where(g > 0, g, 1) ** regularization_exponent + dropout / (1 - dropout) * g, g


def weights_of(x, regularization, popularity_exponent=0.0, **options):
    h, w, penalty, g = problem(x, regularization, **options)
    p = np.linalg.inv(h.T @ (w[:, None] * h) + np.diag(penalty))
    b = -p / p.diagonal()
    np.fill_diagonal(b, 0)
    return b * np.where(g > 0, g, 1) ** -popularity_exponent


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_weights_are_those_of_the_equations(interactions, options):
    model = cf.EASE(5.0, form="primal", **options).fit(interactions)
    np.testing.assert_allclose(model.item_weights_, weights_of(interactions, 5.0, **options), atol=2e-6)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_dual_form_is_the_same_model(interactions, options):
    primal, dual = (cf.EASE(5.0, form=form, **options).fit(interactions) for form in ("primal", "dual"))
    everything = interactions.users.ids.to_frame("user_id").join(
        interactions.items.ids.to_frame("item_id"), how="cross"
    )
    close = {"abs_tol": 1e-4, "rel_tol": 1e-4}
    assert_frame_equal(dual.predict(everything), primal.predict(everything), **close)
    new = pl.DataFrame({"user_id": [1, 1, 1, 2], "item_id": [3, 8, 11, 0], "weight": [1.0, 2.5, 1.0, 4.0]})
    for ask in (
        lambda model: model.recommend(k=4),
        lambda model: model.recommend_for(new, k=4, exclude_seen=False),
        lambda model: model.similar_items(k=3),
    ):
        assert_frame_equal(ask(dual), ask(primal), **close)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_gradient_is_zero_and_no_change_is_better(interactions, options):
    options = {k: v for k, v in options.items() if k != "popularity_exponent"}
    h, w, penalty, _ = problem(interactions, 5.0, **options)
    b = cf.EASE(5.0, form="primal", **options).fit(interactions).item_weights_.astype(np.float64)
    assert (b.diagonal() == 0).all()
    gradient = -h.T @ (w[:, None] * (h - h @ b)) + penalty[:, None] * b
    np.fill_diagonal(gradient, 0)
    assert np.abs(gradient).max() < 1e-3

    def loss(b):
        return (w[:, None] * (h - h @ b) ** 2).sum() + (penalty[:, None] * b**2).sum()

    rng, least = np.random.default_rng(0), loss(b)
    for _ in range(64):
        change = rng.standard_normal(b.shape) * 0.01
        np.fill_diagonal(change, 0)
        assert loss(b + change) > least


@pytest.mark.parametrize("form", ["primal", "dual"])
@pytest.mark.parametrize("options", [{}, OPTIONS["all"]], ids=["plain", "all"])
@pytest.mark.parametrize("top_n", [1, 6, 1000])
def test_truncated_weights_are_the_largest_of_each_column(interactions, form, options, top_n, monkeypatch):
    monkeypatch.setattr(ease, "_TRUNCATED_ROWS", 7)
    model = cf.EASE(5.0, form=form, top_n=top_n, **options).fit(interactions)
    wanted = weights_of(interactions, 5.0, **options)
    least = np.sort(np.abs(wanted), axis=0)[-min(top_n, 39)]
    wanted[np.abs(wanted) < least] = 0
    np.testing.assert_allclose(model.item_weights_.to_scipy().toarray(), wanted, atol=3e-5)
    assert not hasattr(model, "user_inverse_")


def test_auto_inverts_the_smaller_matrix(interactions):
    wide = cf.Interactions.from_csr(interactions.user_items.transposed())
    assert cf.EASE(5.0).fit(interactions).item_weights_.shape == (40, 40)
    assert cf.EASE(5.0).fit(wide).user_inverse_.shape == (40, 40)


def test_a_form_leaves_nothing_of_the_other_behind(interactions):
    model = cf.EASE(5.0, form="dual").fit(interactions)
    model.recommend(k=2)
    model.form = "primal"
    fresh = cf.EASE(5.0, form="primal").fit(interactions)
    assert_frame_equal(model.fit(interactions).recommend(), fresh.recommend())
    assert {n for n in vars(model) if n.endswith("_")} == {"item_weights_", "interactions_"}


@pytest.mark.parametrize("form", ["primal", "dual"])
def test_lists_do_not_depend_on_threads(interactions, form):
    one, many = (cf.EASE(5.0, form=form, threads=threads).fit(interactions) for threads in (1, 5))
    assert_frame_equal(one.recommend(), many.recommend(), rel_tol=1e-4, abs_tol=1e-4)  # BLAS has sums of its own


@pytest.mark.parametrize("form", ["primal", "dual"])
def test_items_without_users_and_users_without_items(form):
    x = cf.Interactions.from_csr(CSR.from_pairs([0, 0, 2], [0, 1, 1], [1, 1, 1], (4, 5)))
    model = cf.EASE(0.5, regularization_exponent=0.5, form=form, dropout=0.1, popularity_exponent=1.0).fit(x)
    table = model.recommend(exclude_seen=False, k=5)
    assert table["user_id"].unique(maintain_order=True).to_list() == [0, 2]
    assert table.filter(pl.col("item_id") > 1)["score"].unique().to_list() == [0]


@pytest.mark.parametrize("form", ["primal", "dual"])
def test_too_little_regularization_is_an_error(form):
    x = cf.Interactions.from_csr(CSR.from_pairs(*np.nonzero(np.ones((50, 40))), np.ones(2000), (50, 40)))
    with pytest.raises(cf.CofactorError, match="regularization=1e-06 is too small"):
        cf.EASE(1e-6, form=form).fit(x)
    cf.EASE(1.0, form=form).fit(x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"regularization": 0}, "regularization must be a finite number above 0, got 0"),
        ({"dropout": 1.0}, "dropout must be below 1, got 1.0"),
        ({"dropout": -0.1}, "dropout must be a finite number of at least 0"),
        ({"user_exponent": float("nan")}, "user_exponent must be a finite number"),
        ({"weights": "log"}, "weights must be one of 'given', 'binary', got 'log'"),
        ({"form": "both"}, "form must be one of 'auto', 'primal', 'dual', got 'both'"),
        ({"top_n": 0}, "top_n must be a whole number of at least 1, got 0"),
        ({"threads": 0}, "threads must be"),
    ],
)
def test_bad_parameters(interactions, options, message):
    with pytest.raises(cf.ParameterError, match=message):
        cf.EASE(**options).fit(interactions)


def test_what_does_not_fit_is_refused_with_its_size_and_the_way_out(monkeypatch):
    x = cf.Interactions.from_csr(CSR.from_pairs([0], [0], [1], (40_000, 80_000)))
    monkeypatch.setattr("cofactor.system.memory.available_memory", lambda: 2**30)
    monkeypatch.setattr(Kernels, "sparse_product", None)  # nothing may start
    with pytest.raises(
        cf.ParameterError, match=r"primal form, on 40,000 users and 80,000 items needs 2\d\.\d GiB"
    ) as e:
        cf.EASE(form="primal").fit(x)
    assert 'form="dual" (6.' in str(e.value)
    with pytest.raises(cf.ParameterError, match=r"dual form.* needs 6\.\d GiB .*filter\(.*SLIM") as e:
        cf.EASE().fit(x)
    assert "primal" not in str(e.value)


def test_weights_and_lists_are_those_of_rectools():
    """Its weights are ours. Its lists (0.19) come of histories times the transposed weights, ours of the weights."""
    pd = pytest.importorskip("pandas")
    models = pytest.importorskip("rectools.models")
    from rectools import Columns
    from rectools.dataset import Dataset

    x = cf.datasets.synthetic(600, 400, 15_000, factors=8, seed=1)
    frame = x.to_frame().select("user_id", "item_id")
    frame = frame.filter(pl.len().over("user_id") <= 390)  # users for whom ten items are left
    x = cf.Interactions.from_frame(frame)  # without the weights
    table = pd.DataFrame({Columns.User: frame["user_id"].to_numpy(), Columns.Item: frame["item_id"].to_numpy()})
    data = Dataset.construct(table.assign(**{Columns.Weight: 1.0, Columns.Datetime: "2020-01-01"}))
    peer = models.EASEModel(regularization=50.0).fit(data)
    rows = data.item_id_map.convert_to_internal(x.items.ids.to_numpy())
    model = cf.EASE(50.0, form="primal").fit(x)
    weights = peer.weight[np.ix_(rows, rows)]
    np.testing.assert_allclose(model.item_weights_, weights, atol=1e-5)

    def lists(table):
        return table.select("user_id", "item_id").group_by("user_id").agg("item_id").sort("user_id")["item_id"]

    theirs = peer.recommend(users=x.users.ids.to_numpy(), dataset=data, k=10, filter_viewed=True)
    theirs = lists(pl.DataFrame({c: theirs[c].to_numpy() for c in ("user_id", "item_id")}))
    scores = np.where(dense(x) > 0, -np.inf, dense(x) @ weights)
    best = x.items.take(np.argsort(-scores, axis=1, kind="stable")[:, :10].ravel()).reshape((-1, 10)).to_list()
    dual = cf.EASE(50.0, form="dual").fit(x)
    for mine in (model, dual):
        assert np.mean([a == b for a, b in zip(lists(mine.recommend(k=10)).to_list(), best, strict=True)]) > 0.999
    model.item_weights_ = np.ascontiguousarray(model.item_weights_.T)
    assert (lists(model.recommend(k=10)) == theirs).mean() > 0.999


def test_weights_are_those_of_irspack(interactions):
    irspack = pytest.importorskip("irspack")
    peer = irspack.DenseSLIMRecommender(interactions.user_items.to_scipy(), reg=5.0).learn()
    model = cf.EASE(5.0, form="primal").fit(interactions)
    np.testing.assert_allclose(model.item_weights_, peer.W, atol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 65, 200, 300])
def test_invert(n, monkeypatch):
    monkeypatch.setattr(blas, "_BLOCK", 64)
    monkeypatch.setattr(blas, "_STRIP", 24)
    rng = np.random.default_rng(n)
    a = rng.standard_normal((n, 2 * n))
    a = a @ a.T + np.eye(n)
    inverse = a.astype(np.float32)
    inverse[np.triu_indices(n, 1)] = np.nan
    assert blas.invert(inverse, threads=2)
    np.testing.assert_allclose(np.tril(inverse), np.tril(np.linalg.inv(a)), atol=1e-4)


@pytest.mark.parametrize("at", [0, 70, 199])
def test_what_is_not_positive_definite_is_not_inverted(at, monkeypatch):
    monkeypatch.setattr(blas, "_BLOCK", 64)
    a = np.eye(200, dtype=np.float32)
    a[at, at] = -1
    assert not blas.invert(a)


def test_threads_are_taken_and_given_back():
    before = [get() for get, _ in blas._controls()]
    with blas.limited(1):
        assert all(get() == 1 for get, _ in blas._controls())
    assert [get() for get, _ in blas._controls()] == before
