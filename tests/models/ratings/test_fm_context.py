"""Factorization machines with context: what is learned of it, in whatever ways it is asked for, and what is refused."""

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.kernels import on
from cofactor.kernels.csr import CSR
from cofactor.models.ratings.fm_chain import Chain
from cofactor.models.ratings.fm_entries import Entries
from cofactor.models.ratings.fm_sides import SideFeatures, rated
from reference import fm

HOURS = ["morning", "noon", "night"]


def log(n_users=80, n_items=60, share=0.5, noise=0.3, seed=0):
    """Ratings whose users like some items better at night, and other ones less."""
    rng = np.random.default_rng(seed)
    bias, item_bias = rng.normal(0, 0.4, n_users), rng.normal(0, 0.4, n_items)
    taste, when = rng.normal(0, 0.8, n_items), np.array([-1.0, 0.0, 1.0])
    users, items = np.nonzero(rng.random((n_users, n_items)) < share)
    hour = rng.integers(3, size=len(users))
    mean = 3.5 + bias[users] + item_bias[items] + taste[items] * when[hour] + 0.3 * when[hour]
    table = {"user_id": users, "item_id": items, "rating": mean + rng.normal(0, noise, len(users)), "mean": mean}
    return pl.DataFrame({**table, "hour": [HOURS[h] for h in hour]}).sample(fraction=1, shuffle=True, seed=seed)


def rmse(found, wanted):
    return float(np.sqrt(np.mean((np.asarray(found) - np.asarray(wanted)) ** 2)))


def halves(table):
    n = len(table) * 4 // 5
    return table[:n], table[n:]


# The chain


def in_context(seed=0):
    rng = np.random.default_rng(seed)
    rows, columns = np.nonzero(rng.random((9, 7)) < 0.6)
    x = CSR.from_pairs(rows, columns, rng.normal(size=len(rows)), (9, 7))
    return x, [rng.integers(n, size=x.nnz).astype(np.int32) for n in (3, 2)]


def chain_of(x, contexts, **options):
    sides = [SideFeatures.of(m.n_rows, [(rated(m), np.zeros(m.n_columns, np.int32))]) for m in (x, x.transposed())]
    sides += [SideFeatures.of(n, []) for n in (3, 2)]
    return Chain(on("cpu"), Entries(x, contexts, (3, 2)), sides, 4, **options)


def by_definition(chain, x, contexts):
    """The machine over all features of every rating, in float64."""
    users, items, *others = chain.sides
    sets = [side.features.to_scipy().toarray() for side in (users, items)]
    u, i = x.row_index(), x.indices
    parts = [np.eye(9)[u], sets[0][u], np.eye(7)[i], sets[1][i], np.eye(3)[contexts[0]], np.eye(2)[contexts[1]]]
    rows = [users.ids, users.parts, items.ids, items.parts, *(side.ids for side in others)]
    every = np.vstack(rows)[:, :4].astype(float)
    return fm.predicted(np.hstack(parts), every[:, 0], every[:, 1:], chain.offset)


@pytest.mark.parametrize("options", [{}, {"noise_freedom": 6.0}, {"regularization": 0.5}, {"n_levels": 3}])
def test_a_chain_is_the_machine_over_all_features(options):
    x, contexts = in_context()
    if "n_levels" in options:
        x = x.with_values(np.searchsorted([-0.5, 0.5], x.values).astype(np.float32))
    chain = chain_of(x, contexts, seed=3, **options)
    for _ in range(4):
        chain.sweep()
    wanted = by_definition(chain, x, contexts)
    np.testing.assert_allclose(chain.predicted(), wanted, rtol=1e-4, atol=1e-4)
    left = chain._entries.values - wanted
    weights = np.ones(9) if chain.weights is None else chain.weights.astype(float)
    if "noise_freedom" not in options:
        assert chain.squares == pytest.approx((weights[x.row_index()] * left**2).sum(), rel=1e-3)


