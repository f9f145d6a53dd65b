"""SampledMF learns what was planted with every loss, stops where it should, and says what went wrong."""

import pickle
import warnings

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import cofactor as cf
from cofactor.errors import CofactorError, CofactorWarning, DataError, ParameterError
from cofactor.kernels.csr import CSR
from cofactor.models.base.epochs import Rate, part_of_more
from cofactor.models.sampled import sampled_mf
from cofactor.models.sampled.training import Training
from models.sampled.learning import LOSSES, N_ITEMS, kind_of, make, ndcg, share_of_own_kind

every_loss = pytest.mark.parametrize("loss", LOSSES)
FEW = [loss for loss in LOSSES if "negatives" not in LOSSES[loss]]


def vectors(model):
    return model.user_factors_, model.item_factors_


def assert_same(one, other):
    assert all(map(np.array_equal, vectors(one), vectors(other)))


# What it learns


@every_loss
def test_every_loss_finds_the_kinds(loss, x, held_out):
    model = make(loss).fit(x)
    lists = model.recommend()
    assert share_of_own_kind(model.recommend(k=5)) > 0.8
    assert ndcg(lists, held_out) > 2 * ndcg(cf.Popular().fit(x).recommend(), held_out)
    similar = model.similar_items(k=5)
    assert (kind_of(similar["item_id"]) == kind_of(similar["similar_item_id"])).mean() > 0.8


@pytest.fixture(scope="module")
def planted():
    """Training and held-out pairs of planted factors, with popularity as in logs."""
    pairs = cf.datasets.synthetic(800, 400, 16_000, factors=4).to_frame().drop("weight")
    out = pl.Series(np.random.default_rng(1).random(len(pairs)) < 0.2)
    train = cf.Interactions.from_frame(pairs.filter(~out))
    return train, pairs.filter(out).join(pairs.filter(~out), on="user_id", how="semi")


PLANTED = {
    "softmax": {"temperature": 0.3, "epochs": 20},
    "softmax@k": {"temperature": 0.1, "epochs": 20},
    "bsl": {"temperature": 0.3, "epochs": 20},
    "ccl": {"negative_weight": 10.0, "epochs": 30},
}


@every_loss
def test_every_loss_beats_popularity_on_planted_factors(loss, planted):
    train, test = planted
    options = PLANTED.get(loss, {"learning_rate": 0.01, "epochs": 30, "regularization": 0.03})
    lists = cf.SampledMF(8, loss=loss, **options).fit(train).recommend()
    assert ndcg(lists, test) > 1.05 * ndcg(cf.Popular().fit(train).recommend(), test)


@pytest.mark.parametrize("sampler", ["exact", "uniform", "popularity", "in_batch"])
@pytest.mark.parametrize("loss", ["softmax", "bsl", "ccl"])
def test_every_sampler_of_shared_negatives_learns(loss, sampler, x):
    assert share_of_own_kind(make(loss, sampler=sampler).fit(x).recommend(k=5)) > 0.8


@pytest.mark.parametrize("sampler", ["exact", "uniform", "popularity"])
@pytest.mark.parametrize("loss", FEW)
def test_every_sampler_of_few_negatives_learns(loss, sampler, x):
    assert share_of_own_kind(make(loss, sampler=sampler).fit(x).recommend(k=5)) > 0.8


@pytest.mark.parametrize("optimizer", ["adam", "adagrad", "sgd"])
@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_every_optimizer_learns(loss, optimizer, x):
    rate = {"adam": 0.02, "adagrad": 0.2, "sgd": 0.2 if loss == "bpr" else 5.0}[optimizer]
    model = make(loss, optimizer=optimizer, learning_rate=rate, init_std=0.5, epochs=40).fit(x)
    assert share_of_own_kind(model.recommend(k=5)) > 0.8


def test_popular_items_have_the_larger_biases(planted):
    x, _ = planted
    bias = cf.SampledMF(8, loss="bpr", epochs=10, learning_rate=0.02).fit(x).item_factors_[:, 8]
    counts = np.bincount(x.user_items.indices, minlength=x.n_items)
    assert np.corrcoef(bias, np.log1p(counts))[0, 1] > 0.6


