"""What holds for every model while it is fitted, and for what it keeps."""

import inspect
import pickle
import sys
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import cofactor as cf
import device
from cofactor.data.codes import Codes
from cofactor.kernels import cpu
from zoo import NAMES, RATED, histories_of, make


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def table():
    """Pairs of users and items, each once, with times, and a column that is nobody's business."""
    rng = np.random.default_rng(5)
    pairs = pl.DataFrame({"user_id": rng.integers(0, 60, 500), "item_id": rng.integers(0, 40, 500)}).unique(
        maintain_order=True
    )
    times = [datetime(2024, 1, 1) + timedelta(hours=i) for i in range(len(pairs))]
    return pairs.with_columns(
        time=pl.Series(times), card=pl.lit("4111-1111-1111-1111"), rating=pl.col("item_id") % 5 + 1.0
    )


@pytest.fixture(scope="module")
def events(table):
    return cf.read_events(table, user="user_id", item="item_id", time="time", rating="rating")


def data(name, table):
    return cf.Ratings.from_frame(table) if name in RATED else cf.Interactions.from_frame(table)


def kind(name):
    return cf.Ratings.from_matrix if name in RATED else cf.Interactions.from_csr


def answers(model):
    return model.recommend(k=5, exclude_seen=False)


# What fit takes


def test_events_tables_and_matrices_are_taken(name, events, table):
    wanted = answers(make(name).fit(events.interactions()))
    assert_frame_equal(answers(make(name).fit(events)), wanted)
    plain = answers(make(name).fit(data(name, table)))
    assert_frame_equal(answers(make(name).fit(table)), plain)
    assert_frame_equal(answers(make(name).fit(table.to_pandas())), plain)
    matrix = data(name, table).user_items
    numbered = answers(make(name).fit(kind(name)(matrix)))
    assert_frame_equal(answers(make(name).fit(matrix)), numbered)
    assert_frame_equal(answers(make(name).fit(matrix.to_scipy())), numbered)


def test_weights_of_a_table_count(table):
    weighed = table.with_columns(weight=pl.col("item_id") + 1.0)
    x = cf.Popular(by="weight").fit(weighed).interactions_
    assert x.user_items.values.max() == 40


@pytest.mark.parametrize("given", [None, 7, "log.parquet", cf.Popular, object()])
def test_anything_else_is_refused_with_the_way_out(given):
    with pytest.raises(cf.ParameterError, match="a model is fitted on Interactions, Events, a table with user_id"):
        cf.Popular().fit(given)


def test_new_users_may_come_as_events(name, events, table):
    model = make(name).fit(events)
    some = events.filter(pl.col("user_id") < 5)
    assert_frame_equal(
        model.recommend_for(some, k=3, exclude_seen=False),
        model.recommend_for(some.ratings() if name in RATED else some.interactions(), k=3, exclude_seen=False),
    )


def test_what_fit_has_widened_is_kept(table, tmp_path):
    items = sorted({*table["item_id"], 99})
    described = pl.DataFrame({"item_id": items, "colour": pl.Series(items) % 3})
    model = cf.SampledMF(factors=2, epochs=1).fit(table, item_features=described, progress=False)
    assert 99 not in table["item_id"]
    assert model.interactions_.items.ids.to_list() == items
    assert model.interactions_.events is None
    model.save(tmp_path / "model")
    assert_frame_equal(answers(cf.load(tmp_path / "model")), answers(model))


def test_ratings_are_no_weights(events, table):
    """Whichever argument they come as."""
    rated = events.ratings()
    with pytest.raises(cf.ParameterError, match=r"^interactions: these are Ratings, .* give events\.interactions"):
        cf.Popular().fit(rated)
    for name in ("held_out", "dislikes"):
        with pytest.raises(cf.ParameterError, match=f"^{name}: these are Ratings"):
            cf.SampledMF(factors=2, loss="bpr").fit(table, **{name: rated})


# One step


class Interrupt:
    """Raises at the n-th call of a function of the library."""

    def __init__(self, at):
        self.left = at

    def __call__(self, frame, event, _):
        generator = frame.f_code.co_flags & inspect.CO_GENERATOR  # called when thrown away, too, where nothing can rise
        if event == "call" and not generator and frame.f_globals.get("__name__", "").startswith("cofactor."):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


def interrupted(at, work):
    """Whether the work was interrupted, and how many calls were left before it would have been."""
    interrupt, before = Interrupt(at), sys.getprofile()
    sys.setprofile(interrupt)
    try:
        work()
    except KeyboardInterrupt:
        return True, 0
    finally:
        sys.setprofile(before)
    return False, interrupt.left


@pytest.mark.filterwarnings("ignore:.*stopped by Ctrl-C")
def test_a_fit_that_ends_early_leaves_the_old_model(name, interactions, table):
    other = data(name, table)
    model = make(name).fit(interactions)
    before, learned = answers(model), set(vars(model))
    _, left = interrupted(10**6, lambda: make(name).fit(other))
    calls = 10**6 - left
    for at in sorted({1, *np.linspace(1, calls, 12).astype(int).tolist()}):
        stopped, _ = interrupted(at, lambda: model.fit(other))
        if not stopped:  # the last calls may come after the end, and training in epochs ends where it stands
            model.fit(interactions)
            continue
        assert set(vars(model)) == learned
        assert_frame_equal(answers(model), before)
    assert_frame_equal(answers(model.fit(other)), answers(make(name).fit(other)))


def test_a_first_fit_that_ends_early_leaves_an_unfitted_model(name, interactions):
    model = make(name)
    assert interrupted(3, lambda: model.fit(interactions))[0]
    with pytest.raises(cf.NotFittedError):
        model.recommend()