def test_descent_comes_to_where_no_coordinate_helps():
    """Every row of a category minimises the loss: its gradient, by differences in float64, is nothing."""
    x, contexts = in_context()
    chain = chain_of(x, contexts, regularization=0.7)
    for _ in range(400):
        chain.sweep()

    def loss():
        away = x.values - by_definition(chain, x, contexts)
        penalty = sum((own**2).sum() for side in chain.sides for own in (side.ids.astype(float), side.parts))
        return away @ away + 0.7 * penalty

    for side in chain.sides:
        for c in range(4):
            values = []
            before = side.ids[0, c]
            for step in (-1e-2, 1e-2):
                side.ids[0, c] = before + step
                values.append(loss())
            side.ids[0, c] = before
            assert abs(values[1] - values[0]) / 2e-2 < 0.1


def test_no_context_and_context_of_one_category_are_the_same_descent():
    """A category that all ratings have, held at nothing, changes no digit worth the name."""
    x, _ = in_context()
    plain, other = (
        Chain(on("cpu"), entries, [SideFeatures.of(n, []) for n in x.shape], 3, regularization=1.0)
        for entries in (Entries(x), Entries(x, [np.zeros(x.nnz, np.int32)], [1]))
    )
    other.sides = (*other.sides, SideFeatures.of(1, []).parameters(3, 0.0, np.random.default_rng(0)))
    for _ in range(3):
        for chain in (plain, other):
            chain._draw_noise_and_offset(np.random.default_rng(0))
            for side in (0, 1):
                totals = [own.totals for own in chain.sides]
                _, sums = on("cpu").fm_sweep(
                    chain._entries.matrix(side), chain.sides[side], chain._entries.others(side, totals),
                    *chain.priors[side].as_floats(), offset=chain.offset, sampled=False,
                )  # fmt: skip
            chain.residual_sum, chain.squares = sums.sum(axis=0).tolist()
    for a, b in zip(plain.sides, other.sides, strict=False):
        np.testing.assert_allclose(a.totals, b.totals, rtol=1e-4, atol=1e-5)


# What is learned


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"method": "als", "regularization": 2.0},
        {"method": "sgd", "learning_rate": 0.02, "batch_size": 128},
        {"task": "ordinal"},
        {"implicit": True, "user_noise": False},
    ],
)
def test_tastes_that_change_are_learned(kind):
    table = log()
    if kind.get("task") == "ordinal":
        table = table.with_columns(pl.col("rating").round().clip(1, 6))
    train, test = halves(table)
    events = cf.read_events(train, user="user_id", item="item_id", rating="rating")
    without, model = (
        cf.FactorizationMachine(4, iterations=60, samples=20, context=context, **kind).fit(events)
        for context in (None, ["hour"])
    )
    errors = [rmse(m.predict(test)["rating"], test["mean"]) for m in (without, model)]
    assert errors[1] < 0.5 * errors[0]
    measured = cf.evaluate(model, cf.read_events(test, user="user_id", item="item_id", rating="rating"), "rmse")
    assert measured["value"][0] == pytest.approx(rmse(model.predict(test, clip=True)["rating"], test["rating"]))


@pytest.mark.parametrize("task", ["regression", "ordinal"])
def test_spread_holds_also_where_the_context_is_unknown(task):
    table = log()
    if task == "ordinal":
        table = table.with_columns(pl.col("rating").round().clip(1, 6))
    train, test = halves(table)
    model = cf.FactorizationMachine(4, task=task, context=["hour"], iterations=90, samples=30).fit(train)
    known = model.predict(test)
    with pytest.warns(cf.CofactorWarning, match="categories that are not in the training data .* of hour"):
        unknown = model.predict(test.with_columns(hour=pl.lit("dawn")))
    for found in (known, unknown):
        away = (test["rating"] - found["rating"]) / found["std"]
        assert (away**2).mean() == pytest.approx(1, abs=0.15)
    assert unknown["std"].mean() > 1.5 * known["std"].mean()
    by_row = model.rate(
        *(model.interactions_.users.rows(test["user_id"]), model.interactions_.items.rows(test["item_id"]))
    )
    np.testing.assert_allclose(by_row[0], unknown["rating"], rtol=1e-5)
    np.testing.assert_allclose(by_row[1], unknown["std"], rtol=1e-5)


