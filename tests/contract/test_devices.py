"""Models on the devices of PyTorch: what the CPU gives, or an error that says what is missing and what is there.

Losses agree to 1e-4, lists but for scores that are closer than float32 tells. Without PyTorch only errors are tested.
"""

import re
import sys
from inspect import signature
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.kernels import cpu, on
from cofactor.kernels.arguments import FmSide
from cofactor.kernels.csr import CSR
from cofactor.kernels.torch import _KERNELS, _ON_THE_HOST, Kernels
from cofactor.kernels.torch.place import Place
from cofactor.models.base.model import Model
from device import in_torch

DEVICES = [
    pytest.param(name, marks=() if name in in_torch() else pytest.mark.skip(f"no device={name!r} here"))
    for name in ("torch", "cuda")
]
every_device = pytest.mark.parametrize("device", DEVICES)


@pytest.fixture(scope="module")
def x():
    return cf.datasets.synthetic(n_users=300, n_items=150, n_interactions=6_000, factors=4, seed=0)


def make(device, **changed):
    given = {"regularization": 0.01, "alpha": 2.0, "unobserved_weight": 0.3, "iterations": 4, "device": device}
    return cf.ImplicitALS(**{"factors": 24, **given, **changed})


def lists_agree(found, wanted):
    """The same scores place by place, and the same items but where two scores are next to equal."""
    np.testing.assert_allclose(found["score"], wanted["score"], rtol=2e-3, atol=2e-4)
    assert (found["item_id"] == wanted["item_id"]).mean() > 0.99


@every_device
@pytest.mark.parametrize("solver", ["cholesky", "cg", "subspace"])
def test_a_fit_is_that_of_the_cpu(x, device, solver):
    here, there = make("cpu", solver=solver).fit(x), make(device, solver=solver).fit(x)
    np.testing.assert_allclose(there.loss_history_, here.loss_history_, rtol=1e-4)
    assert type(there.item_factors_) is np.ndarray
    lists_agree(there.recommend(k=5), here.recommend(k=5))
    histories = pl.DataFrame({"user_id": ["new"] * 3, "item_id": x.items.ids[:3]})
    lists_agree(there.recommend_for(histories, k=5), here.recommend_for(histories, k=5))
    np.testing.assert_allclose(there.similar_items(k=3)["score"], here.similar_items(k=3)["score"], atol=1e-3)


EASE = {
    "items": {"form": "primal", "dropout": 0.1},
    "users": {"form": "dual", "user_exponent": 0.3},
    "ten weights": {"form": "primal", "top_n": 10},
    "ten weights of users": {"form": "dual", "top_n": 10},
}


@every_device
@pytest.mark.parametrize("form", EASE.values(), ids=EASE.keys())
def test_an_inverse_is_that_of_the_cpu(x, device, form):
    here, there = (cf.EASE(20.0, device=name, **form).fit(x) for name in ("cpu", device))
    lists_agree(there.recommend(k=5), here.recommend(k=5))
    histories = pl.DataFrame({"user_id": ["new"] * 3, "item_id": x.items.ids[:3]})
    lists_agree(there.recommend_for(histories, k=5), here.recommend_for(histories, k=5))
    pairs = histories.with_columns(user_id=pl.lit(x.users.ids[0]))
    np.testing.assert_allclose(there.predict(pairs)["score"], here.predict(pairs)["score"], rtol=1e-3, atol=1e-4)
    lists_agree(there.similar_items(k=3), here.similar_items(k=3))


NEIGHBOURS = {
    "items": lambda **on: cf.ItemKNN(neighbours=20, **on),
    "items by bm25": lambda **on: cf.ItemKNN("bm25", 20, **on),
    "users": lambda **on: cf.UserKNN(neighbours=20, **on),
    "a walk": lambda **on: cf.RP3beta(neighbours=20, **on),
}


