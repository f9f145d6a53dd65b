import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.errors import CofactorWarning, DataError, ParameterError
from cofactor.evaluation.measure import measure
from cofactor.evaluation.paired import paired_tests, significance

COLUMNS = ["model_a", "model_b", "metric", "difference", "low", "high", "p_value", "p_holm", "p_wilcoxon", "users"]


def scores(n=400, shift=0.0, seed=0):
    """Values of users, part of which any two such tables share."""
    users = np.random.default_rng(99).random(n)
    own = np.random.default_rng(seed).random(n)
    return pl.DataFrame({"user_id": range(n), "ndcg@10": 0.8 * users + 0.2 * own + shift, "hit_rate@1": own > 0.5})


RESULTS = {"a": scores(), "b": scores(seed=3), "c": scores(shift=0.05, seed=2)}


def test_one_is_better_and_two_are_alike():
    found = paired_tests(RESULTS, metrics="ndcg@10")
    assert found.columns == [*COLUMNS, "different"]
    assert found.select("model_a", "model_b", "different").rows() == [
        ("a", "b", False),
        ("a", "c", True),
        ("b", "c", True),
    ]
    a, c = RESULTS["a"]["ndcg@10"], RESULTS["c"]["ndcg@10"]
    row = found.row(1, named=True)
    assert row["difference"] == pytest.approx((a - c).mean())
    assert row["low"] < row["difference"] < row["high"] < 0
    assert row["users"] == 400
    assert (found["p_holm"] >= found["p_value"]).all()


def test_intervals_of_single_models_overlap_where_a_pair_differs():
    """What pairing is for."""
    users = {name: table["ndcg@10"] for name, table in RESULTS.items()}
    half = 2 * users["a"].std() / 20
    assert users["c"].mean() - users["a"].mean() < 2 * half


def test_against_a_baseline_fewer_pairs_are_corrected_for():
    found = paired_tests(RESULTS, metrics="ndcg@10", baseline="b")
    assert found.select("model_a", "model_b").rows() == [("a", "b"), ("c", "b")]
    assert found["difference"][1] > 0
    every = paired_tests(RESULTS, metrics="ndcg@10")
    assert found["p_holm"][1] < every["p_holm"][2]


def test_metrics_are_families_of_their_own():
    tables = {name: t.with_columns(pl.col("hit_rate@1").cast(pl.Float64)) for name, t in RESULTS.items()}
    both = paired_tests(tables)
    assert both["metric"].unique(maintain_order=True).to_list() == ["ndcg@10", "hit_rate@1"]
    assert both.filter(metric="ndcg@10").equals(paired_tests(tables, metrics="ndcg@10"))


def test_models_and_tables_are_measured_on_one_test():
    x = cf.datasets.synthetic(60, 30, 900, seed=0)
    test = pl.DataFrame({"user_id": x.users.ids[:40], "item_id": x.items.ids[[1] * 20 + [2] * 20]})
    popular, random = cf.Popular().fit(x), cf.Random(seed=0).fit(x)
    lists = random.recommend(k=10)
    with pytest.warns(CofactorWarning, match="test pairs were in the training data of a model"):
        found = paired_tests({"p": popular, "r": random, "lists": lists}, test, "recall@10")
    assert found["users"].unique().to_list() == [40 - n_seen(x, test)]
    assert found.row(2, named=True)["difference"] == 0
    assert found.row(2, named=True)["p_value"] == found.row(2, named=True)["p_wilcoxon"] == 1
    kept = test.join(x.to_frame(), on=["user_id", "item_id"], how="anti")
    values = {name: measure(m, kept, "recall@10") for name, m in (("p", popular), ("r", random))}
    expected = values["p"].values["recall@10"].mean() - values["r"].values["recall@10"].mean()
    assert found["difference"][0] == pytest.approx(expected)
    assert significance(values, "recall@10").row(0)[3] == pytest.approx(expected)


def n_seen(x, test):
    return test.join(x.to_frame(), on=["user_id", "item_id"], how="semi").height


def test_users_whom_only_one_model_knows_count_for_both():
    train = pl.DataFrame({"user_id": [1, 1, 2, 3], "item_id": [10, 20, 30, 40]})
    x = cf.Interactions.from_frame(train)
    model = cf.Popular().fit(x)
    test = pl.DataFrame({"user_id": [1, 2, 9], "item_id": [30, 40, 10]})
    lists = pl.DataFrame({"user_id": [9], "item_id": [10], "rank": [1]})
    found = paired_tests({"model": model, "lists": lists}, test, "recall@1")
    assert found["users"].item() == 3


def test_of_one_model_there_is_nothing_to_test():
    table = significance({"only": None}, "ndcg@10")
    assert table.columns == [*COLUMNS, "different"]
    assert table.is_empty()


