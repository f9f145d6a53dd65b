"""Indexes that are saved with their model: mapped, never made again, and refused where they are of other vectors."""

import hashlib
import json
from functools import partial
from io import BytesIO

import numpy as np
import pytest
from polars.testing import assert_frame_equal

import cofactor as cf
from cofactor.kernels import native, on
from cofactor.models.base import saved
from cofactor.retrieval.models import is_indexed
from cofactor.system.arrays import mapped_arrays, write_arrays
from halves import Halves

MAKES = {
    "exact": cf.retrieval.ExactIndex,
    "approximate": partial(cf.retrieval.ApproximateIndex, recall=0.9, recall_k=5, exact_below=0.3),
}


@pytest.fixture
def model():
    """A thousand items in clusters, one of which has no vector."""
    rng = np.random.default_rng(0)
    items = (3 * rng.standard_normal((9, 6)))[rng.integers(0, 9, 1000)] + rng.standard_normal((1000, 6))
    items[17] = 0
    return cf.FactorModel.from_vectors(rng.standard_normal((40, 6)), items)


@pytest.fixture
def making(monkeypatch):
    """How often the order of items was looked for."""
    calls, real = [], on("cpu").block_order
    monkeypatch.setattr(type(on("cpu")), "block_order", staticmethod(lambda *a, **k: calls.append(1) or real(*a, **k)))
    return calls


def edit(folder, change):
    """Let a function change the arrays and the description of a saved model, and sign what comes of it."""
    header = json.loads((folder / "model.json").read_text())
    path = folder / saved.MODEL.file_names(header)["arrays"]
    with path.open("rb") as opened:
        arrays = {name: array.copy() for name, array in mapped_arrays(opened).items()}
    change(arrays, header["model"])
    out = BytesIO()
    write_arrays(out, arrays)
    path.write_bytes(out.getvalue())
    header["sha256"][path.name] = hashlib.sha256(out.getvalue()).hexdigest()
    (folder / "model.json").write_text(json.dumps(header))


def assert_equal(model, other):
    assert_frame_equal(model.recommend(k=9, exclude_seen=False), other.recommend(k=9, exclude_seen=False))
    some = {"k": 3, "exclude_seen": False, "items": list(range(0, 1000, 7))}
    assert_frame_equal(model.recommend(**some), other.recommend(**some))
    assert_frame_equal(model.similar_items([3, 5, 17], k=4), other.similar_items([3, 5, 17], k=4))


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("make", MAKES)
def test_a_loaded_model_ranks_by_the_index_it_was_saved_with(model, tmp_path, making, make, asked, verify):
    fast = cf.retrieval.indexed(model, MAKES[make])
    if asked:
        fast.recommend(k=1)
        fast.similar_items(k=1)
    fast.save(tmp_path)
    n = len(making)
    loaded = cf.load(tmp_path, verify=verify)
    assert is_indexed(loaded)
    assert not is_indexed(model)
    assert_equal(loaded, fast)
    assert len(making) == max(n, 2)  # one for lists and one for similar items, all before
    loaded.save(tmp_path)
    assert_equal(cf.load(tmp_path, verify=verify), fast)
    assert len(making) == max(n, 2)


def test_parameters_are_kept_for_indexes_that_were_not_made(model, tmp_path):
    fast = cf.retrieval.indexed(model, MAKES["approximate"])
    fast.recommend(k=1)
    fast.save(tmp_path)
    loaded = cf.load(tmp_path)
    assert_equal(loaded, fast)
    made = loaded._indexes._made
    assert list(made) == ["inner_product", "cosine"]
    assert [index.params() for index in made.values()] == [{"recall": 0.9, "recall_k": 5, "exact_below": 0.3}] * 2
    before = fast._indexes._made["inner_product"]
    assert (made["inner_product"].effort, made["inner_product"].recall) == (before.effort, before.recall)


def test_arrays_are_mapped_from_the_file(model, tmp_path):
    cf.retrieval.indexed(model).save(tmp_path)
    index = cf.load(tmp_path)._indexes._made["inner_product"]
    for name, array in index.saved()[1].items():
        assert not array.flags.writeable, name
        assert not array.flags.owndata, name