def test_models_inside_are_fitted_too(interactions):
    inside = cf.Popular()
    cf.Fallback(cf.PersonalPopular(), inside).fit(interactions)
    assert_frame_equal(inside.recommend(), cf.Popular().fit(interactions).recommend())


@pytest.mark.parametrize("refitted", [False, True])
def test_models_inside_of_models_inside_wait_for_the_whole(interactions, table, monkeypatch, refitted):
    """The chain's last model fails when the blend in front of it is done: all are what they were."""
    popular, last = cf.Popular(), cf.Random()
    blend = cf.Blend(popular, cf.ItemKNN())
    models = (cf.Fallback(blend, last), blend, popular)
    for _ in range(1 + refitted):
        models[0].fit(interactions)
    before = [answers(model) for model in models]

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cf.Random, "fit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        models[0].fit(table)
    for model, old in zip(models, before, strict=True):
        assert_frame_equal(answers(model), old)


def test_a_refitted_whole_leaves_no_mixture_in_the_models_it_was_made_of(interactions, table):
    blend = cf.Blend(cf.Popular(), cf.ItemKNN())
    chain = cf.Fallback(blend, cf.Random()).fit(interactions)
    old = answers(blend)
    chain.fit(table)
    assert_frame_equal(
        answers(chain), answers(cf.Fallback(cf.Blend(cf.Popular(), cf.ItemKNN()), cf.Random()).fit(table))
    )
    assert_frame_equal(answers(blend), old)


# What is kept


def test_nothing_of_the_log_is_kept(name, events):
    model = make(name).fit(events.interactions())
    packed = pickle.dumps(model)  # what a worker would be sent
    assert b"4111-1111" not in packed
    assert getattr(model.interactions_, "events", None) is None
    assert len(packed) < 20 * events.n_events + 200_000


# Threads and devices


def arrays(model):
    """Everything learned, of models inside too."""
    for key, value in sorted(vars(model).items()):
        if isinstance(value, np.ndarray):
            yield key, value
        elif hasattr(value, "indptr"):
            yield from ((f"{key}.{part}", getattr(value, part)) for part in ("indptr", "indices", "values"))
        elif isinstance(value, tuple) and value and isinstance(value[0], cf.Recommender):
            for inside in value:
                yield from arrays(inside)


def with_threads(model, threads):
    for one in (model, *getattr(model, "models", ()), *getattr(model, "matrices", ())):
        if "threads" in one.params():
            one.threads = threads
    return model


@pytest.fixture(scope="module")
def larger():
    """Large enough for several strips, slices and batches."""
    return cf.datasets.synthetic(n_users=1300, n_items=1100, n_interactions=30_000, factors=4, seed=1)


@pytest.mark.filterwarnings("ignore:.*sessions have more than last_events")
def test_the_number_of_threads_changes_no_digit(name, larger):
    if name in RATED:
        x = larger.user_items
        larger = cf.Interactions.from_csr(x.with_values(1 + (np.arange(x.nnz) * 7 % 11) % 5))
    one, five = (with_threads(make(name), threads).fit(larger) for threads in (1, 5))
    for (key, a), (_, b) in zip(arrays(one), arrays(five), strict=True):
        assert np.array_equal(a, b), key
    histories = histories_of(larger).filter(pl.col("user_id") < 40)
    pairs = histories.head(50).select("user_id", "item_id")
    assert_frame_equal(answers(one), answers(five), check_exact=True)
    for question in (lambda m: m.recommend_for(histories, k=5), lambda m: m.predict(pairs)):
        assert_frame_equal(question(one), question(five), check_exact=True)


def test_every_model_computes_where_its_device_says(name, interactions, monkeypatch):
    """On a device whose held arrays NumPy cannot read: the same answers, and no kernel of the CPU called past it."""
    wanted = make(name).fit(interactions)
    for cls in {type(m) for m in (wanted, *getattr(wanted, "models", ()), *getattr(wanted, "matrices", ()))}:
        monkeypatch.setattr(cls, "device", device.OPAQUE)
    model = make(name)
    for one in (model, *getattr(model, "models", ())):
        if "device" in one.params():
            one.device = device.OPAQUE
    model.fit(interactions)
    for (key, a), (_, b) in zip(arrays(model), arrays(wanted), strict=True):
        assert np.array_equal(a, b), key
    histories = histories_of(interactions).filter(pl.col("user_id") < 9)
    pairs = histories.select("user_id", "item_id")
    questions = [
        lambda m: m.recommend(k=4, exclude_seen=False),
        lambda m: m.recommend_for(histories, k=4),
        lambda m: m.predict(pairs),
    ]
    found = [question(model) for question in questions]
    monkeypatch.undo()
    for question, answer in zip(questions, found, strict=True):
        assert_frame_equal(answer, question(wanted), check_exact=True)


def test_a_device_that_is_not_there_is_named():
    with pytest.raises(cf.ParameterError, match=r"device='abacus' has no kernels; available: cpu, torch, cuda"):
        cf.ImplicitALS(4, device="abacus").fit(pl.DataFrame({"user_id": [1], "item_id": [2]}))


def test_the_contract_names_every_kernel():
    kernels = {n for n in vars(cpu.Kernels) if not n.startswith("_")}
    assert {*device.STAY, *device.IN_PLACE} <= kernels


def test_codes_of_ids_live_as_long_as_they_are_needed():
    codes = Codes.of("c", pl.String())
    numbers = pl.LazyFrame({"c": ["b", "a", "b"]}).select(codes.expr).collect().to_series()
    assert codes.own(numbers).ids.ids.to_list() == ["a", "b"]