@every_device
@pytest.mark.parametrize("make", NEIGHBOURS.values(), ids=NEIGHBOURS.keys())
def test_neighbours_are_those_of_the_cpu(x, device, make):
    here, there = (make(device=name).fit(x) for name in ("cpu", device))
    lists_agree(there.recommend(k=5), here.recommend(k=5))
    histories = pl.DataFrame({"user_id": ["new"] * 3, "item_id": x.items.ids[:3]})
    lists_agree(there.recommend_for(histories, k=5), here.recommend_for(histories, k=5))
    pairs = histories.with_columns(user_id=pl.lit(x.users.ids[0]))
    np.testing.assert_allclose(there.predict(pairs)["score"], here.predict(pairs)["score"], rtol=1e-3, atol=1e-4)
    if not isinstance(here, cf.UserKNN):
        lists_agree(there.similar_items(k=3), here.similar_items(k=3))


SLIM = {
    "all": {},
    "of both signs": {"non_negative": False},
    "few of few": {"neighbours": 20, "top_n": 5},
}


@every_device
@pytest.mark.parametrize("form", SLIM.values(), ids=SLIM.keys())
def test_sparse_weights_are_those_of_the_cpu(x, device, form):
    def make(name):
        return cf.SLIM(0.5, 10.0, tolerance=1e-5, device=name, **form)

    def of(model):  # of each column in order: top_n takes either of two that are next to equal
        return np.sort(model.item_weights_.to_scipy().toarray(), axis=0)

    here, there = (make(name).fit(x) for name in ("cpu", device))
    np.testing.assert_allclose(of(there), of(here), atol=1e-4)
    assert np.count_nonzero(of(here)) > 300
    np.testing.assert_allclose(of(make(device).fit(x, warm_start=there)), of(here), atol=1e-4)
    histories = pl.DataFrame({"user_id": ["new"] * 3, "item_id": x.items.ids[:3]})
    pairs = histories.with_columns(user_id=pl.lit(x.users.ids[0]))
    there.item_weights_ = here.item_weights_
    lists_agree(there.recommend(k=3), here.recommend(k=3))
    lists_agree(there.recommend_for(histories, k=3), here.recommend_for(histories, k=3))
    lists_agree(there.similar_items(k=3), here.similar_items(k=3))
    np.testing.assert_allclose(there.predict(pairs)["score"], here.predict(pairs)["score"], rtol=1e-3, atol=1e-4)


@every_device
@pytest.mark.parametrize("loss", ["softmax", "softmax@k", "bpr", "warp", "logistic"])
def test_sampled_losses_are_those_of_the_cpu(x, device, loss):
    """The same negatives in the same batches."""
    here, there = (cf.SampledMF(16, loss=loss, epochs=4, device=name).fit(x) for name in ("cpu", device))
    np.testing.assert_allclose(there.loss_history_, here.loss_history_, rtol=1e-4)
    lists_agree(there.recommend(k=5), here.recommend(k=5))
    histories = pl.DataFrame({"user_id": ["new"] * 3, "item_id": x.items.ids[:3]})
    lists_agree(there.recommend_for(histories, k=5), here.recommend_for(histories, k=5))


@every_device
def test_sessions_by_a_sampled_loss_are_those_of_the_cpu(device):
    sessions = cf.datasets.synthetic_sessions(200, 40, seed=0)
    here, there = (cf.SessionMF(8, epochs=2, device=name).fit(sessions) for name in ("cpu", device))
    np.testing.assert_allclose(there.loss_history_, here.loss_history_, rtol=1e-4)


@every_device
@pytest.mark.parametrize("shared", [True, False])
def test_pairs_of_items_are_those_of_the_cpu(device, shared):
    sessions = cf.datasets.synthetic_sessions(200, 40, seed=0)
    options = {"shared": shared, "negatives": 8, "batch_size": 32, "epochs": 2, "threads": 1}
    here, there = (cf.ItemPairsMF(8, device=name, **options).fit(sessions) for name in ("cpu", device))
    np.testing.assert_allclose(there.loss_history_, here.loss_history_, rtol=1e-4)
    lists_agree(there.similar_items(k=3), here.similar_items(k=3))