def test_models_made_of_models_keep_the_indexes_of_their_parts(interactions, tmp_path, making):
    parts = cf.ItemPairsMF(8, epochs=2, threads=1), cf.ItemKNN()
    model = cf.HistoryRerank(*parts).fit(interactions)
    fast = cf.retrieval.indexed(model)
    wanted = fast.recommend(k=7, exclude_seen=False)
    fast.save(tmp_path)
    n = len(making)
    loaded = cf.load(tmp_path)
    assert_frame_equal(loaded.recommend(k=7, exclude_seen=False), wanted)
    assert is_indexed(loaded)
    assert len(making) == n


def test_a_model_that_was_fitted_again_is_saved_without_the_old_index(interactions, tmp_path):
    fast = cf.retrieval.indexed(cf.ImplicitALS(4, iterations=1).fit(interactions, progress=False))
    fast.fit(interactions, progress=False)
    fast.save(tmp_path)
    assert not is_indexed(cf.load(tmp_path))


def test_another_cpu_level_packs_it_again(model, tmp_path, making):
    fast, before = cf.retrieval.indexed(model), native.level
    fast.save(tmp_path)
    wanted = fast.recommend(k=9, exclude_seen=False)
    n = len(making)
    try:
        for level in native.supported_levels():
            native.use_level(level)
            loaded = cf.load(tmp_path)
            loaded.save(tmp_path)
            assert_frame_equal(cf.load(tmp_path).recommend(k=9, exclude_seen=False), wanted, rel_tol=1e-5)
    finally:
        native.use_level(before)
    assert len(making) == n


def other_vectors(arrays, told):
    arrays["item_factors_"][3, 2] += 1


def other_metric(arrays, told):
    told["index"]["made"] = {"euclidean": told["index"]["made"]["cosine"]}


def unknown_kind(arrays, told):
    told["index"]["class"] = "Annoy"


def an_item_twice(arrays, told):
    arrays["index.inner_product.order"][3] = arrays["index.inner_product.order"][4]


def an_item_that_is_not_there(arrays, told):
    arrays["index.cosine.order"][3] = 1000


def too_few_codes(arrays, told):
    arrays["index.inner_product.codes"] = arrays["index.inner_product.codes"][:-1]


def no_codes(arrays, told):
    del arrays["index.inner_product.codes"]


def blocks_that_descend(arrays, told):
    arrays["index.inner_product.offsets"][1] = -1


def no_table(arrays, told):
    told["index"] = 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_vectors, "its index is one of other vectors"),
        (other_metric, "its index is by 'euclidean'; those of models are by inner_product, cosine"),
        (unknown_kind, "its index is a Annoy, which is not known here"),
        (an_item_twice, "its index is damaged"),
        (an_item_that_is_not_there, "its index is damaged"),
        (too_few_codes, "its index is damaged: its parts are not of the sizes"),
        (no_codes, "KeyError 'codes'"),
        (blocks_that_descend, "its index is damaged"),
        (no_table, "index is 7, not a table"),
    ],
)
def test_indexes_that_are_not_of_the_model_are_refused(model, tmp_path, change, message):
    cf.retrieval.indexed(model).save(tmp_path)
    edit(tmp_path, change)
    with pytest.raises(cf.ArtifactError, match=message):
        cf.load(tmp_path)


@pytest.mark.parametrize("effort", [-5, 7, "most"])
def test_an_effort_that_none_has_is_refused(model, tmp_path, effort):
    cf.retrieval.indexed(model, MAKES["approximate"]).save(tmp_path)
    edit(tmp_path, lambda arrays, told: told["index"]["made"]["cosine"].update(effort=effort))
    with pytest.raises(cf.ArtifactError, match="its index is damaged"):
        cf.load(tmp_path)


def test_a_model_without_factors_has_no_index(interactions, tmp_path):
    cf.Popular().fit(interactions).save(tmp_path)
    edit(tmp_path, lambda arrays, told: told.update(index={"class": "ExactIndex", "params": {}, "made": {}}))
    with pytest.raises(cf.ArtifactError, match="a Popular has no index"):
        cf.load(tmp_path)


def test_what_cannot_be_saved_is_told(model, tmp_path):
    fast = cf.retrieval.indexed(model, partial(cf.retrieval.ApproximateIndex, library=Halves))
    with pytest.warns(cf.CofactorWarning, match="the model is saved without its index, .*; after loading, give it to"):
        fast.save(tmp_path)
    assert not is_indexed(cf.load(tmp_path))
