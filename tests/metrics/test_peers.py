"""Other libraries as independent judges, where their definitions agree with ours."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from cofactor.evaluation.evaluate import evaluate

K = (1, 5, 10)
N_ITEMS = 40


@pytest.fixture(scope="module")
def case():
    """Lists of 15 of 40 items for 60 users, and 1 to 20 relevant items each."""
    rng = np.random.default_rng(5)
    lists = [(user, item, rank) for user in range(60) for rank, item in enumerate(rng.permutation(N_ITEMS)[:15], 1)]
    test = [(user, item) for user in range(60) for item in rng.permutation(N_ITEMS)[: rng.integers(1, 21)]]
    return (
        pl.DataFrame(lists, schema=["user_id", "item_id", "rank"], orient="row"),
        pl.DataFrame(test, schema=["user_id", "item_id"], orient="row"),
    )


def ours(case, family, **options):
    names = [f"{family}@{k}" for k in K]
    return evaluate(*case, names, per_user=True, **options).select(names).to_numpy().T


@pytest.fixture(scope="module")
def ranx():
    return pytest.importorskip("ranx", reason="ranx is not installed (extra dev)")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("family", "theirs"),
    [
        ("recall", "recall"),
        ("precision", "precision"),
        ("hit_rate", "hit_rate"),
        ("ndcg", "ndcg"),
        ("map_full", "map"),
        ("mrr", "mrr"),
    ],
)
def test_ranx(ranx, case, family, theirs):
    lists, test = case
    qrels, run = {}, {}
    for user, item in test.rows():
        qrels.setdefault(str(user), {})[str(item)] = 1
    for user, item, rank in lists.rows():
        run.setdefault(str(user), {})[str(item)] = 1 / rank
    qrels, run = ranx.Qrels(qrels), ranx.Run(run)
    names = [f"{theirs}@{k}" for k in K]
    ranx.evaluate(qrels, run, names)
    expected = [[run.scores[name][str(user)] for user in range(60)] for name in names]
    np.testing.assert_allclose(ours(case, family), expected, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_ranx_with_grades_and_cut_offs_by_user(ranx, case):
    lists, test = case
    test = test.with_columns(weight=pl.Series(np.random.default_rng(1).integers(1, 6, len(test))))
    qrels, run = {}, {}
    for user, item, weight in test.rows():
        qrels.setdefault(str(user), {})[str(item)] = weight
    for user, item, rank in lists.rows():
        run.setdefault(str(user), {})[str(item)] = 1 / rank
    qrels, run = ranx.Qrels(qrels), ranx.Run(run)
    names = ["ndcg@1", "ndcg@5", "ndcg@10", "r-precision"]
    ranx.evaluate(qrels, run, names)
    expected = [[run.scores[name][str(user)] for user in range(60)] for name in names]
    found = evaluate(lists, test, [f"ndcg_graded@{k}" for k in K] + ["r_precision"], per_user=True)
    np.testing.assert_allclose(found.drop("user_id").to_numpy().T, expected, rtol=1e-12)


def pandas_frame(frame):
    return pytest.importorskip("pandas").DataFrame(frame.to_dict(as_series=False))


@pytest.fixture(scope="module")
def rectools():
    return pytest.importorskip("rectools.metrics", reason="RecTools is not installed (it asks for NumPy below 2)")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("family", "theirs", "options"),
    [
        ("recall", "Recall", {}),
        ("precision", "Precision", {}),
        ("truncated_recall", "Precision", {"r_precision": True}),
        ("hit_rate", "HitRate", {}),
        ("ndcg", "NDCG", {"divide_by_achievable": True}),
        ("ndcg_fixed", "NDCG", {}),
        ("map_full", "MAP", {}),
        ("mrr", "MRR", {}),
    ],
)
def test_rectools(rectools, case, family, theirs, options):
    lists, test = map(pandas_frame, case)
    metrics = [getattr(rectools, theirs)(k=k, **options) for k in K]
    expected = [metric.calc_per_user(lists, test).sort_index().to_numpy() for metric in metrics]
    np.testing.assert_allclose(ours(case, family), expected, rtol=1e-12)


@pytest.mark.filterwarnings("ignore")
def test_rectools_coverage(rectools, case):
    lists, test = case
    expected = [rectools.CatalogCoverage(k=k, normalize=True).calc(pandas_frame(lists), range(N_ITEMS)) for k in K]
    names = [f"coverage@{k}" for k in K]
    np.testing.assert_allclose(evaluate(lists, test, names, n_items=N_ITEMS)["value"], expected)


@pytest.mark.filterwarnings("ignore")
def test_rectools_beyond_accuracy(rectools, case):
    lists, test = case
    rng = np.random.default_rng(2)
    train = [(user, item) for user in range(60) for item in rng.permutation(N_ITEMS)[: rng.integers(1, 9)]]
    train = pl.DataFrame(train, schema=["user_id", "item_id"], orient="row")
    for ours, theirs in (("novelty", "MeanInvUserFreq"), ("mean_popularity", "AvgRecPopularity")):
        found = evaluate(lists, test, f"{ours}@5", train=train, per_user=True)[f"{ours}@5"]
        expected = getattr(rectools, theirs)(k=5).calc_per_user(pandas_frame(lists), pandas_frame(train)).sort_index()
        np.testing.assert_allclose(found, expected)


@pytest.mark.filterwarnings("ignore")
def test_rectools_auc(rectools):
    rng = np.random.default_rng(6)
    lists = pl.DataFrame(
        [(user, item, rank) for user in range(60) for rank, item in enumerate(rng.permutation(N_ITEMS), 1)],
        schema=["user_id", "item_id", "rank"],
        orient="row",
    )
    test = lists.group_by("user_id", maintain_order=True).agg(pl.col("item_id").sample(5, seed=7)).explode("item_id")
    # Their curve goes over the first k items that are not relevant: here over all.
    metric = rectools.PartialAUC(k=N_ITEMS - 5)
    expected = metric.calc_per_user(pandas_frame(lists), pandas_frame(test)).sort_index()
    values = evaluate(lists, test, "auc", n_items=N_ITEMS, per_user=True)["auc"]
    np.testing.assert_allclose(values, expected)


@pytest.mark.filterwarnings("ignore")
def test_implicit(case):
    evaluation = pytest.importorskip("implicit.evaluation", reason="implicit is not installed (extra bench)")
    lists, test = case
    items = lists.sort("user_id", "rank")["item_id"].to_numpy().reshape(60, 15)
    matrix = sparse.csr_matrix((np.ones(len(test)), (test["user_id"], test["item_id"])), shape=(60, N_ITEMS))
    model = SimpleNamespace(recommend=lambda users, _, N: (items[users, :N].astype(np.int32), None))
    n_relevant = test.group_by("user_id").len().sort("user_id")["len"].to_numpy()
    for i, k in enumerate(K):
        theirs = evaluation.ranking_metrics_at_k(model, matrix, matrix, K=k, show_progress=False)
        assert ours(case, "map")[i].mean() == pytest.approx(theirs["map"])
        assert ours(case, "ndcg")[i].mean() == pytest.approx(theirs["ndcg"])
        # Their precision weights users by the relevant items that k places could hold.
        weights = np.minimum(n_relevant, k)
        weighted = np.average(ours(case, "truncated_recall")[i], weights=weights)
        assert weighted == pytest.approx(theirs["precision"])
