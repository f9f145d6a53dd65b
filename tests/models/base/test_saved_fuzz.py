"""Saved models edited at random by somebody who puts the right hashes beside: an error at loading, or a sane answer.

Whoever edits a file must not be able to make a kernel read or write what is not its own.
"""

import hashlib
import json
import warnings
from io import BytesIO

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cofactor as cf
from cofactor.models.base import saved
from cofactor.system.arrays import mapped_arrays, write_arrays

UNTIMED = {"half_life": None, "neighbour_half_life": None, "trend": None}
MODELS = {
    "Blend": lambda: cf.Blend(cf.ImplicitALS(3, iterations=1), cf.ItemKNN(neighbours=4), weights=[2, 1]),
    "CoVisitationSum": lambda: cf.CoVisitationSum(cf.CoVisitation(5), cf.CoVisitation(3, pairs="all")),
    "EASE": lambda: cf.EASE(20.0, form="primal"),
    "EASE of users": lambda: cf.EASE(20.0, form="dual"),
    "Fallback": lambda: cf.Fallback(cf.PersonalPopular(), cf.Popular()),
    "FixedFactors": lambda: cf.FactorModel.from_vectors(np.ones((30, 3)), np.eye(20, 3), item_bias=np.arange(20.0)),
    "GraphFilter": lambda: cf.GraphFilter(factors=3),
    "ImplicitALS": lambda: cf.ImplicitALS(4, iterations=1),
    "ImplicitALS by cg": lambda: cf.ImplicitALS(4, iterations=1, solver="cg"),
    "ItemKNN": lambda: cf.ItemKNN(neighbours=5),
    "NextBasket": lambda: cf.NextBasket(**UNTIMED),
    "PureSVD": lambda: cf.PureSVD(4),
    "Random": lambda: cf.Random(weighted=True),
    "Repurchase": lambda: cf.Repurchase(window=None),
    "RP3beta": lambda: cf.RP3beta(neighbours=5),
    "SLIM": lambda: cf.SLIM(0.1, 1.0),
    "SessionKNN": cf.SessionKNN,
    "UserKNN": lambda: cf.UserKNN(neighbours=5),
}
NUMBERS = st.sampled_from([0, 1, -1, 2, 7, 19, 20, 30, 2**31 - 1, -(2**31), 2**40, 2**63 - 1, -(2**63)])
FRACTIONS = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-40, 1e38, -1e38, float("nan"), float("inf"), -float("inf")])
JSON = st.sampled_from(
    [None, True, 0, -1, 3, 2**31, 2**64, 10**400, 0.5, 1e308, "", "x", [], [1], {}, {"a": 1}, [{}], [[]]]
)


def small():
    rng = np.random.default_rng(0)
    return cf.Interactions.from_csr((rng.random((30, 20)) < 0.3) * rng.choice([0.5, 1.0, 2.0], (30, 20)).astype("f4"))


@pytest.fixture(scope="module")
def saved_models(tmp_path_factory):
    """Every model's header and the bytes of its files, small enough to be edited all over."""
    x = small()
    whole = {}
    for name, make in MODELS.items():
        folder = tmp_path_factory.mktemp("models") / "model"
        make().fit(x).save(folder)
        header = saved.read_header(folder)
        whole[name] = header, {k: (folder / f).read_bytes() for k, f in saved.MODEL.file_names(header).items()}
    return whole