@every_device
@pytest.mark.parametrize(
    ("task", "more"),
    [
        ("regression", {}),
        ("regression", {"output": "sigmoid", "optimizer": "adam"}),
        ("regression", {"optimizer": "adagrad"}),
        ("classification", {}),
    ],
)
def test_a_machine_by_batches_learns_as_much_as_on_the_cpu(x, device, task, more):
    """Batches differ; what one has learned predicts the same anywhere."""
    rng, user, item = np.random.default_rng(0), x.user_items.row_index(), x.user_items.indices
    scores = (rng.standard_normal((x.n_users, 3))[user] * rng.standard_normal((x.n_items, 3))[item]).sum(1)
    values = (scores > 0) if task == "classification" else scores.round(1)
    pairs = pl.DataFrame({"user_id": user, "item_id": item, "rating": values.astype(np.float64)})
    ratings = cf.Ratings.from_frame(pairs)
    options = {"method": "sgd", "task": task, "iterations": 6} | more
    here, there = (cf.FactorizationMachine(8, device=name, **options).fit(ratings) for name in ("cpu", device))
    np.testing.assert_allclose(there.error_history_, here.error_history_, rtol=0.02)
    found = there.predict(pairs)
    there.device = "cpu"
    np.testing.assert_allclose(found["rating"], there.predict(pairs)["rating"], rtol=1e-4, atol=1e-5)


@every_device
def test_a_machine_by_batches_learns_as_much_of_features_sets_and_context(x, device):
    rng, user, item = np.random.default_rng(0), x.user_items.row_index(), x.user_items.indices
    scores = (rng.standard_normal((x.n_users, 3))[user] * rng.standard_normal((x.n_items, 3))[item]).sum(1)
    pairs = pl.DataFrame({"user_id": user, "item_id": item, "rating": scores.round(1), "place": user * item % 3})
    items = pl.DataFrame(
        {"item_id": np.arange(x.n_items), "genres": [["a", "b", "c"][i % 3 :] for i in range(x.n_items)]}
    )
    options = {"method": "sgd", "implicit": True, "context": ["place"], "iterations": 6}
    here, there = (
        cf.FactorizationMachine(8, device=name, **options).fit(pairs, item_features=items) for name in ("cpu", device)
    )
    np.testing.assert_allclose(there.error_history_, here.error_history_, rtol=0.02)
    found = there.predict(pairs)
    there.device = "cpu"
    np.testing.assert_allclose(found["rating"], there.predict(pairs)["rating"], rtol=1e-4, atol=1e-5)


MACHINES = {
    "sampled": {},
    "ordinal, of sets of items": {"task": "ordinal", "implicit": True, "factors": 1, "iterations": 3},
    "two values": {"task": "classification", "user_noise": False},
    "descent": {"method": "als", "regularization": 2.0},
    "in context": {"method": "als", "regularization": 2.0, "context": ["place"]},
}


@every_device
@pytest.mark.parametrize("kind", MACHINES.values(), ids=MACHINES.keys())
def test_sweeps_of_machines_are_those_of_the_cpu(x, device, kind):
    """The same draws; features of one, of many and of no value, and new users."""
    rng, user, item = np.random.default_rng(0), x.user_items.row_index(), x.user_items.indices
    scores = (rng.standard_normal((x.n_users, 3))[user] * rng.standard_normal((x.n_items, 3))[item]).sum(1)
    values = scores > 0 if kind.get("task") == "classification" else np.clip(scores.round(), -2, 2)
    pairs = {"user_id": user, "item_id": item, "rating": values.astype(np.float64), "place": user * item % 3}
    in_context = kind.get("context") is not None
    pairs = pl.DataFrame(pairs) if in_context else pl.DataFrame(pairs).drop("place")
    roles = {"user": "user_id", "item": "item_id", "rating": "rating"}
    ratings = cf.read_events(pairs, **roles).ratings(context=["place"]) if in_context else cf.Ratings.from_frame(pairs)
    ids = np.arange(x.n_items)
    genres = [["a", "b", "c"][i % 3 : 1 + i % 4] for i in ids]
    items = pl.DataFrame({"item_id": ids, "genres": genres, "year": ids % 7})
    options = {"iterations": 4, "samples": 2, "factors": 5} | kind
    here, there = (
        cf.FactorizationMachine(device=name, **options).fit(ratings, item_features=items) for name in ("cpu", device)
    )
    np.testing.assert_allclose(there.error_history_, here.error_history_, rtol=1e-4)
    np.testing.assert_allclose(there.item_samples_, here.item_samples_, rtol=5e-3, atol=5e-3)
    found, wanted = there.predict(pairs)["rating"], here.predict(pairs)["rating"]
    np.testing.assert_allclose(found, wanted, rtol=5e-3, atol=5e-3)
    if not in_context:
        new = pairs.filter(pl.col("user_id") == 0).with_columns(user_id=pl.lit(-1))
        found, wanted = (m.recommend_for(new, k=3)["score"] for m in (there, here))
        np.testing.assert_allclose(found, wanted, rtol=5e-3, atol=5e-3)