def test_lists_and_new_users_are_of_the_mean_context():
    train, _ = halves(log())
    model = cf.FactorizationMachine(4, context=["hour"], iterations=60, samples=20).fit(train)
    top = model.recommend([3], k=5)
    x = model.interactions_
    rates = model.rate(np.full(5, x.users.rows([3])[0]), x.items.rows(top["item_id"]))[0]
    np.testing.assert_allclose(top["score"], rates, rtol=1e-5)
    history = train.filter(pl.col("user_id") == 3).with_columns(user_id=pl.lit(999))
    new = model.recommend_for(history, k=60)
    own = model.recommend([3], k=60, exclude_seen=True)
    joined = new.join(own, on="item_id", suffix="_own")
    assert np.corrcoef(joined["score"], joined["score_own"])[0, 1] > 0.85


def test_threads_change_no_digit_and_files_none(tmp_path):
    train, test = halves(log(30, 20))
    found = []
    for threads in (1, 2, 5):
        model = cf.FactorizationMachine(3, context=["hour"], iterations=9, samples=3, implicit=True, threads=threads)
        found.append(model.fit(train).predict(test))
    assert found[0].equals(found[1])
    assert found[0].equals(found[2])
    model.save(tmp_path / "model")
    assert cf.load(tmp_path / "model").predict(test).equals(found[0])


def test_bins_of_time_and_of_numbers():
    train, test = halves(log())
    places = {name: n for n, name in enumerate(HOURS)}

    def timed(table):
        at = pl.col("hour").replace_strict(places)
        start = pl.datetime(2024, 1, 1) + pl.duration(days=7 * at + pl.col("item_id") % 5)
        return table.with_columns(time=start, number=at * 10 + 3.0).drop("hour")

    train, test = timed(train), timed(test)
    errors = {}
    for context in (None, {"time": "1w"}, {"number": 10}, {"time": "1w", "number": 5.0}):
        model = cf.FactorizationMachine(4, context=context, iterations=60, samples=20).fit(train)
        errors[str(context)] = rmse(model.predict(test)["rating"], test["mean"])
    none, *others = errors.values()
    assert max(others) < 0.5 * none
    assert model.context_features_.names["value"].to_list()[:3] == [f"2024-01-{d:02} 00:00:00" for d in (1, 8, 15)]
    as_dates = test.with_columns(pl.col("time").cast(pl.Date))
    assert model.predict(as_dates)["rating"].to_list() == model.predict(test)["rating"].to_list()


def test_the_last_rating_of_a_pair_tells_the_context():
    table = pl.DataFrame(
        {"u": [1, 2, 1, 1], "i": [7, 7, 8, 7], "r": [1.0, 2.0, 3.0, 5.0], "t": [9, 1, 1, 4], "h": ["a", "b", "c", "d"]}
    )
    events = cf.read_events(table, user="u", item="i", rating="r")
    timed = cf.read_events(table.with_columns(t=pl.col("t") + 10**9), user="u", item="i", rating="r", time="t")
    for log_of, hours in ((events, ["d", "c", "b"]), (timed, ["a", "c", "b"])):
        with pytest.warns(cf.CofactorWarning, match="rated again"):
            kept = log_of.ratings(context=["h"])
        assert kept.context["h"].to_list() == hours
        assert kept.to_frame().columns == ["user_id", "item_id", "rating", "h"]
        assert kept.without_log.context is None
        assert kept.widened(items=cf.IdMap([5])).context is kept.context


