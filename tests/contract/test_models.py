"""What holds for every model, on what it answers."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import cofactor as cf
from cofactor.kernels.csr import CSR
from zoo import NAMES, PUBLIC, RATED, histories_of, make, value

REPEATS_ONLY = {"PersonalPopular", "Repurchase"}  # lists hold nothing but the user's history
SCORES_OF_WHAT_IS_LEFT = {"Blend", "Blend of scores"}  # points count among what the filters leave
NEIGHBOURS_ARE_OTHERS = {"NextBasket", "Blend of scores"}  # a known user is no neighbour of itself, a new twin is one
SCORES_OF_SEVERAL_MODELS = {"Fallback", "Fallback of factors"}  # comparable within a model only
# An item alone does not reach itself.
NEVER_ITSELF = {
    "CoVisitation",
    "CoVisitationSum",
    "EASE cut to ten weights",
    "ItemKNN",
    "RP3beta",
    "SLIM",
    "SLIM of both signs",
    "UserKNN",
}
REACHED_ONLY = {*NEVER_ITSELF, "SessionKNN", "SessionKNN by cosine"}  # lists hold only what neighbours reach
SIMILAR_SHARE_USERS = {*REACHED_ONLY, "ItemPairsMF of two vectors", "EASE", "EASE of users", "HistoryRerank"}
# Known users were trained, or drawn; new ones are folded in, and come near (tests/models/sampled/test_sampled_mf.py,
# tests/models/ratings/test_biased_mf.py and test_factorization_machine.py).
TRAINED = {
    "BiasedMF by sgd",
    "FactorizationMachine",
    "FactorizationMachine, a sigmoid",
    "FactorizationMachine, by batches",
    "FactorizationMachine, by batches with sets",
    "FactorizationMachine, ordinal",
    "SVDpp",
    "SampledMF",
    "SampledMF by pairs",
    "SampledMF, stopped early",
}
PAIRS = {"ItemPairsMF", "ItemPairsMF of two vectors", "SessionMF"}  # come in the order of users
BY_USER_ROW = {
    "BayesianMF",
    "Random",
    "Random by popularity",
    *TRAINED,
    *PAIRS,
}  # what is random depends on the user's row

SCHEMA = {"user_id": pl.Int64, "item_id": pl.Int64, "score": pl.Float32, "rank": pl.Int32}


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def fitted(interactions):
    models = {name: make(name).fit(interactions) for name in NAMES}
    return models.__getitem__


@pytest.fixture
def model(fitted, name):
    return fitted(name)


@pytest.fixture(scope="module")
def seen(interactions):
    return interactions.to_frame().select("user_id", "item_id")


def pairs(*rows):
    """Rows that every model takes for a history: models of ratings find one, others do not look."""
    return pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row").with_columns(rating=pl.lit(2.0))


def assert_lists(table, users):
    """Ranks count from 1 without a gap, users come in the order asked for, no item comes twice."""
    assert table["rank"].to_list() == table.select(pl.int_range(1, pl.len() + 1).over("user_id")).to_series().to_list()
    order = {user: at for at, user in enumerate(users)}
    assert [order[user] for user in table["user_id"]] == sorted(order[user] for user in table["user_id"])
    assert not table.select("user_id", "item_id").is_duplicated().any()
    assert table["score"].is_finite().all()


def assert_same_lists(one, other, tolerance=1e-4):
    """Equal, but that items whose scores are that close may swap."""
    keys = ["user_id", "rank"]
    one, other = one.sort(keys), other.sort(keys)
    assert_frame_equal(one.drop("item_id"), other.drop("item_id"), abs_tol=tolerance, rel_tol=tolerance)
    both = one.join(other, on=["user_id", "item_id"], how="left", suffix="_other")
    moved = both.filter(pl.col("rank_other").is_null() | (pl.col("rank_other") != pl.col("rank")))
    last = moved.join(one.group_by("user_id").agg(least=pl.col("score").min()), on="user_id")
    close = (pl.coalesce("score_other", "least") - pl.col("score")).abs() <= tolerance
    assert last.select(close.all()).item()


# Lists


def test_every_public_model_makes_lists(fitted, interactions):
    """A model whose defaults do not even fit belongs into MODELS."""
    assert {type(fitted(name)).__name__ for name in NAMES} == set(PUBLIC)
    assert {name for name in cf.__all__ if name in PUBLIC} == set(PUBLIC)


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_the_table(model, interactions, exclude_seen):
    table = model.recommend(k=7, exclude_seen=exclude_seen)
    assert table.schema == SCHEMA
    assert_lists(table, interactions.users.ids)


def test_what_was_seen_never_comes_back(model, seen):
    assert model.recommend(k=1000).join(seen, on=["user_id", "item_id"]).is_empty()


def test_what_was_seen_may_come_back_when_asked_for(model, name, seen):
    back = len(model.recommend(k=1000, exclude_seen=False).join(seen, on=["user_id", "item_id"]))
    assert back == len(seen) or (0 < back < len(seen) and name in REACHED_ONLY)


def test_lists_are_as_long_as_they_can_be(model, name, interactions):
    """Exactly k where k are left; all the others where k exceeds the catalogue, and no filler."""
    n_seen = np.diff(interactions.user_items.indptr)
    for k in (1, 10, 39, 40, 10**9):
        for exclude_seen in (True, False):
            n_unseen = 0 * n_seen if name in REPEATS_ONLY else 40 - n_seen
            left = n_unseen if exclude_seen else n_unseen + n_seen
            table = model.recommend(k=k, exclude_seen=exclude_seen)
            lengths = interactions.users.ids.to_frame("user_id").join(
                table.group_by("user_id").len(), on="user_id", how="left", maintain_order="left"
            )
            lengths = lengths["len"].fill_null(0).to_numpy()
            assert (lengths == np.minimum(left, k)).all() or (name in REACHED_ONLY and (lengths <= left).all())


def test_better_first_and_ties_by_item_row(model, name):
    table = model.recommend(k=1000, exclude_seen=False)
    best_first = table.sort("user_id", "score", descending=[False, True], maintain_order=True)
    if name not in SCORES_OF_SEVERAL_MODELS:
        assert_frame_equal(table, best_first)
    if name not in SCORES_OF_SEVERAL_MODELS | REPEATS_ONLY:  # the latter breaks ties by popularity
        assert_frame_equal(table, table.sort("user_id", "score", "item_id", descending=[False, True, False]))


def test_a_shorter_list_is_the_beginning_of_a_longer_one(model):
    for exclude_seen in (True, False):
        long = model.recommend(k=1000, exclude_seen=exclude_seen)
        assert_frame_equal(model.recommend(k=4, exclude_seen=exclude_seen), long.filter(pl.col("rank") <= 4))


def test_users_come_in_the_order_asked_for(model):
    users = [31, 2, 59, 0]
    table = model.recommend(users, k=5, exclude_seen=False)
    assert_lists(table, users)
    assert table["user_id"].unique(maintain_order=True).to_list() == users
    every = model.recommend(k=5, exclude_seen=False)
    assert_frame_equal(table, pl.concat([every.filter(pl.col("user_id") == user) for user in users]))


@pytest.mark.parametrize("form", [list, np.array, pl.Series, lambda v: pl.Series(v, dtype=pl.Int8), tuple, iter])
def test_users_come_in_any_form(model, form):
    asked = model.recommend(form([7, 3]), k=3, exclude_seen=False)
    assert_frame_equal(asked, model.recommend([7, 3], k=3, exclude_seen=False))


def test_nobody_gets_an_empty_table(model):
    table = model.recommend([], k=3)
    assert table.is_empty()
    assert table.schema == SCHEMA


# Filters


def test_items_restrict_the_choice(model, name):
    every = model.recommend(k=1000, exclude_seen=False)
    chosen = [30, 4, 17, 4]
    table = model.recommend(k=1000, exclude_seen=False, items=chosen)
    if name in SCORES_OF_WHAT_IS_LEFT:
        assert set(table["item_id"]) == set(chosen)
        assert_lists(table, range(60))
        return
    kept = every.filter(pl.col("item_id").is_in(chosen))
    assert_frame_equal(table.drop("rank"), kept.drop("rank"), abs_tol=0)
    assert_lists(table, range(60))


def test_exclude_leaves_out_pairs(model, name, seen):
    users, some = [5, 8, 9], pairs((8, 3), (5, 0), (5, 39), (9, 999), (777, 3), (40, 1), (5, 0))
    for exclude_seen in (True, False):
        table = model.recommend(users, k=1000, exclude_seen=exclude_seen, exclude=some)
        without = model.recommend(users, k=1000, exclude_seen=exclude_seen).join(
            some, on=["user_id", "item_id"], how="anti", maintain_order="left"
        )
        if name in SCORES_OF_WHAT_IS_LEFT:
            keys = ["user_id", "item_id"]
            assert_frame_equal(table.select(keys).sort(keys), without.select(keys).sort(keys))
        else:
            assert_frame_equal(table.drop("rank"), without.drop("rank"))
        assert_lists(table, users)


def test_everything_excluded_is_an_empty_list(model):
    everything = pl.DataFrame({"user_id": [3] * 40, "item_id": range(40)})
    assert model.recommend([3], exclude=everything, exclude_seen=False).is_empty()
    assert model.recommend([3], exclude=everything).is_empty()


def test_ids_of_the_wrong_type_in_tables_are_told_with_their_column(interactions):
    model = cf.ItemKNN().fit(interactions)
    texts = pl.DataFrame({"user_id": ["1"], "item_id": ["2"]})
    with pytest.raises(cf.DataError, match=r"^exclude: user_id: ids of type String"):
        model.recommend(exclude=texts)
    with pytest.raises(cf.DataError, match=r"^histories: item_id: ids of type String"):
        model.recommend_for(texts)
    with pytest.raises(cf.DataError, match=r"^users: ids of type String"):
        model.predict(texts, unknown="skip")


def test_exclude_needs_its_columns(model):
    with pytest.raises(cf.DataError, match="exclude: no column item_id; the columns are user_id, product"):
        model.recommend(exclude=pl.DataFrame({"user_id": [1], "product": [1]}))


# Bad input


@pytest.mark.parametrize("k", [0, -1, 2.5, None, "ten"])
def test_k_is_at_least_one(model, interactions, k):
    for ask in (model.recommend, model.similar_items, lambda k: model.recommend_for(interactions, k)):
        with pytest.raises(cf.ParameterError, match=f"k must be a whole number of at least 1, got {k!r}"):
            ask(k=k)


def test_unknown_users_are_listed(model):
    with pytest.raises(cf.UnknownIdError, match=r"2 of 4 user ids .*: 999, -7; unknown='skip' leaves them out"):
        model.recommend([0, 999, 1, -7])


def test_unknown_users_are_skipped_and_counted_when_asked_for(model):
    with pytest.warns(cf.CofactorWarning, match="2 of 4 user ids are not in the training data; skipped") as caught:
        table = model.recommend([0, 999, 1, -7], exclude_seen=False, unknown="skip")
    assert caught[0].filename == __file__
    assert_frame_equal(table, model.recommend([0, 1], exclude_seen=False))
    with pytest.warns(cf.CofactorWarning, match="1 of 1 user ids"):
        assert model.recommend([999], unknown="skip").schema == SCHEMA


def test_unknown_items_are_listed_or_skipped(model):
    with pytest.raises(cf.UnknownIdError, match=r"1 of 2 item ids .*: 999"):
        model.recommend([0], items=[3, 999])
    with pytest.warns(cf.CofactorWarning, match="1 of 2 item ids"):
        table = model.recommend([0], items=[3, 999], exclude_seen=False, unknown="skip")
    assert_frame_equal(table, model.recommend([0], items=[3], exclude_seen=False))
    with (
        pytest.warns(cf.CofactorWarning, match="1 of 1 item ids"),
        pytest.raises(cf.ParameterError, match="items leaves nothing to recommend"),
    ):
        model.recommend([0], items=[999], unknown="skip")
    with pytest.raises(cf.ParameterError, match="items leaves nothing to recommend"):
        model.recommend([0], items=[])


def test_unknown_takes_two_values(model):
    with pytest.raises(cf.ParameterError, match="unknown must be one of 'error', 'skip', got 'ignore'"):
        model.recommend([0], unknown="ignore")


@pytest.mark.parametrize("unknown", ["error", "skip"])
def test_text_where_numbers_were_trained(model, unknown):
    for ask in (
        lambda: model.recommend(["a17"], unknown=unknown),
        lambda: model.recommend([0], items=["a17"], unknown=unknown),
        lambda: model.predict(pl.DataFrame({"user_id": ["a17"], "item_id": [1]}), unknown=unknown),
        lambda: model.recommend([0], exclude=pl.DataFrame({"user_id": ["a17"], "item_id": [1]})),
        lambda: model.recommend_for(pl.DataFrame({"user_id": [0], "item_id": ["a17"], "rating": [1.0]})),
    ):
        with pytest.raises(cf.DataError, match=r"ids of type String such as 'a17' were looked up where ids are Int64"):
            ask()


def test_a_single_id_is_no_list(model):
    with pytest.raises(cf.ParameterError, match="received the single value 3"):
        model.recommend(3)


def test_before_fit(name, tmp_path):
    model = make(name)
    message = f"this {type(model).__name__} has not been fitted"
    for ask in (
        model.recommend,
        model.similar_items,
        lambda: model.recommend_for(pairs((1, 1))),
        lambda: model.predict(pairs((1, 1))),
        lambda: model.save(tmp_path / "model"),
    ):
        with pytest.raises(cf.NotFittedError, match=message):
            ask()
    assert not any(tmp_path.iterdir())


# New users, scores, neighbours


def test_a_known_history_gets_the_known_list(model, name, interactions):
    if name in NEIGHBOURS_ARE_OTHERS:
        pytest.skip(
            f"{name}: a known user is no neighbour of itself, a new user with the same history has that neighbour"
        )
    if name in TRAINED:
        pytest.skip(f"{name}: known users were trained, new ones are folded in")
    for exclude_seen in (True, False):
        known = model.recommend(k=6, exclude_seen=exclude_seen)
        assert_same_lists(model.recommend_for(interactions, k=6, exclude_seen=exclude_seen), known)


def test_histories_of_new_users(model, name):
    histories = pl.DataFrame(
        {"user_id": ["zoe", "ann", "zoe", "zoe"], "item_id": [3, 3, 8, 3], "weight": [1.0, 1.5, 2.0, 1.0]}
    ).with_columns(rating="weight")
    table = model.recommend_for(histories, k=1000)
    assert table.schema == SCHEMA | {"user_id": pl.String}
    assert_lists(table, ["zoe", "ann"])
    assert table.join(histories, on=["user_id", "item_id"]).is_empty()
    again = model.recommend_for(histories, k=1000, exclude_seen=False)
    repeated = len(again.join(histories.unique(["user_id", "item_id"]), on=["user_id", "item_id"]))
    assert repeated == 3 or (repeated < 3 and name in NEVER_ITSELF)
    added_up = pl.DataFrame({"user_id": ["zoe", "zoe", "ann"], "item_id": [8, 3, 3], "weight": [2.0, 2.0, 1.5]})
    last = added_up.with_columns(rating=pl.Series([2.0, 1.0, 1.5]))
    assert_frame_equal(model.recommend_for(last, k=1000), table)
    some = model.recommend_for(histories, k=1000, exclude_seen=False, items=[8, 3])
    assert set(some["item_id"]) <= {3, 8}


def test_unknown_items_of_histories_are_counted(model):
    histories = pairs((1, 3), (1, 999), (2, 888))
    with pytest.warns(cf.CofactorWarning, match="2 of 3 rows have items that are not in the training data") as caught:
        table = model.recommend_for(histories, k=3, exclude_seen=False)
    assert caught[0].filename == __file__
    only_known = model.recommend_for(pairs((1, 3)), k=3, exclude_seen=False)
    assert_frame_equal(table.filter(pl.col("user_id") == 1), only_known)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user_id": [1], "product": [2]}, "histories: no column item_id; the columns are user_id, product"),
        ({"user_id": [], "item_id": [], "rating": []}, "histories is empty"),
        ({"user_id": [1, None], "item_id": [2, 2]}, r"histories: 1 null\(s\) in user_id, the first in row 1"),
    ],
)
def test_bad_histories(model, columns, message):
    with pytest.raises(cf.DataError, match=message):
        model.recommend_for(pl.DataFrame(columns))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in RATED], indirect=True)
@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user_id": [1, 1], "item_id": [2, 3], "weight": [1, 0]}, r"1 weights are not positive .*\(1, 3, 0\)"),
        ({"user_id": [1], "item_id": [2], "weight": [-1]}, "1 weights are not positive"),
        ({"user_id": [1], "item_id": [2], "weight": [float("nan")]}, "1 weights are not positive"),
        ({"user_id": [1], "item_id": [2], "weight": [float("inf")]}, "1 weights are not positive"),
        ({"user_id": [1, 2], "item_id": [2, 2], "weight": [1, None]}, "1 weights are not positive"),
        ({"user_id": [1], "item_id": [2], "weight": ["much"]}, "weight must be a column of numbers, got String"),
    ],
)
def test_bad_weights_of_histories(model, columns, message):
    with pytest.raises(cf.DataError, match=message):
        model.recommend_for(pl.DataFrame(columns))


@pytest.mark.parametrize("name", sorted(RATED), indirect=True)
@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user_id": [1], "item_id": [2]}, "histories: no column rating; the columns are user_id, item_id"),
        (
            {"user_id": [1, 1], "item_id": [2, 3], "rating": [1.0, float("nan")]},
            r"1 ratings .*\(1, 3, nan",
        ),
        ({"user_id": [1], "item_id": [2], "rating": [float("inf")]}, "1 ratings are not finite"),
        ({"user_id": [1, 2], "item_id": [2, 2], "rating": [1, None]}, r"1 null\(s\) in rating, the first in row 1"),
        (
            {"user_id": [1], "item_id": [2], "rating": ["much"]},
            "rating must be a column of numbers, got String",
        ),
    ],
)
def test_bad_ratings_of_histories(model, columns, message):
    with pytest.raises(cf.DataError, match=message):
        model.recommend_for(pl.DataFrame(columns))


def test_predict_gives_the_scores_of_the_lists_in_the_order_asked_for(model, name):
    table = model.recommend(k=1000, exclude_seen=False).sample(fraction=1.0, shuffle=True, seed=0)
    scored = model.predict(table.select("item_id", "user_id"))
    wanted = {"user_id": pl.Int64, "item_id": pl.Int64, value(name): pl.Float32}
    assert scored.schema in ([wanted, wanted | {"std": pl.Float32}] if name in RATED else [wanted])
    assert_frame_equal(scored.select("user_id", "item_id"), table.select("user_id", "item_id"))
    if name in SCORES_OF_WHAT_IS_LEFT:
        scored, table = model.predict(every := model.recommend(k=1000, exclude_seen=False)), every
    if name not in SCORES_OF_SEVERAL_MODELS:
        np.testing.assert_allclose(scored[value(name)], table["score"], rtol=1e-5, atol=1e-5)


def test_predict_says_nothing_of_unknown_ids(model, name):
    unknown, score = pairs((0, 1), (999, 1), (0, 999)), value(name)
    with pytest.raises(cf.UnknownIdError, match=r"user ids .*: 999"):
        model.predict(unknown, unknown="error")
    scores = model.predict(unknown, unknown="skip")[score]
    assert scores.is_null().to_list() == [False, True, True]
    with pytest.raises(cf.DataError, match="pairs: no column user_id; the columns are item_id"):
        model.predict(pl.DataFrame({"item_id": [1]}))
    if name not in RATED:
        with pytest.raises(cf.UnknownIdError, match=r"user ids .*: 999"):
            model.predict(unknown)
        return
    told = r"predict: 2 of 3 rows have users \(1\) or items \(1\) that are not in the training data"
    with pytest.warns(cf.CofactorWarning, match=told) as caught:
        rated = model.predict(unknown)[score]
    assert caught[0].filename == __file__
    assert rated.is_finite().all()
    assert rated[0] == scores[0]


def test_tables_of_other_libraries_are_welcome(model):
    table = pairs((0, 1), (3, 2))
    for other in (table.to_pandas(), table.lazy(), table.to_arrow()):
        assert_frame_equal(model.predict(other), model.predict(table))
        assert_frame_equal(model.recommend_for(other, k=3), model.recommend_for(table, k=3))
        assert_frame_equal(model.recommend(k=3, exclude=other), model.recommend(k=3, exclude=table))


def test_similar_items_are_other_items(model, name):
    try:
        table = model.similar_items([5, 2], k=3)
    except cf.ParameterError as error:
        assert "has no notion of similar items" in str(error)  # noqa: PT017
        return
    assert table.schema == {"item_id": pl.Int64, "similar_item_id": pl.Int64, "score": pl.Float32, "rank": pl.Int32}
    assert table["item_id"].to_list() == [5, 5, 5, 2, 2, 2]
    assert table["rank"].to_list() == [1, 2, 3, 1, 2, 3]
    assert (table["item_id"] != table["similar_item_id"]).all()
    every = len(model.similar_items(k=1000))
    assert every == 40 * 39 or (every < 40 * 39 and name in SIMILAR_SHARE_USERS)
    with pytest.raises(cf.UnknownIdError, match=r"1 of 1 item ids .*: 999; unknown='skip' leaves them out"):
        model.similar_items([999])


# Data


def test_relabelling_users_changes_nothing(name, model, interactions):
    if name in BY_USER_ROW:
        pytest.skip(f"{name} ranks by the user's row by design")
    renamed = np.random.default_rng(1).permutation(60)
    rename = pl.col("user_id").replace_strict(range(60), renamed.tolist())
    x = cf.Interactions.from_frame(interactions.to_frame().with_columns(rename), weight="weight")
    for exclude_seen in (True, False):
        wanted = model.recommend(k=10, exclude_seen=exclude_seen).with_columns(rename)
        assert_same_lists(make(name).fit(x).recommend(k=10, exclude_seen=exclude_seen), wanted)


def test_the_same_seed_gives_the_same_lists(name, model, interactions):
    again = make(name)
    assert again.fit(interactions) is again
    assert_frame_equal(again.recommend(), model.recommend())
    assert_frame_equal(again.fit(interactions).recommend(), model.recommend())


def test_fit_replaces_what_was_learned(name, interactions):
    weighed = pairs((1, 1), (1, 2), (2, 2)).with_columns(weight=pl.Series([1.0, 3.0, 2.0]))
    other = cf.Interactions.from_frame(weighed, weight="weight")
    model = make(name).fit(interactions).fit(other)
    assert_frame_equal(model.recommend(exclude_seen=False), make(name).fit(other).recommend(exclude_seen=False))
    assert model.interactions_.user_items is other.user_items


def test_fit_leaves_data_and_parameters_alone(name, interactions):
    model, matrix = make(name), interactions.user_items
    before, copies = repr(model), [matrix.indptr.copy(), matrix.indices.copy(), matrix.values.copy()]
    model.fit(interactions).recommend()
    assert repr(model) == before
    assert all(map(np.array_equal, copies, [matrix.indptr, matrix.indices, matrix.values]))


IDS = {
    "Int32": lambda n: pl.Series(np.arange(n) * 3 - 50, dtype=pl.Int32),
    "UInt64": lambda n: pl.Series(np.arange(n), dtype=pl.UInt64) + 2**63,
    "String": lambda n: pl.Series([f"id {i:03}" for i in range(n)]),
    "Categorical": lambda n: pl.Series([f"id {i:03}" for i in range(n)][::-1], dtype=pl.Categorical),
    "Enum": lambda n: pl.Series([f"id {i:03}" for i in range(n)], dtype=pl.Enum([f"id {i:03}" for i in range(60)])),
    "Binary": lambda n: pl.Series([bytes([i]) for i in range(n)]),
}


@pytest.mark.parametrize("dtype", IDS)
def test_ids_keep_their_type(name, model, interactions, tmp_path, dtype):
    """The same lists under other names, in tables, filters, new histories and after loading."""
    users, items = (cf.IdMap.from_values(IDS[dtype](n)) for n in (60, 40))
    x = cf.Interactions.from_csr(interactions.user_items, users, items)
    other = make(name).fit(x)
    table = other.recommend(k=4, exclude_seen=False)
    assert table.schema == SCHEMA | {"user_id": users.dtype, "item_id": items.dtype}
    same = model.recommend(k=4, exclude_seen=False)
    assert users.rows(table["user_id"]).tolist() == same["user_id"].to_list()
    assert items.rows(table["item_id"]).tolist() == same["item_id"].to_list()
    assert_frame_equal(other.recommend(users.ids, k=4, exclude_seen=False, items=items.ids), table)
    assert other.recommend(exclude=table, exclude_seen=False, k=50).join(table, on=["user_id", "item_id"]).is_empty()
    predicted = other.predict(table).drop("std", strict=False)
    assert predicted.schema == {"user_id": users.dtype, "item_id": items.dtype, value(name): pl.Float32}
    assert other.recommend_for(histories_of(x), k=4, exclude_seen=False).schema == table.schema
    other.save(tmp_path / "model")
    assert_frame_equal(cf.load(tmp_path / "model").recommend(k=4, exclude_seen=False), table)


def test_one_user_and_one_item(name):
    if name in RATED:
        with pytest.raises(cf.DataError, match=r"ratings: all 1 are 1, .* implicit feedback: ImplicitALS"):
            make(name).fit(cf.Interactions.from_frame(pairs((7, 9))))
        return
    model = make(name).fit(cf.Interactions.from_frame(pairs((7, 9))))
    assert model.recommend().schema == SCHEMA
    assert model.recommend().is_empty()
    if name in NEVER_ITSELF:
        assert model.recommend(exclude_seen=False).is_empty()
        return
    assert model.recommend(exclude_seen=False).select("user_id", "item_id", "rank").rows() == [(7, 9, 1)]
    assert model.recommend_for(pairs((1, 9)), exclude_seen=False)["item_id"].to_list() == [9]


@pytest.mark.parametrize("shape", [(1, 30), (30, 1)])
def test_one_user_or_one_item(name, shape):
    weights = np.arange(30) % 3 + 1 if name in RATED else np.ones(30)  # ratings differ
    x = cf.Interactions.from_csr(CSR.from_pairs(*np.nonzero(np.ones(shape)), weights, shape))
    model = make(name).fit(x)
    assert model.recommend(k=100).is_empty()
    left = 0 if name in NEVER_ITSELF and (shape[1] == 1 or name == "UserKNN") else 30
    assert len(model.recommend(k=100, exclude_seen=False)) == left


def test_no_interactions_at_all(name):
    x = cf.Interactions.from_csr(CSR.from_pairs([], [], [], (3, 4)))
    if name in RATED:
        with pytest.raises(cf.DataError, match="there are no ratings"):
            make(name).fit(x)
        return
    table = make(name).fit(x).recommend(k=2)
    assert table.schema == SCHEMA
    assert_lists(table, range(3))


def test_progress_may_be_shown_and_is_not_shown_by_default(name, interactions, capsys):
    make(name).fit(interactions)
    assert capsys.readouterr() == ("", "")
    make(name).fit(interactions, progress=True)
    make(name).fit(interactions, progress=False)


# Saving


def test_a_loaded_model_answers_exactly_as_before(name, model, interactions, tmp_path):
    model.save(tmp_path / "model")
    loaded = cf.load(tmp_path / "model")
    assert type(loaded) is type(model)
    assert repr(loaded) == repr(model)
    assert loaded.interactions_.users == interactions.users
    assert loaded.interactions_.items == interactions.items
    for exclude_seen in (True, False):
        options = {"k": 12, "exclude_seen": exclude_seen}
        assert loaded.recommend(**options).equals(model.recommend(**options))
        assert loaded.recommend_for(interactions, **options).equals(model.recommend_for(interactions, **options))
    everything = pl.DataFrame({"user_id": range(60)}).join(pl.DataFrame({"item_id": range(40)}), how="cross")
    assert loaded.predict(everything).equals(model.predict(everything))
    learned = {n for n in vars(model) if n.endswith("_")}
    assert {n for n in vars(loaded) if n.endswith("_")} == learned


def test_a_loaded_model_can_be_fitted_and_saved_again(name, model, interactions, tmp_path):
    model.save(tmp_path / "one")
    again = cf.load(tmp_path / "one").fit(interactions)
    again.save(tmp_path / "two")
    assert cf.load(tmp_path / "two").recommend().equals(model.recommend())
    loaded = cf.load(tmp_path / "two")
    loaded.save(tmp_path / "two")  # over the very files that its arrays are mapped from
    assert loaded.recommend().equals(cf.load(tmp_path / "two").recommend())
