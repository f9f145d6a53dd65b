"""What others serve is what we serve: every export is read again by its library and compared with our lists."""

import sys

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.retrieval import export

LIBRARY = {"parquet": "polars", "faiss": "faiss", "usearch": "usearch", "onnx": "onnxruntime"}


@pytest.fixture(scope="module")
def log():
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 80, 1500), (rng.random(1500) ** 2 * 60).astype(int)
    table = pl.DataFrame({"user_id": users, "item_id": [f"i{i}" for i in items]})
    return cf.Interactions.from_frame(table.unique())


@pytest.fixture(scope="module")
def als(log):
    return cf.ImplicitALS(factors=8, iterations=3, seed=0).fit(log)


def need(to):
    pytest.importorskip(LIBRARY[to], reason=f"{LIBRARY[to]} is not installed")
    if to == "onnx":
        pytest.importorskip("onnx", reason="onnx is not installed")


@pytest.mark.parametrize("to", LIBRARY)
def test_factors(als, tmp_path, to):
    need(to)
    done = export(als, tmp_path / "out", to)
    assert done.recall == 1.0
    assert done.users == 80
    assert {file.name for file in done.files} == {p.name for p in (tmp_path / "out").iterdir()}
    items = pl.read_parquet(tmp_path / "out" / "items.parquet")
    assert items["item_id"].equals(als.interactions_.items.ids.alias("item_id"))
    assert items["vector"].dtype == pl.Array(pl.Float32, 8)
    assert np.array_equal(items["vector"].to_numpy(), als.item_factors_)
    assert export(als, tmp_path / "out", to) == done  # over what is there


def ask_onnx(path, **given):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["items", "scores"], given)


def test_onnx_of_factors_by_hand(als, tmp_path):
    need("onnx")
    export(als, tmp_path, "onnx")
    items, scores = ask_onnx(tmp_path / "model.onnx", users=np.array([3, 3, 79]), k=np.array([5]))
    own = als.top_k([3, 3, 79], 5, exclude_seen=False)
    assert np.array_equal(items, own.rows)
    np.testing.assert_allclose(scores, own.scores, rtol=1e-5)


@pytest.mark.parametrize(
    "model",
    [cf.EASE(form="primal"), cf.EASE(form="primal", weights="binary"), cf.SLIM(), cf.ItemKNN()],
    ids=["EASE", "EASE, binary", "SLIM", "ItemKNN"],
)
def test_onnx_of_histories(log, tmp_path, model):
    need("onnx")
    done = export(model.fit(log), tmp_path, "onnx")
    assert done.recall > 0.999
    history = np.zeros((1, log.n_items), np.float32)
    history[0, [2, 5, 9]] = [1, 3, 0.5]
    items, scores = ask_onnx(tmp_path / "model.onnx", history=history, k=np.array([4]))
    table = pl.DataFrame({"user_id": [0] * 3, "item_id": log.items.ids[[2, 5, 9]], "weight": [1.0, 3.0, 0.5]})
    own = model.recommend_for(table, 4)
    assert log.items.ids[items[0]].to_list()[: len(own)] == own["item_id"].to_list()
    np.testing.assert_allclose(scores[0][: len(own)], own["score"], rtol=1e-4)


def test_an_item_bias_is_in_the_vectors(tmp_path):
    rng = np.random.default_rng(1)
    seen = {"user_id": np.arange(30), "item_id": np.arange(30) % 20}
    vectors, bias = rng.normal(size=(30, 4)), rng.normal(size=20) * 3
    model = cf.FactorModel.from_vectors(vectors, rng.normal(size=(20, 4)), seen, item_bias=bias)
    assert export(model, tmp_path, "parquet").recall == 1.0


def test_files_that_do_not_agree_are_told(als, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "cofactor.retrieval.exports._parquet", lambda model, folder: ([], lambda rows, k: -np.ones((len(rows), k)))
    )
    with pytest.raises(cf.CofactorError, match=r"only 0\.00%"):
        export(als, tmp_path, "parquet")


@pytest.mark.parametrize("to", ["parquet", "faiss", "usearch", "onnx"])
def test_models_without_vectors(log, tmp_path, to):
    with pytest.raises(cf.ParameterError, match="for models of factors"):
        export(cf.Popular().fit(log), tmp_path / "out", to)
    assert not (tmp_path / "out").exists()


def test_parameters_that_cannot_be(als, log, tmp_path, monkeypatch):
    with pytest.raises(cf.ParameterError, match="to must be one of"):
        export(als, tmp_path, "pickle")
    with pytest.raises(cf.NotFittedError):
        export(cf.ImplicitALS(), tmp_path)
    with pytest.raises(cf.ParameterError, match="a fitted model"):
        export("model/", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(cf.ParameterError, match="is no folder"):
        export(als, tmp_path / "file")
    need("onnx")
    with pytest.raises(cf.ParameterError, match="form='primal'"):
        export(cf.EASE(form="dual").fit(log), tmp_path, "onnx")
    monkeypatch.setattr("cofactor.retrieval.onnx_graphs._MOST", 1000)
    for model in (als, cf.EASE().fit(log)):
        with pytest.raises(cf.ParameterError, match="a file of ONNX holds 2"):
            export(model, tmp_path, "onnx")


@pytest.mark.parametrize("to", ["faiss", "usearch", "onnx"])
def test_a_library_that_is_not_there(als, tmp_path, monkeypatch, to):
    for name in ("faiss", "usearch.index", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(cf.MissingExtraError, match=r"pip install 'cofactor\["):
        export(als, tmp_path, to)