def test_biases_have_an_optimizer_of_their_own(planted):
    """A slow one leaves popularity to the vectors, which spread it over fewer users."""
    x, _ = planted

    def spread(**options):
        return cf.SampledMF(8, loss="bpr", epochs=5, learning_rate=0.02, **options).fit(x).item_factors_[:, 8].std()

    assert 0 < spread(bias_optimizer="sgd", bias_learning_rate=0.001) < 0.5 * spread()
    assert spread(bias_learning_rate=0.1) > 1.5 * spread()


def test_with_cosines_vectors_have_length_one(x):
    for of in vectors(make().fit(x)):
        np.testing.assert_allclose(np.linalg.norm(of, axis=1), 1, rtol=1e-5)


def test_inner_products_of_the_softmax_learn_too(x):
    model = make(score="dot", temperature=1.0, biases=True, regularization=0.01).fit(x)
    assert share_of_own_kind(model.recommend(k=5)) > 0.8
    assert model.item_factors_.shape[1] == 8 + 2


def test_weights_are_respected(x):
    """What weighs a hundred times more is learned first; without weights nothing tells the kinds apart."""
    rng = np.random.default_rng(0)
    users, items = np.nonzero(np.ones((60, 40)) > 0)
    own = kind_of(users) == kind_of(items)
    kept = rng.random(len(users)) < 0.5
    table = pl.DataFrame({"user_id": users, "item_id": items, "weight": np.where(own, 100.0, 1.0)}).filter(
        pl.Series(kept)
    )
    x = cf.Interactions.from_frame(table, weight="weight")
    given, binary = (
        share_of_own_kind(make(weights=weights).fit(x).recommend(k=5, exclude_seen=False))
        for weights in ("given", "binary")
    )
    assert given > 0.8
    assert binary < 0.6


def test_all_weights_may_be_larger(x):
    """Only their ratios count."""
    tenfold = cf.Interactions.from_csr(x.user_items.with_values(x.user_items.values * np.float32(8)))
    plain = cf.Interactions.from_csr(x.user_items)
    assert_same(make("bpr", epochs=3).fit(plain), make("bpr", epochs=3).fit(tenfold))


# Threads and seeds


@every_loss
def test_results_do_not_depend_on_threads(loss, x):
    one, *others = (make(loss, epochs=3, threads=threads).fit(x) for threads in (1, 2, 5))
    for other in others:
        assert_same(one, other)
        assert np.array_equal(one.loss_history_, other.loss_history_)


def test_early_stopping_does_not_depend_on_threads(x):
    one, two = (make("bpr", epochs=None, patience=2, threads=threads).fit(x) for threads in (1, 2))
    assert_same(one, two)
    assert np.array_equal(one.score_history_, two.score_history_)


@pytest.mark.parametrize("loss", FEW)
def test_without_locks_it_learns_as_well(loss, x):
    for threads in (1, 2):
        assert share_of_own_kind(make(loss, deterministic=False, threads=threads).fit(x).recommend(k=5)) > 0.8


def test_other_seeds_give_other_vectors(x):
    one, other = (make(epochs=1, seed=seed).fit(x) for seed in (0, 1))
    assert not np.array_equal(one.user_factors_, other.user_factors_)


# When it stops


def test_the_epoch_with_the_best_lists_is_kept(x, held_out):
    model = make("bpr", epochs=30, patience=3, learning_rate=0.1, regularization=0.0).fit(x, held_out=held_out)
    scores = model.score_history_
    assert model.epoch_ == 1 + scores.argmax()
    assert len(scores) == len(model.loss_history_) == max(model.epoch_ + 3, 15)  # a small log: not in the first half
    assert ndcg(model.recommend(), held_out) == pytest.approx(scores.max(), rel=1e-5)


def test_held_out_pairs_are_trained_on_in_the_end(x, monkeypatch):
    """A tenth of the pairs stops training, which begins again with all of them for as many epochs."""
    trained = []
    run = Training.run

    def watched(self, plan, held_out, **options):
        trained.append((self._pairs.nnz, plan.epochs, None if held_out is None else held_out.nnz))
        return run(self, plan, held_out, **options)

    monkeypatch.setattr(Training, "run", watched)
    model = make("bpr", epochs=None, patience=2).fit(x)
    (part, most, out), (all_of, epochs, nothing) = trained
    assert (part + out, most, nothing) == (all_of, 100, None)
    assert all_of == x.user_items.nnz
    assert 0.05 * all_of < out < 0.15 * all_of
    assert epochs == model.epoch_ == 1 + model.score_history_.argmax()
    monkeypatch.undo()
    assert_same(model, make("bpr", epochs=model.epoch_).fit(x))