def edit_entry(data, a):
    if not a.size:
        return a
    at = data.draw(st.integers(0, a.size - 1))
    kind = {"f": FRACTIONS, "b": st.booleans()}.get(a.dtype.kind, NUMBERS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a number that wraps around is as good as another
        a.reshape(-1)[at] = np.asarray(data.draw(kind)).astype(a.dtype)
    return a


def swap_entries(data, a):
    if a.size < 2:
        return a
    i, j = (data.draw(st.integers(0, a.size - 1)) for _ in range(2))
    flat = a.reshape(-1)
    flat[[i, j]] = flat[[j, i]]
    return a


EDITS = {
    "an entry": edit_entry,
    "two entries": swap_entries,
    "all entries": lambda data, a: np.full_like(a, edit_entry(data, a.copy()).flat[0] if a.size else 0),
    "shorter": lambda data, a: a[: data.draw(st.integers(0, len(a)))],
    "longer": lambda data, a: np.concatenate([a, a[: data.draw(st.integers(0, len(a)))]]),
    "another type": lambda data, a: a.astype(data.draw(st.sampled_from(["i4", "i8", "f4", "f8", "u1", "?"]))),
    "another shape": lambda data, a: a.reshape(data.draw(st.sampled_from([(-1,), (1, -1), (-1, 1), (-1, 1, 1)]))),
    "nothing": lambda data, a: None,
}


def edit_arrays(data, files, folder):
    (folder / "arrays").write_bytes(files["arrays"])
    with (folder / "arrays").open("rb") as file:
        arrays = {name: a.copy() for name, a in mapped_arrays(file).items()}
    for name in data.draw(st.lists(st.sampled_from(sorted(arrays)), min_size=1, max_size=2, unique=True)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            arrays[name] = EDITS[data.draw(st.sampled_from(sorted(EDITS)))](data, arrays[name])
    out = BytesIO()
    write_arrays(out, {name: a for name, a in arrays.items() if a is not None})
    files["arrays"] = out.getvalue()


def edit_table_of_arrays(data, files):
    """Types, shapes and offsets, without the bytes that belong to them."""
    length = int.from_bytes(files["arrays"][:8], "little")
    table = json.loads(files["arrays"][8 : 8 + length])
    entry = table[data.draw(st.sampled_from(sorted(table)))]
    what = data.draw(st.sampled_from(sorted(entry)))
    if what == "dtype":
        entry[what] = data.draw(st.sampled_from(["F32", "I32", "I64", "F64", "U8", "BF16", 3]))
    elif data.draw(st.booleans()) and entry[what]:
        entry[what][data.draw(st.integers(0, len(entry[what]) - 1))] = data.draw(NUMBERS)
    else:
        entry[what] = data.draw(JSON)
    text = json.dumps(table).encode()
    text += b" " * (-len(text) % 8)
    files["arrays"] = len(text).to_bytes(8, "little") + text + files["arrays"][8 + length :]


def edit_bytes(data, files):
    """Bytes of the arrays' file; those of Parquet files are read by polars, which has tests of its own."""
    raw = bytearray(files["arrays"])
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    files["arrays"] = bytes(raw)


def edit_ids(data, files):
    n = data.draw(st.sampled_from([0, 1, 19, 20, 21, 29, 30, 31]))
    ids = data.draw(
        st.sampled_from([list(range(n)), list(range(n))[::-1], [3] * n, [f"{i:03}" for i in range(n)], [0.5] * n])
    )
    out = BytesIO()
    pl.DataFrame({data.draw(st.sampled_from(["id", "id", "name"])): ids}).write_parquet(out)
    files[data.draw(st.sampled_from(["users", "items"]))] = out.getvalue()


def edit_header(data, header):
    """Something in the header, at any depth, becomes something else or goes."""
    table = header
    while True:
        key = data.draw(st.sampled_from(sorted(table)))
        if isinstance(table[key], list) and table[key] and isinstance(table[key][0], dict) and data.draw(st.booleans()):
            table = table[key][0]
        elif isinstance(table[key], dict) and table[key] and data.draw(st.integers(0, 5)):
            table = table[key]
        else:
            break
    if data.draw(st.booleans()):
        table[key] = data.draw(JSON)
    elif data.draw(st.booleans()):
        table[data.draw(st.sampled_from(["more", "fit", "models", "class", "item_factors_", "interactions_"]))] = table[
            key
        ]
    else:
        del table[key]


def write(folder, header, files):
    for path in folder.iterdir():
        path.unlink()
    names = {}
    for kind, name in saved.MODEL.file_names(json.loads(header)).items():
        (folder / name).write_bytes(files[kind])
        names[name] = hashlib.sha256(files[kind]).hexdigest()
    return names


def ask(model):
    """Every question that reads what was learned; each gives a table of the ids that there are, or says why not."""
    x = model.interactions_
    items = set(x.items.ids)
    pairs = pl.DataFrame({"user_id": x.users.take([0, 1, 2]), "item_id": x.items.take([0, 2, 1])})
    questions = [
        lambda: model.recommend(k=3),
        lambda: model.recommend(x.users.ids.head(3), k=50, exclude_seen=False, items=x.items.ids.head(9)),
        lambda: model.recommend_for(pairs, k=4),
        lambda: model.similar_items(k=3),
        lambda: model.predict(pairs),
    ]
    for question in questions:
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                answer = question()
        except cf.CofactorError:
            continue
        assert set(answer["item_id"]) <= items
        assert answer["score"].dtype == pl.Float32


@pytest.mark.parametrize("name", MODELS)
@given(data=st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_an_edited_model_is_an_error_or_gives_sane_answers(saved_models, tmp_path, name, data):
    header, files = saved_models[name]
    text, files = json.dumps(header), dict(files)
    edits = {
        "arrays": lambda: edit_arrays(data, files, tmp_path),
        "table": lambda: edit_table_of_arrays(data, files),
        "bytes": lambda: edit_bytes(data, files),
        "ids": lambda: edit_ids(data, files),
        "header": lambda: None,
    }
    kind = data.draw(st.sampled_from(["arrays", "arrays", *edits]))
    edits[kind]()
    names = write(tmp_path, text, files)
    edited = json.loads(text)
    edited["sha256"] = names
    if kind == "header":
        edit_header(data, edited)
    (tmp_path / "model.json").write_text(json.dumps(edited))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = cf.load(tmp_path)
    except cf.ArtifactError:
        return
    ask(model)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_says_all_that_it_learns(name):
    """What a class does not name is not checked when it is read."""
    model = MODELS[name]().fit(small())
    learned = {attribute for attribute in vars(model) if attribute.endswith("_")} - {"interactions_"}
    assert learned == set(model._learned())