def test_users_in_one_table_only_are_counted():
    fewer = RESULTS | {"c": RESULTS["c"].head(390).sample(fraction=1.0, shuffle=True, seed=0)}
    with pytest.warns(CofactorWarning, match=r"10 of 400 users have no value of ndcg@10 in 'a' or in 'c'.*other pairs"):
        found = paired_tests(fewer, metrics="ndcg@10")
    assert found["users"].to_list() == [400, 390, 390]
    a, c = RESULTS["a"]["ndcg@10"][:390], RESULTS["c"]["ndcg@10"][:390]
    assert found["difference"][1] == pytest.approx((a - c).mean())


def test_values_that_are_missing_are_counted():
    holes = RESULTS["a"].with_columns(pl.when(pl.col("user_id") > 2).then("ndcg@10").alias("ndcg@10"))
    with pytest.warns(CofactorWarning, match="3 of 400 users have no value"):
        assert paired_tests({"a": holes, "b": RESULTS["b"]}, metrics="ndcg@10")["users"].item() == 397


@pytest.mark.parametrize(
    ("results", "options", "message"),
    [
        ({"a": scores()}, {}, "at least two models by name"),
        ([scores(), scores()], {}, "a mapping with at least two"),
        ({"a": scores(), 3: scores()}, {}, "names are texts"),
        (RESULTS, {"baseline": "zzz"}, "baseline: 'zzz' is not among the results; there are: a, b, c"),
        ({"popular": scores(), "ials": scores()}, {"baseline": "populr"}, "did you mean popular"),
        (RESULTS, {"metrics": "ndgc@10"}, "did you mean ndcg@10"),
        (RESULTS, {"confidence": 95}, "confidence"),
        (RESULTS, {"n_resamples": 3}, "n_resamples"),
        (RESULTS, {"seed": -1}, "seed"),
        (RESULTS, {"exclude_seen": "no"}, "exclude_seen"),
        (RESULTS | {"d": cf.Popular()}, {}, "'d' is a model; pass test="),
        (RESULTS | {"d": {"user_id": [1], "item_id": [1], "rank": [1]}}, {}, "is a table of recommendations; pass"),
        ({"a": scores().select("user_id"), "b": scores()}, {}, "share no metric"),
    ],
)
def test_what_makes_no_sense_is_refused(results, options, message):
    with pytest.raises(ParameterError, match=message):
        paired_tests(results, **options)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pl.concat([scores(), scores().head(2)]), r"results\['b'\]: 2 row\(s\) repeat a user, the first: 0"),
        (scores().rename({"user_id": "user"}), r"results\['b'\]: no column user_id"),
        (scores().with_columns(pl.col("user_id") + 1000), "share 0 user"),
        (scores().with_columns(pl.col("user_id").cast(pl.String)), "user_id is Int64 in 'a', String in 'b'"),
        (scores().head(1), "share 1 user"),
    ],
)
def test_tables_that_are_wrong_are_refused(table, message):
    with pytest.raises(DataError, match=message):
        paired_tests({"a": scores(), "b": table}, metrics="ndcg@10")


def test_weights_of_the_test_count_though_some_of_it_was_seen():
    """The same values as of a test without what was seen."""
    x = cf.datasets.synthetic(60, 30, 900, seed=0)
    test = x.to_frame().sample(80, seed=1).select("user_id", "item_id", weight=pl.Series(range(1, 81)))
    train = cf.Interactions.from_frame(x.to_frame().join(test.tail(70), on=["user_id", "item_id"], how="anti"))
    model = cf.Popular().fit(train)
    results = {"model": model, "table": model.recommend(k=5), "random": cf.Random().fit(train)}
    with pytest.warns(CofactorWarning, match="10 of 80 test pairs were in the training data of a model"):
        found = paired_tests(results, test, "ndcg_graded@5")
    assert found.equals(paired_tests(results, test.tail(70), "ndcg_graded@5"))
    assert not found.equals(paired_tests(results, test.tail(70).with_columns(weight=1), "ndcg_graded@5"))
    assert found["difference"][0] == 0


def test_a_metric_of_no_single_user_is_refused():
    x = cf.datasets.synthetic(60, 30, 900, seed=0)
    with pytest.raises(ParameterError, match="metrics: coverage@5 has no value of single users"):
        paired_tests({"p": cf.Popular().fit(x), "r": cf.Random().fit(x)}, x, "coverage@5", exclude_seen=False)


def test_equal_models_are_rarely_called_different():
    """At most 5 % and noise: 3 models, hits of probabilities that users share, at 40 and 3,000 users."""
    rng = np.random.default_rng(0)
    wrong, families = 0, 0
    for n in (40, 3000):
        for _ in range(60):
            p = rng.beta(0.4, 2, n)
            results = {
                name: pl.DataFrame({"user_id": range(n), "hit_rate@10": rng.binomial(10, p) / 10}) for name in "abc"
            }
            wrong += paired_tests(results, n_resamples=1500)["different"].any()
            families += 1
    assert wrong <= 0.05 * families + 2 * np.sqrt(0.05 * 0.95 * families)
