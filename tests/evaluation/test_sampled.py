import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.errors import CofactorWarning, DataError, ParameterError
from cofactor.evaluation.sampled import sampled_candidates, without_label

RNG = np.random.default_rng(0)
X = cf.Interactions.from_frame(
    pl.DataFrame({"user_id": RNG.integers(0, 80, 3000), "item_id": RNG.integers(0, 200, 3000)})
)
SEEN = X.to_frame().select("user_id", "item_id")


def held_out(n_users=40, seed=0):
    rng = np.random.default_rng(seed)
    drawn = pl.DataFrame(
        {"user_id": X.users.ids[:n_users], "item_id": X.items.ids.gather(rng.integers(0, 200, n_users))}
    )
    return pl.concat([drawn, drawn.with_columns(pl.col("item_id").reverse())]).unique(maintain_order=True)


TEST = held_out()


@pytest.mark.parametrize("sampler", ["uniform", "popularity"])
@pytest.mark.parametrize("n", [1, 12])
def test_negatives_are_new_distinct_and_as_many(sampler, n):
    found = sampled_candidates(X, TEST, n, sampler=sampler, seed=3).table
    assert not found.is_duplicated().any()
    assert TEST.join(found, on=["user_id", "item_id"], how="anti").is_empty()
    drawn = found.join(TEST, on=["user_id", "item_id"], how="anti")
    assert drawn.join(SEEN, on=["user_id", "item_id"], how="semi").is_empty()
    assert drawn.group_by("user_id").len()["len"].to_list() == [n] * 40


def test_seeds_decide():
    one, same, other = (sampled_candidates(X, TEST, 9, seed=seed).table for seed in (1, 1, 2))
    assert one.equals(same)
    assert not one.equals(other)


def test_uniform_is_uniform_and_popularity_is_not():
    """Two items, one that everybody else has and one that a single user has, for users with neither."""
    train = pl.DataFrame({"user_id": [*range(90), 95], "item_id": [1] * 90 + [2]})
    train = pl.concat([train, pl.DataFrame({"user_id": range(100, 1100), "item_id": [3] * 1000})])
    x = cf.Interactions.from_frame(train)
    test = pl.DataFrame({"user_id": range(100, 1100), "item_id": [4] * 1000})
    share = {
        sampler: (sampled_candidates(x, test, 1, sampler=sampler).table["item_id"] == 1).sum() / 1000
        for sampler in ("uniform", "popularity")
    }
    assert share["uniform"] == pytest.approx(0.5, abs=0.06)
    assert share["popularity"] == pytest.approx(90 / 91, abs=0.02)


@pytest.mark.parametrize("sampler", ["uniform", "popularity"])
def test_who_lacks_items_gets_all_there_are(sampler):
    with pytest.warns(CofactorWarning, match="40 users have fewer than n=200 items left"):
        found = sampled_candidates(X, TEST, 200, sampler=sampler).table
    everything = X.users.ids[:40].to_frame("user_id").join(X.items.ids.to_frame("item_id"), how="cross")
    left = everything.join(
        SEEN.join(TEST, on=["user_id", "item_id"], how="anti"), on=["user_id", "item_id"], how="anti"
    )
    assert found.sort("user_id", "item_id").equals(left.sort("user_id", "item_id"))


def test_users_and_items_that_train_does_not_know_keep_their_pairs():
    strange = pl.concat([TEST.head(3), pl.DataFrame({"user_id": [9999, 0], "item_id": [3, 9999]})])
    found = sampled_candidates(X, strange, 5).table
    assert found.filter(user_id=9999).rows() == [(9999, 3)]
    result = cf.evaluate(cf.Popular().fit(X), strange, candidates=sampled_candidates(X, strange, 5))
    assert result["n_unknown_users"][0] == 1


def test_metrics_are_named_for_what_they_are():
    candidates = sampled_candidates(X, TEST, 12)
    model = cf.Popular().fit(X)
    found = cf.evaluate(model, TEST, ["recall@3", "auc"], candidates=candidates)
    assert found["metric"].to_list() == ["recall@3 (sampled, 12 negatives)", "auc (sampled, 12 negatives)"]
    plain = cf.evaluate(model, TEST, ["recall@3", "auc"], candidates=candidates.table)
    assert found["value"].to_list() == plain["value"].to_list()
    per_user = cf.evaluate(
        model, TEST, "mrr@3", candidates=sampled_candidates(X, TEST, 1, sampler="popularity"), per_user=True
    )
    assert per_user.columns == ["user_id", "mrr@3 (sampled by popularity, 1 negative)"]
    slices = cf.evaluate(model, TEST, "recall@3", candidates=candidates, by="activity")
    assert slices["metric"].unique().to_list() == ["recall@3 (sampled, 12 negatives)"]
    assert [without_label(name) for name in found["metric"]] == ["recall@3", "auc"]
    assert without_label("ndcg@10") == "ndcg@10"
    assert repr(candidates) == f"SampledCandidates: {candidates.table.height} of 40 users (sampled, 12 negatives)"


def test_a_leaderboard_is_sorted_by_the_name_that_says_so(tmp_path):
    candidates = sampled_candidates(X, TEST, 12)
    models = {"random": cf.Random(seed=1), "popular": cf.Popular(), "ease": cf.EASE(10.0)}
    options = {"candidates": candidates, "significance": True, "intervals": True, "folder": tmp_path / "kept"}
    board = cf.compare(models, X, TEST, ["ndcg@5", "recall@5"], **options)
    name = "ndcg@5 (sampled, 12 negatives)"
    assert board.columns[1] == name
    assert board[name].is_sorted(descending=True)
    assert cf.compare(models, X, TEST, ["ndcg@5", "recall@5"], **options)[name].to_list() == board[name].to_list()


def test_a_report_knows_them_as_metrics():
    from cofactor.report.boards import higher_is_better, metrics_of

    board = cf.compare({"p": cf.Popular()}, X, TEST, "ndcg@5", candidates=sampled_candidates(X, TEST, 12))
    assert metrics_of(board) == ["ndcg@5 (sampled, 12 negatives)"]
    assert higher_is_better("ndcg@5 (sampled, 12 negatives)")


@pytest.mark.parametrize(
    "of", [lambda: cf.Popular().fit(X), lambda: cf.read_events(SEEN, user="user_id", item="item_id")]
)
def test_train_may_be_a_model_or_events(of):
    assert sampled_candidates(of(), TEST, 5).table.equals(sampled_candidates(X, TEST, 5).table)


def test_ratings():
    ratings = cf.Ratings.from_frame(SEEN.with_columns(rating=pl.col("item_id") % 5))
    assert sampled_candidates(ratings, TEST, 5).table.equals(sampled_candidates(X, TEST, 5).table)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n must be"),
        ({"sampler": "exact"}, "sampler must be one of"),
        ({"seed": -1}, "seed"),
        ({"train": 3}, "train"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(ParameterError, match=message):
        sampled_candidates(**({"train": X, "test": TEST} | options))


def test_ids_of_another_kind_are_refused():
    with pytest.raises(DataError):
        sampled_candidates(X, TEST.with_columns(pl.col("item_id").cast(pl.String)))