def test_given_pairs_are_not_trained_on(x, held_out):
    model = make("bpr", epochs=5).fit(x, held_out=held_out)
    assert model.interactions_.user_items.nnz == x.user_items.nnz
    assert len(model.score_history_) == 5


def test_pairs_to_stop_by_may_be_of_others_too(x, held_out):
    more = pl.concat([held_out, pl.DataFrame({"user_id": [9999], "item_id": [1]})])
    with pytest.warns(CofactorWarning, match="held_out: 1 of .* pairs have a user or an item that is not in the inter"):
        model = make("bpr", epochs=2).fit(x, held_out=more)
    assert_same(model, make("bpr", epochs=2).fit(x, held_out=held_out))


def test_pairs_to_stop_by_that_are_no_use(x, pairs):
    with pytest.raises(DataError, match="held_out: none of its 5 pairs"):
        make().fit(x, held_out=pairs.head(5))


def test_a_cosine_schedule_ends_softly(x, monkeypatch):
    """The last steps hardly move anything."""

    epochs = []
    epoch = Training.epoch

    def watched(self, number, rate):
        epochs.append(self.factors()[0])
        return epoch(self, number, rate)

    monkeypatch.setattr(Training, "epoch", watched)
    end = make("bpr", lr_schedule="cosine").fit(x).user_factors_
    first, last = np.linalg.norm(epochs[1] - epochs[0]), np.linalg.norm(end - epochs[-1])
    assert last < 0.05 * first


def test_a_plateau_is_gone_through_again_with_all_pairs(x, monkeypatch):
    rates = []
    epoch = Training.epoch

    def watched(self, number, rate):
        rates.append((number, rate))
        return epoch(self, number, rate)

    monkeypatch.setattr(Training, "epoch", watched)
    monkeypatch.setattr(sampled_mf, "_LEAST_PAIRS", 0)
    model = make("bpr", epochs=None, patience=4, lr_schedule="plateau").fit(x)
    n = len(model.score_history_)
    assert rates[n:] == rates[: model.epoch_]
    assert rates[n - 1][1].first < 1


# What goes wrong


@pytest.mark.parametrize("loss", ["bpr", "warp", "logistic", "hinge"])
def test_divergence_at_once_is_an_error(loss, x):
    model = make(loss, optimizer="sgd", learning_rate=1e6)
    with pytest.raises(CofactorError, match=r"training diverged; lower learning_rate, or raise regularization"):
        model.fit(x)
    assert not hasattr(model, "user_factors_")


def test_divergence_later_keeps_the_last_good_epoch(x, monkeypatch):
    epoch = Training.epoch
    monkeypatch.setattr(Training, "epoch", lambda self, n, rate: epoch(self, n, Rate(1e30, 1e30) if n == 5 else rate))
    with pytest.warns(CofactorWarning, match=r"after epoch 6, training diverged .* epoch 5 left is kept. Lower learn"):
        model = make("bpr", optimizer="sgd", learning_rate=0.2, epochs=20).fit(x)
    assert model.epoch_ == len(model.loss_history_) == 5
    monkeypatch.undo()
    assert_same(model, make("bpr", optimizer="sgd", learning_rate=0.2, epochs=5).fit(x))


@pytest.mark.parametrize("loss", ["softmax", "bsl", "ccl"])
def test_cosines_that_learn_nothing_are_told(loss, x):
    """They do not diverge: the larger the vectors are, the less a step turns them."""
    with pytest.warns(CofactorWarning, match=r"vectors that know nothing have little more; .* another learning_rate"):
        make(loss, learning_rate=1e4, epochs=3, lr_schedule="constant").fit(x)


def interrupted(monkeypatch, at):
    """Ctrl-C in the epoch that is run as number ``at``, whatever its own number."""
    epoch, n = Training.epoch, iter(range(10**6))

    def one(self, number, rate):
        loss = epoch(self, number, rate)
        if next(n) == at:
            raise KeyboardInterrupt
        return loss

    monkeypatch.setattr(Training, "epoch", one)