@every_device
def test_fits_repeat_themselves(x, device):
    one, other = make(device).fit(x), make(device).fit(x)
    assert np.array_equal(one.item_factors_, other.item_factors_)


@every_device
def test_what_one_device_has_learned_answers_on_another(x, device, tmp_path):
    make(device).fit(x).save(tmp_path / "there")
    model = cf.load(tmp_path / "there")
    assert model.device == device
    there = model.recommend(k=5)
    model.device = "cpu"
    lists_agree(there, model.recommend(k=5))


@every_device
def test_kernels_that_are_missing_name_the_device_that_has_them(device):
    with pytest.raises(cf.ParameterError, match=f"device='{device}' has no kernel .*; the device that has it: cpu"):
        on(device).session_top_k()


@every_device
def test_numbers_beyond_float32_are_told(x, device):
    with pytest.raises(cf.CofactorError, match="raise it, or lower alpha"):
        make(device, alpha=1e38).fit(x)


@every_device
def test_ctrl_c_leaves_the_model_as_it_was(x, device):
    def interrupt(*_):
        raise KeyboardInterrupt

    model = make(device).fit(x)
    before = model.item_factors_
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, on_iteration=interrupt)
    assert model.item_factors_ is before


@every_device
def test_chunks_change_nothing_but_roundoff(device, monkeypatch):
    """Histories longer than a chunk go piece by piece, queries tile by tile."""
    kernels, rng = on(device), np.random.default_rng(0)
    lengths = np.array([700, 0, 3, 40, 900])
    columns = [np.sort(rng.choice(1_000, n, replace=False)) for n in lengths]
    history = CSR(
        np.concatenate([[0], lengths.cumsum()]).astype(np.int64),
        np.concatenate(columns).astype(np.int32),
        rng.uniform(0.5, 2, lengths.sum()).astype(np.float32),
        1_000,
    )
    fixed, start = (rng.standard_normal((n, 8), np.float32) for n in (1_000, 5))
    options = {"alpha": 2.0, "unobserved_weight": 0.5, "regularization": 0.1, "regularization_exponent": 1.0}

    def results():
        held, solved = kernels.hold(fixed.copy()), [kernels.hold(start.copy()) for _ in range(3)]
        gramian = kernels.to_principal_axes(held, *solved)
        for solver, vectors in zip(("cholesky", "cg", "subspace"), solved, strict=True):
            yield kernels.als_sweep(history, vectors, held, gramian, solver=solver, **options)[0]
            yield kernels.fetch(vectors)
        yield kernels.top_k(fixed, fixed, 3).rows

    whole = list(results())
    monkeypatch.setattr(type(kernels._place), "chunk_floats", 1_000)
    for part, all_at_once in zip(results(), whole, strict=True):
        np.testing.assert_allclose(part, all_at_once, rtol=1e-4, atol=1e-5)


@every_device
@pytest.mark.parametrize("kind", ["columns of SLIM", "columns of SLIM without X'X", "a machine"])
def test_chunks_change_no_sweep(x, device, monkeypatch, kind):
    """Few columns at a time, and rows that are longer than a chunk."""
    kernels = on(device)
    by_user, by_item = x.user_items, x.item_users

    def result():
        if kind == "a machine":
            rng = np.random.default_rng(0)
            features = CSR.from_pairs(np.arange(150), np.arange(150) % 5, np.ones(150), (150, 5))
            arrays = [0.1 * rng.standard_normal((n, 16), np.float32) for n in (150, 150, 5, 300)]
            own = FmSide(*arrays[:3], features, features.transposed(), np.zeros(5, np.int32))
            priors, held = (np.zeros((1, 16), np.float32), np.ones((1, 16), np.float32)), kernels.hold(own)
            left, sums = kernels.fm_sweep(by_item, held, arrays[3], *priors, seed=1)
            return [left, sums, kernels.fetch(held).ids, kernels.fetch(held).parts]
        gramian = None if "without" in kind else (by_user.to_scipy().T @ by_user.to_scipy()).toarray()
        padded = None if gramian is None else np.pad(gramian, ((0, 0), (0, 10)))
        options = {"l1": 0.5, "l2": 10.0, "non_negative": True, "tolerance": 1e-5, "iterations": 500}
        weights, status = kernels.slim_columns(by_user, by_item, 40, 52, gramian=padded, **options)
        return [weights.to_scipy().toarray(), status]

    whole = result()
    monkeypatch.setattr(type(kernels._place), "chunk_floats", 1_000)
    for part, all_at_once in zip(result(), whole, strict=True):
        np.testing.assert_allclose(part, all_at_once, rtol=1e-3, atol=2e-4)