def test_folds_and_comparisons_hand_the_context_on():
    events = cf.read_events(log(), user="user_id", item="item_id", rating="rating")
    models = {str(c): cf.FactorizationMachine(3, context=c, iterations=30, samples=10) for c in (None, ["hour"])}
    table = cf.cross_validate(models, events, folds=2, metrics="rmse")
    assert table["mean"][1] < 0.8 * table["mean"][0]


# What is refused


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ("hour", "context must be names of columns, such as .* got 'hour'"),
        (5, "context must be names of columns"),
        ([1], "context must be names of columns"),
        ([], r"context=\[\] names no column; leave it out"),
        (["hour", "hour"], "context names hour more than once"),
        (["user_id"], "context names 'user_id', which a rating is made of"),
        ({"time": "7 days"}, "bins of 'time' must be a time such as '7d'.* got '7 days'"),
        ({"time": 0}, "bins of 'time' must be"),
        ({"time": True}, "bins of 'time' must be"),
    ],
)
def test_contexts_that_are_none(context, message):
    with pytest.raises(cf.ParameterError, match=message):
        cf.FactorizationMachine(2, context=context).fit(log(9, 9))


@pytest.mark.parametrize(
    ("change", "context", "message"),
    [
        (lambda t: t, ["hours"], "there is no column 'hours', which context names; did you mean hour"),
        (lambda t: t.with_columns(hour=None), ["hour"], "context column 'hour' is null in .* fill it"),
        (lambda t: t.with_columns(hour=1), ["hour"], "is 1 in every row and tells nothing; leave it out$"),
        (lambda t: t.with_columns(hour=1.5), {"hour": 9}, "tells nothing; leave it out, or take narrower bins"),
        (
            lambda t: t.with_columns(hour=pl.col("rating")),
            ["hour"],
            "holds Float64; categories are text, whole numbers",
        ),
        (lambda t: t.with_columns(hour=pl.date(2024, 1, 1)), ["hour"], r"give their width: context=\{'hour': '7d'\}"),
        (lambda t: t, {"hour": "7d"}, "holds String; bins of '7d' are of times"),
        (lambda t: t, {"hour": 2}, "holds String; bins of 2 are of numbers"),
    ],
)
def test_columns_that_cannot_be_used(change, context, message):
    with pytest.raises(cf.DataError, match=message):
        cf.FactorizationMachine(2, context=context).fit(change(log(9, 9)))


def test_what_lacks_the_context_says_so():
    train, test = halves(log(20, 20))
    with pytest.raises(cf.ParameterError, match=r"these Ratings do not hold that column; .*context=\['hour'\]"):
        cf.FactorizationMachine(2, context=["hour"]).fit(cf.Ratings.from_frame(train))
    model = cf.FactorizationMachine(2, context=["hour"], iterations=6, samples=2).fit(train)
    with pytest.raises(cf.DataError, match="hour"):
        model.predict(test.drop("hour"))
    with pytest.raises(cf.DataError, match="hour"):
        cf.evaluate(model, test.drop("hour"), "rmse")
    with pytest.raises(cf.ParameterError, match="context must have a row for each of 2 pairs, got 1"):
        model.rate([0, 1], [0, 1], context=test[:1])


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("context_features_", lambda _: None, "context_samples_|context_features_"),
        ("context_samples_", lambda a: a[:-1].copy(), "context_samples_ is float32 of shape"),
        ("unknown_contexts_", lambda a: np.vstack([a, a]), "context_covariances_|unknown_contexts_"),
        ("context_covariances_", lambda a: a[:, :, :-1].copy(), "context_covariances_ is float32"),
    ],
)
def test_damaged_files_are_refused(tmp_path, name, change, message):
    model = cf.FactorizationMachine(2, context=["hour"], iterations=6, samples=2).fit(log(20, 20))
    setattr(model, name, change(getattr(model, name)))
    model.save(tmp_path / "model")
    with pytest.raises(cf.ArtifactError, match=message):
        cf.load(tmp_path / "model")