def test_a_stop_keeps_the_model_so_far(x, monkeypatch):
    interrupted(monkeypatch, at=4)
    with pytest.warns(
        CofactorWarning, match="SampledMF: stopped by Ctrl-C in epoch 5 of 20; what epoch 4 left is kept"
    ):
        model = make("bpr").fit(x)
    monkeypatch.undo()
    assert_same(model, make("bpr", epochs=4).fit(x))


def test_a_stop_of_early_stopping_does_not_train_again(x, monkeypatch):
    interrupted(monkeypatch, at=2)
    with pytest.warns(CofactorWarning, match="stopped by Ctrl-C in epoch 3 of 100"):
        model = make("bpr", epochs=None).fit(x)
    assert len(model.loss_history_) == 2
    assert model.recommend()["user_id"].n_unique() == x.n_users


def test_a_stop_while_training_with_all_pairs_keeps_what_was_there(x, monkeypatch):
    n = len(make("bpr", epochs=None, patience=2).fit(x).loss_history_)
    interrupted(monkeypatch, at=n + 1)
    with pytest.warns(
        CofactorWarning, match="again with the pairs held out: stopped by Ctrl-C; what was trained without"
    ):
        model = make("bpr", epochs=None, patience=2).fit(x)
    assert model.epoch_ == 1 + model.score_history_.argmax()
    assert share_of_own_kind(model.recommend(k=5)) > 0.8


def test_a_stop_in_the_first_epoch_changes_nothing(x, monkeypatch):
    model = make("bpr", epochs=2).fit(x)
    before = vectors(model)
    interrupted(monkeypatch, at=0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(x)
    assert all(map(np.array_equal, before, vectors(model)))


@pytest.mark.parametrize("loss", ["softmax", "softmax@k", "bsl"])
def test_a_stop_while_the_temperature_is_searched_ends_the_fit(loss, x, monkeypatch):
    model = make(loss, temperature=None, epochs=2)
    interrupted(monkeypatch, at=2)
    with pytest.raises(KeyboardInterrupt):
        model.fit(x)
    with pytest.raises(cf.NotFittedError):
        model.recommend()


def test_a_stop_while_training_with_all_pairs_ends_what_it_is_a_part_of(x, monkeypatch):
    n = len(make("bpr", epochs=None, patience=2).fit(x).loss_history_)
    interrupted(monkeypatch, at=n + 1)
    with part_of_more(), pytest.raises(KeyboardInterrupt):
        make("bpr", epochs=None, patience=2).fit(x)


def test_a_stop_of_a_model_inside_ends_the_whole(x, monkeypatch):
    blend = cf.Blend(make("bpr"), cf.Popular())
    interrupted(monkeypatch, at=2)
    with pytest.raises(KeyboardInterrupt):
        blend.fit(x)
    with pytest.raises(cf.NotFittedError):
        blend.recommend()


def test_a_stop_ends_comparisons(pairs, held_out, monkeypatch):
    """Nothing that is half trained is measured beside others."""
    events = cf.read_events(pairs, user="user_id", item="item_id")
    for compared in (
        lambda: cf.compare({"bpr": make("bpr")}, events, held_out),
        lambda: cf.cross_validate(make("bpr"), events, 2),
    ):
        interrupted(monkeypatch, at=2)
        with pytest.raises(KeyboardInterrupt):
            compared()
        monkeypatch.undo()


def test_users_who_have_everything_are_passed_over_and_told_in_the_log(x, pairs, caplog):
    full = pl.concat([pairs, pl.DataFrame({"user_id": [9999] * N_ITEMS, "item_id": range(N_ITEMS)})])
    with caplog.at_level("INFO", "cofactor.models.sampled"):
        model = make("bpr", epochs=3).fit(cf.Interactions.from_frame(full))
    assert [r.message for r in caplog.records] == [
        "SampledMF: 1 of 241 users have every item, so that none is left as a negative; their pairs are skipped"
    ]
    assert model.recommend(users=[9999]).is_empty()
    assert np.isfinite(model.user_factors_).all()


@every_loss
def test_one_item(loss):
    model = make(loss).fit(cf.Interactions.from_frame(pl.DataFrame({"user_id": [1, 2], "item_id": [7, 7]})))
    assert model.recommend(exclude_seen=False)["item_id"].to_list() == [7, 7]
    assert np.isfinite(model.user_factors_).all()


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss != "logistic"])  # whose pairs are lost among them
def test_more_negatives_than_items(loss, x):
    assert share_of_own_kind(make(loss, negatives=3 * N_ITEMS, epochs=15).fit(x).recommend(k=5)) > 0.7


