"""Saved models that were damaged, cut short or edited: an error that says so, never a wrong answer or a crash."""

import hashlib
import json
from io import BytesIO

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.models.base import saved
from cofactor.system import saved_folder
from cofactor.system.arrays import mapped_arrays, write_arrays

KINDS = ["arrays", "users", "items"]


def file(folder, kind):
    """The file of a saved model that holds its arrays, users or items."""
    return folder / saved.MODEL.file_names(saved.read_header(folder))[kind]


def edit_header(folder, **changes):
    header = json.loads((folder / "model.json").read_text())
    header.update(changes)
    (folder / "model.json").write_text(json.dumps(header))


def rewrite(folder, kind, data):
    """Put other bytes into a file, and their hash into the header."""
    path = file(folder, kind)
    path.write_bytes(data)
    digests = saved.read_header(folder)["sha256"]
    edit_header(folder, sha256={**digests, path.name: hashlib.sha256(data).hexdigest()})


def edit_arrays(folder, **changes):
    """Change arrays by functions of the old ones (None: gone); in names ``__`` is a dot, ``_0_`` a colon."""
    with file(folder, "arrays").open("rb") as opened:
        arrays = {name: a.copy() for name, a in mapped_arrays(opened).items()}
    for name, change in changes.items():
        key = name.replace("__", ".").replace("_0_", "_:")
        arrays[key] = change(arrays[key])
    out = BytesIO()
    write_arrays(out, {name: a for name, a in arrays.items() if a is not None})
    rewrite(folder, "arrays", out.getvalue())


# Damage


def test_what_is_not_a_model_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(cf.ArtifactError, match=r"is not a saved model: it has no model\.json"):
            cf.load(path)


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_file_is_named(folder, kind, verify):
    path = file(folder, kind)
    path.unlink()
    with pytest.raises(cf.ArtifactError, match=f"is incomplete: {path.name} is missing; save the model again"):
        cf.load(folder, verify=verify)


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_changed_byte_is_noticed(folder, kind):
    path = file(folder, kind)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(cf.ArtifactError, match=f"{path.name} is damaged: its sha256 is not the one in model"):
        cf.load(folder)


@pytest.mark.parametrize("size", [0, 4, 50, 500, -1])
def test_truncated_arrays_are_an_error_even_unverified(folder, size):
    data = file(folder, "arrays").read_bytes()
    file(folder, "arrays").write_bytes(data[:size])
    for verify in (True, False):
        with pytest.raises(cf.ArtifactError, match="is damaged"):
            cf.load(folder, verify=verify)


def test_a_nonsense_length_is_an_error_even_unverified(folder):
    data = file(folder, "arrays").read_bytes()
    file(folder, "arrays").write_bytes(b"\xff" * 8 + data[8:])
    with pytest.raises(cf.ArtifactError, match=r"is damaged: ValueError the file is truncated"):
        cf.load(folder, verify=False)