@every_device
def test_a_lack_of_memory_is_told_in_numbers(x, device, monkeypatch):
    import torch

    def too_much(*_, **__):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(torch.linalg, "cholesky_ex", too_much)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (3 * 2**29, 2**34))
    model = make(device)
    with pytest.raises(cf.CofactorError, match=r"als_sweep ran out of memory .* 1.5 of 16.0 GiB are free, of which a"):
        model.fit(x)
    with pytest.raises(cf.NotFittedError):
        model.recommend()


@pytest.mark.skipif("torch" not in in_torch(), reason="PyTorch is missing")
def test_chunks_shrink_where_another_process_has_the_card(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    place = Place("cuda")
    free = {"alone": 2**36, "beside another": 2**30, "full": 2**20}
    chunks = {}
    for what, n_bytes in free.items():
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda n=n_bytes: (n, 2**37))
        chunks[what] = 4 * place.chunk_floats
    assert chunks == {"alone": 2**29, "beside another": 2**27, "full": 2**24}


# What is not there


def test_without_pytorch_the_extra_is_named(x, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for device in ("torch", "cuda"):
        with pytest.raises(cf.MissingExtraError, match=r"needs PyTorch: pip install 'cofactor\[gpu\]'"):
            make(device).fit(x)


def test_a_saved_model_whose_device_is_not_here_answers_on_the_cpu_and_says_so(x, tmp_path, monkeypatch):
    model = make("cpu").fit(x)
    model.device = "cuda"
    model.save(tmp_path / "model")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.warns(cf.CofactorWarning, match=r"saved with device='cuda', which is not here .*computes with .*'cpu'"):
        loaded = cf.load(tmp_path / "model")
    assert loaded.device == "cpu"
    model.device = "cpu"
    assert loaded.recommend(k=3).equals(model.recommend(k=3))


@pytest.mark.skipif("torch" not in in_torch() or "cuda" in in_torch(), reason="PyTorch is missing, or has a GPU")
def test_without_a_gpu_the_devices_that_are_there_are_named(x):
    with pytest.raises(cf.ParameterError, match=r"has nothing to compute on: .*; devices that are there: cpu, torch"):
        make("cuda").fit(x)


def test_the_page_says_of_every_model_and_kernel_where_it_computes():
    page = (Path(__file__).parents[2] / "docs" / "devices.md").read_text()
    table, rest = page.split("What a device lacks", 1)
    alone = rest.split("These models have no parameter", 1)[1].split("\n\n")[0]
    kernels = rest.split("These kernels are the CPU's alone", 1)[1].split("\n\n")[0]
    with_one = {name for name, model in Model.registry.items() if "device" in signature(model).parameters}
    ours = {name for name, model in Model.registry.items() if model.__module__.startswith("cofactor.")}
    assert {name for name in ours if f"`{name}" in table} == with_one & ours
    assert set(re.findall(r"`([A-Z]\w+)`", alone)) == ours - with_one
    lacking = {
        getattr(cpu.Kernels, name).__module__.rpartition(".")[2]
        for name in vars(cpu.Kernels)
        if not name.startswith("_") and name not in {*vars(Kernels), *_ON_THE_HOST, *_KERNELS}
    }
    assert set(re.findall(r"`(\w+)`", kernels)) == lacking
    assert max(len(line) for line in page.splitlines() if not line.startswith("|")) <= 120