@every_loss
def test_more_factors_than_items(loss, x):
    assert np.isfinite(make(loss, factors=100, epochs=2).fit(x).item_factors_).all()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"loss": "bpm"}, "loss"),
        ({"factors": 0}, "factors"),
        ({"negatives": 0}, "negatives"),
        ({"temperature": 0.0}, "temperature"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"epochs": 0}, "epochs"),
        ({"lr_schedule": "step"}, "lr_schedule"),
        ({"sampler": "in_batch", "loss": "bpr"}, "use 'popularity'"),
        ({"score": "cosine", "loss": "warp"}, "score='cosine' is for losses whose negatives a batch shares"),
        ({"loss": "ccl", "margin": 1.0}, "margin"),
        ({"category_discount": 1.5}, "category_discount"),
    ],
)
def test_parameters_that_make_no_sense(wrong, told, x):
    with pytest.raises(ParameterError, match=told):
        cf.SampledMF(**wrong).fit(x)


# New users


FOLDED = {"bpr": 0.93, "warp": 0.9, "logistic": 0.93, "softmax": 0.95, "bsl": 0.95, "ccl": 0.93}


@pytest.mark.parametrize("loss", FOLDED)
def test_folded_in_users_get_lists_as_good(loss, planted):
    train, test = planted
    options = PLANTED.get(loss, {"learning_rate": 0.01, "epochs": 30, "regularization": 0.03})
    model = cf.SampledMF(8, loss=loss, batch_size=2048, **options).fit(train)
    known, folded = (ndcg(lists, test) for lists in (model.recommend(), model.recommend_for(train)))
    assert folded > FOLDED[loss] * known


@every_loss
def test_a_new_user_does_not_depend_on_the_others(loss, x, pairs):
    model = make(loss).fit(x)
    everyone = model.recommend_for(pairs, k=5, exclude_seen=False)
    alone = model.recommend_for(pairs.filter(pl.col("user_id") == 17), k=5, exclude_seen=False)
    assert_frame_equal(alone, everyone.filter(pl.col("user_id") == 17), rel_tol=0.01)


def test_more_new_users_than_are_folded_in_at_once(x, pairs):
    model = make().fit(x)
    many = pl.concat([pairs.with_columns(pl.col("user_id") + 1000 * n) for n in range(6)])
    lists = model.recommend_for(many, k=3)
    assert lists["user_id"].n_unique() == 6 * x.n_users
    first, last = (lists.filter(pl.col("user_id") // 1000 == n).drop("user_id") for n in (0, 5))
    assert (first["item_id"] == last["item_id"]).mean() > 0.99


def test_nobody_at_all_is_folded_in(x):
    model = make("bpr", epochs=1).fit(x)
    assert model.top_k_for(CSR.from_pairs([], [], [], (0, x.n_items))).rows.shape[0] == 0


# Saved


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_training_goes_on_after_loading_and_after_pickling(loss, x, pairs, tmp_path):
    model = make(loss).fit(x)
    model.save(tmp_path / "model")
    again = cf.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))  # noqa: S301
    more = pairs.head(50).with_columns(pl.col("user_id") + 5000)
    model.partial_fit(more, epochs=2)
    for one in again:
        assert_same(one.partial_fit(more, epochs=2), model)


def test_nothing_is_said_that_need_not_be(x, pairs):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make().fit(x).partial_fit(pairs.head(3), epochs=1)


@every_loss
def test_a_small_log_is_learned_by_default(loss, x, held_out):
    """Held-out pairs of so few users say little at first, and vectors about zero take some epochs to begin."""
    lists = cf.SampledMF(8, loss=loss).fit(x).recommend(k=10)
    assert ndcg(lists, held_out) > 2 * ndcg(cf.Random().fit(x).recommend(k=10), held_out)