@pytest.mark.parametrize("kind", ["users", "items"])
def test_truncated_ids_are_an_error_even_unverified(folder, kind):
    file(folder, kind).write_bytes(file(folder, kind).read_bytes()[:-20])
    for verify in (True, False):
        with pytest.raises(cf.ArtifactError, match="is damaged"):
            cf.load(folder, verify=verify)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '"x"', "{}", '{"format": 1}', '{"format": 1, "sha256": {}}', "\xff"]
)
def test_a_broken_header_is_an_error(folder, text):
    (folder / "model.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(cf.ArtifactError, match=r"is damaged: .*; save the model again"):
        cf.load(folder)


@pytest.mark.parametrize("change", [{"sha256": None}, {"model": None}, {"model": {}}, {"sha256": [1]}])
def test_a_header_without_its_parts_is_an_error(folder, change):
    edit_header(folder, **change)
    with pytest.raises(cf.ArtifactError, match=r"is damaged: .*; save the model again"):
        cf.load(folder)


def test_an_unknown_parameter_is_an_error(folder):
    model = saved.read_header(folder)["model"]
    edit_header(folder, model={**model, "params": {**model["params"], "flavour": 3}})
    with pytest.raises(cf.ArtifactError, match="flavour"):
        cf.load(folder)


@pytest.mark.parametrize("number", [saved.MODEL.format + 1, 99, "next", 0, -1, 1.5, True, None])
def test_a_newer_format_is_an_error_with_a_way_out(folder, number):
    edit_header(folder, format=number)
    with pytest.raises(
        cf.ArtifactError, match=f"has format {number}, this cofactor reads 1 to 2; upgrade cofactor or save"
    ):
        cf.load(folder)


def test_interactions_that_do_not_fit_the_ids_are_an_error_even_unverified(folder):
    pl.DataFrame({"id": range(7)}).write_parquet(file(folder, "users"))
    with pytest.raises(cf.ArtifactError, match=r"is damaged: DataError users-\w+\.parquet holds 7 ids, .* counts 60"):
        cf.load(folder, verify=False)


def test_a_save_killed_between_its_renames_is_told_where_the_former_model_is(tmp_path):
    (tmp_path / ".model.old-123").mkdir()
    with pytest.raises(cf.ArtifactError, match=r"former model in .*\.model\.old-123, rename it back"):
        cf.load(tmp_path / "model")


# Edits by somebody who knows the format, with hashes that are right


HEADERS = {
    "no counts": {"counts": None},
    "text for a count": {"counts": {"users": "60", "items": 40, "interactions": 1}},
    "a negative count": {"counts": {"users": -1, "items": 40, "interactions": 1}},
    "another count": {"counts": {"users": 60, "items": 40, "interactions": 1}},
    "a class that is no text": {"model": {"class": ["Popular"], "params": {}, "state": {}}},
    "params that are no table": {"model": {"class": "Popular", "params": [], "state": {}}},
    "state that is no table": {"model": {"class": "Popular", "params": {}, "state": 3}},
    "no state": {"model": {"class": "Popular", "params": {}}},
    "a part that is no model": {"model": {"class": "Fallback", "params": {"models": [{"class": 3}]}, "state": {}}},
    "no models": {"model": {"class": "Fallback", "params": {"models": []}, "state": {}}},
    "a learned name that is a method": {"model": {"class": "Popular", "params": {}, "state": {"fit": 3}}},
    "a learned name that Python uses": {"model": {"class": "Popular", "params": {}, "state": {"__class__": 3}}},
    "other interactions": {"model": {"class": "Popular", "params": {}, "state": {"interactions_": 3}}},
    "a date that is no text": {"created": 3},
    "no files": {"sha256": {}},
}


@pytest.mark.parametrize("kind", HEADERS)
@pytest.mark.parametrize("verify", [True, False])
def test_a_header_that_says_something_else_is_an_error(folder, kind, verify):
    edit_header(folder, **HEADERS[kind])
    with pytest.raises(cf.ArtifactError, match=r"is damaged: .*; save the model again"):
        cf.load(folder, verify=verify)


def test_a_header_may_say_more(folder, model):
    edit_header(folder, author="somebody", replaces={"notes.txt": "0"}, tags=[1, 2])
    assert cf.load(folder).recommend().equals(model.recommend())


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/passwd", "arrays.safetensors", ".model-x.json", ""])
def test_a_header_names_no_files_but_those_of_a_save(folder, name):
    digests = saved.read_header(folder)["sha256"]
    edit_header(folder, sha256={name if n.startswith("arrays") else n: digest for n, digest in digests.items()})
    with pytest.raises(cf.ArtifactError, match="is damaged: sha256 names no file of arrays"):
        cf.load(folder)


@pytest.mark.parametrize(("name", "value"), [("threads", 2**30), ("factors", "4"), ("factors", 5), ("alpha", -1)])
def test_parameters_are_checked(folder, name, value):
    header = saved.read_header(folder)["model"]
    edit_header(folder, model={**header, "params": {**header["params"], name: value}})
    with pytest.raises(cf.ArtifactError, match=r"is damaged: (ParameterError|DataError) .*; save the model again"):
        cf.load(folder, verify=False)


def put(at, value):
    def change(a):
        a[at] = value
        return a

    return change


def swapped(a):
    a[[0, 1]] = a[[1, 0]]
    return a


ARRAYS = {
    "offsets that do not start at 0": {"interactions__indptr": put(0, 1)},
    "offsets that end elsewhere": {"interactions__indptr": put(-1, 10**9)},
    "offsets of another type": {"interactions__indptr": lambda a: a.astype(np.int32)},
    "offsets of fewer users": {"interactions__indptr": lambda a: a[:-1]},
    "items of another type": {"interactions__indices": lambda a: a.astype(np.int64)},
    "fewer weights": {"interactions__values": lambda a: a[:-1]},
    "two axes": {"interactions__values": lambda a: a.reshape(-1, 1)},
    "a weight of 0": {"interactions__values": put(3, 0)},
    "a weight that is no number": {"interactions__values": put(3, np.nan)},
    "an infinite weight": {"interactions__values": put(3, np.inf)},
    "vectors of fewer items": {"item_factors_": lambda a: a[:-1]},
    "vectors of another length": {"item_factors_": lambda a: a[:, :3].copy()},
    "vectors in double precision": {"user_factors_": lambda a: a.astype(np.float64)},
    "no vectors": {"user_factors_": lambda a: None},
}
ENTRIES = {
    "offsets that descend": {"interactions__indptr": put(5, 10**9)},
    "negative offsets": {"interactions__indptr": put(5, -7)},
    "an item that there is not": {"interactions__indices": put(-1, 40)},
    "a negative item": {"interactions__indices": put(0, -1)},
    "items out of order": {"interactions__indices": swapped},
    "an item twice": {"interactions__indices": lambda a: put(1, a[0])(a)},
    "vectors that are no numbers": {"item_factors_": put((3, 2), np.nan)},
    "infinite vectors": {"item_factors_": put((3, 2), -np.inf)},
}


@pytest.mark.parametrize("kind", ARRAYS | ENTRIES)
def test_arrays_that_are_not_what_they_must_be_are_an_error(folder, kind):
    edit_arrays(folder, **(ARRAYS | ENTRIES)[kind])
    with pytest.raises(cf.ArtifactError, match=r"is damaged: DataError .*; save the model again"):
        cf.load(folder)


@pytest.mark.parametrize("kind", ARRAYS)
def test_types_shapes_and_ends_are_checked_unverified_too(folder, kind):
    edit_arrays(folder, **ARRAYS[kind])
    with pytest.raises(cf.ArtifactError, match=r"is damaged: DataError .*; save the model again"):
        cf.load(folder, verify=False)


def test_arrays_that_nobody_asks_for_are_passed_over(folder, model):
    with file(folder, "arrays").open("rb") as opened:
        arrays = dict(mapped_arrays(opened))
        out = BytesIO()
        write_arrays(out, {**arrays, "models.7.popularity_": np.zeros(3)})
    rewrite(folder, "arrays", out.getvalue())
    assert cf.load(folder).recommend().equals(model.recommend())


def test_a_learned_sparse_matrix_is_checked_like_the_interactions(interactions, tmp_path):
    cf.ItemKNN(neighbours=5).fit(interactions).save(tmp_path / "model")
    before = (tmp_path / "model" / "model.json").read_text()
    data = file(tmp_path / "model", "arrays").read_bytes()
    for change in (put(0, 1), put(3, 10**9)):
        edit_arrays(tmp_path / "model", item_weights_0_indptr=change)
        with pytest.raises(cf.ArtifactError, match="is damaged: DataError item_weights_: indptr must"):
            cf.load(tmp_path / "model")
        (tmp_path / "model" / "model.json").write_text(before)
        file(tmp_path / "model", "arrays").write_bytes(data)
    description = saved.read_header(tmp_path / "model")["model"]
    description["state"]["item_weights_"]["n_columns of a sparse matrix"] = 41
    edit_header(tmp_path / "model", model=description)
    with pytest.raises(
        cf.ArtifactError, match=r"item_weights_ is csr of shape \(40, 41\); a ItemKNN learns csr items it"
    ):
        cf.load(tmp_path / "model")


SESSIONS = {
    "session_indptr_": put(2, 10**9),
    "session_items_": put(0, 40),
    "session_weights_": lambda a: a[:-1],
    "places_indptr_": put(0, 3),
    "places_": put(0, -1),
}


@pytest.mark.parametrize("name", SESSIONS)
def test_past_sessions_are_checked(interactions, tmp_path, name):
    cf.SessionKNN().fit(interactions).save(tmp_path / "model")
    edit_arrays(tmp_path / "model", **{name: SESSIONS[name]})
    with pytest.raises(cf.ArtifactError, match=r"is damaged: DataError (session|places)_.*; save the model again"):
        cf.load(tmp_path / "model")


# The first format


def to_format_1(folder):
    """The layout of before: names that tell nothing of the save."""
    header = saved.read_header(folder)
    old = {"arrays": "arrays.safetensors", "users": "users.parquet", "items": "items.parquet"}
    digests = {}
    for kind, name in saved.MODEL.file_names(header).items():
        (folder / name).rename(folder / old[kind])
        digests[old[kind]] = header["sha256"][name]
    edit_header(folder, format=1, sha256=digests)


def test_models_of_the_first_format_load_and_are_replaced(folder, model, interactions):
    to_format_1(folder)
    assert sorted(p.name for p in folder.iterdir()) == [
        "arrays.safetensors", "items.parquet", "model.json", "users.parquet",
    ]  # fmt: skip
    for verify in (True, False):
        assert cf.load(folder, verify=verify).recommend().equals(model.recommend())
    cf.Popular().fit(interactions).save(folder)
    assert isinstance(cf.load(folder), cf.Popular)
    assert len(list(folder.iterdir())) == 4


def test_a_damaged_model_of_the_first_format_can_be_saved_again(folder, model):
    to_format_1(folder)
    header = (folder / "model.json").read_text()
    (folder / "model.json").write_text(header[: len(header) // 2])
    model.save(folder)
    assert len(list(folder.iterdir())) == 4
    assert cf.load(folder).recommend().equals(model.recommend())


def test_a_save_over_the_first_format_that_was_killed_is_cleaned_up_by_the_next(folder, model, monkeypatch):
    """... and by its content, so that a table that somebody put there since stays."""
    to_format_1(folder)
    with monkeypatch.context() as patch:
        patch.setattr(saved_folder.FolderKind, "sweep", lambda *args, **kwargs: None)
        model.save(folder)
    assert len(list(folder.iterdir())) == 7
    kept = (folder / "users.parquet").read_bytes()
    (folder / "users.parquet").write_text("precious")
    with pytest.raises(cf.ArtifactError, match="exists and is not just a saved model"):
        model.save(folder)
    (folder / "users.parquet").write_bytes(kept)
    model.save(folder)
    assert len(list(folder.iterdir())) == 4
    assert cf.load(folder).recommend().equals(model.recommend())
