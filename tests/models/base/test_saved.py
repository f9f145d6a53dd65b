"""Saved models: complete or not there at all, checked when read, never pickle."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors import safe_open

import cofactor as cf
from cofactor.models.base import saved
from cofactor.models.base.recommender import Recommender

FILES = ["arrays.safetensors", "items.parquet", "model.json", "users.parquet"]


@pytest.fixture(scope="module")
def model(interactions):
    return cf.ImplicitALS(factors=4, iterations=2).fit(interactions)


@pytest.fixture
def folder(model, tmp_path):
    model.save(tmp_path / "model")
    return tmp_path / "model"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def edit_header(folder, **changes):
    header = json.loads((folder / "model.json").read_text())
    header.update(changes)
    (folder / "model.json").write_text(json.dumps(header))


# What is written


def test_the_folder_holds_four_files_and_nothing_else_is_left(folder):
    assert names(folder) == FILES
    assert names(folder.parent) == ["model"]


def test_the_header_tells_a_person_what_it_is(folder, interactions):
    header = json.loads((folder / "model.json").read_text())
    assert header == saved.read_header(folder)
    assert header["format"] == saved.FORMAT
    assert header["cofactor"] == cf.__version__
    assert header["counts"] == {"users": 60, "items": 40, "interactions": interactions.nnz}
    assert header["model"]["class"] == "ImplicitALS"
    assert header["model"]["params"]["factors"] == 4
    assert sorted(header["sha256"]) == ["arrays.safetensors", "items.parquet", "users.parquet"]
    assert header["created"].endswith("+00:00")


def test_the_files_can_be_read_without_cofactor(folder, model):
    with safe_open(folder / "arrays.safetensors", "np") as file:
        assert np.array_equal(file.get_tensor("item_factors_"), model.item_factors_)
    assert pl.read_parquet(folder / "users.parquet")["id"].to_list() == list(range(60))


def test_no_file_holds_pickle(folder):
    for name in FILES:
        data = (folder / name).read_bytes()
        assert b"cofactor.models" not in data
        assert not data.startswith(b"\x80")


def test_arrays_are_mapped_not_copied(folder):
    loaded = cf.load(folder)
    matrix = loaded.interactions_.user_items
    for array in (loaded.user_factors_, loaded.item_factors_, matrix.indptr, matrix.indices, matrix.values):
        base = array
        while not isinstance(base, np.memmap):
            base = base.base
        assert Path(base.filename) == (folder / "arrays.safetensors").resolve()
        assert not array.flags.writeable


def test_every_type_of_array_comes_back(model, tmp_path, monkeypatch):
    """Models of other files may learn other arrays and numbers."""

    class Curious(cf.Popular):
        def fit(self, interactions, *, progress=None):
            super().fit(interactions)
            types = [bool, "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]
            for type_ in map(np.dtype, types):
                setattr(self, f"array_{type_.name}_", np.array([[0, 1, 1]], type_))
            self.empty_, self.transposed_ = np.zeros((0, 3), np.float32), np.arange(6.0).reshape(2, 3).T
            self.number_, self.count_, self.text_, self.nothing_ = np.float64(0.5), np.int32(3), "text", None
            return self

    try:
        fitted = Curious().fit(model.interactions_)
        fitted.save(tmp_path / "model")
        loaded = cf.load(tmp_path / "model")
    finally:
        del Recommender.registry["Curious"]
    for name, value in vars(fitted).items():
        if isinstance(value, np.ndarray):
            assert getattr(loaded, name).dtype == value.dtype
            assert np.array_equal(getattr(loaded, name), value)
        elif name != "interactions_":
            assert getattr(loaded, name) == value
    with pytest.raises(cf.ArtifactError, match="the model is a Curious, which is not known here; import the module"):
        cf.load(tmp_path / "model")


def test_a_parameter_that_json_cannot_hold_is_named(interactions, tmp_path):
    fitted = cf.Popular().fit(interactions)
    fitted.by = {1, 2}
    with pytest.raises(cf.ParameterError, match=r"Popular holds a parameter that JSON cannot: \{1, 2\} is a set"):
        fitted.save(tmp_path / "model")
    assert names(tmp_path) == []


# Where it is written


@pytest.mark.parametrize("kind", [str, Path])
def test_a_new_folder_is_made_with_its_parents(model, tmp_path, kind):
    model.save(kind(tmp_path / "deep" / "down" / "model"))
    assert names(tmp_path / "deep" / "down" / "model") == FILES


def test_a_relative_folder(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model.save("model")
    assert cf.load("model").recommend().equals(model.recommend())


def test_an_empty_folder_and_an_old_model_are_replaced(model, folder, interactions):
    cf.Popular().fit(interactions).save(folder)
    assert isinstance(cf.load(folder), cf.Popular)
    shutil.rmtree(folder)
    folder.mkdir()
    model.save(folder)
    assert isinstance(cf.load(folder), cf.ImplicitALS)
    assert names(folder.parent) == ["model"]


def test_a_damaged_model_can_be_saved_again(model, folder):
    (folder / "model.json").write_text("{")
    (folder / "users.parquet").unlink()
    model.save(folder)
    assert names(folder) == FILES


def test_a_link_to_a_folder_stays_a_link(model, folder):
    link = folder.with_name("current")
    link.symlink_to(folder)
    model.save(link)
    assert link.is_symlink()
    assert cf.load(link).recommend().equals(model.recommend())
    assert names(folder.parent) == ["current", "model"]


OCCUPIED = {
    "a file": lambda at: at.write_text("precious"),
    "a folder of other things": lambda at: (at.mkdir(), (at / "notes.txt").write_text("precious")),
    "another tool's model.json": lambda at: (at.mkdir(), (at / "model.json").write_text('{"learner": "precious"}')),
    "a model with notes beside it": lambda at: (at.mkdir(), [(at / n).write_text("") for n in (*FILES, "notes.txt")]),
    "a folder of folders": lambda at: (at / "precious").mkdir(parents=True),
}


@pytest.mark.parametrize("kind", OCCUPIED)
def test_what_is_not_just_a_saved_model_is_never_replaced(model, tmp_path, kind):
    at = tmp_path / "model"
    OCCUPIED[kind](at)
    before = {path: path.is_dir() or path.read_bytes() for path in tmp_path.rglob("*")}
    with pytest.raises(cf.ArtifactError, match="exists and is not just a saved model; choose another folder, nothing"):
        model.save(at)
    assert {path: path.is_dir() or path.read_bytes() for path in tmp_path.rglob("*")} == before


def test_a_place_that_cannot_be_written_is_found_out_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(cf.ArtifactError, match="file is not a writable folder"):
        saved.check_writable(tmp_path / "file" / "model")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(cf.ArtifactError, match=f"model cannot be written: {tmp_path} is not a writable folder"):
        saved.check_writable(tmp_path / "model")


def test_a_free_place_is_fine_and_stays_free(folder, tmp_path):
    saved.check_writable(tmp_path / "new" / "model")
    saved.check_writable(folder)
    assert names(tmp_path) == ["model"]


# Crashes while saving

STEPS = {
    "writing the arrays": (saved, "save_file"),
    "writing the ids": (pl.DataFrame, "write_parquet"),
    "hashing": (saved, "sha256"),
    "writing the header": (Path, "write_text"),
    "moving into place": (saved, "swap"),
}


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=["disk full", "Ctrl-C"])
@pytest.mark.parametrize("step", STEPS)
def test_a_crash_leaves_the_old_model(folder, interactions, monkeypatch, step, error):
    def crash(*args, **kwargs):
        raise error

    wanted = cf.load(folder).recommend()
    with monkeypatch.context() as patch:
        patch.setattr(*STEPS[step], crash)
        with pytest.raises((cf.ArtifactError, KeyboardInterrupt)) as raised:
            cf.Popular().fit(interactions).save(folder)
    assert cf.load(folder).recommend().equals(wanted)
    assert names(folder.parent) == ["model"]
    if isinstance(error, OSError):
        assert str(raised.value) == f"the model could not be written to {folder}: disk full"


@pytest.mark.parametrize("error", [OSError("busy"), KeyboardInterrupt()], ids=["busy", "Ctrl-C"])
def test_a_crash_between_the_two_renames_puts_the_old_model_back(folder, interactions, monkeypatch, error):
    rename, calls = Path.rename, []

    def second_fails(self, target):
        calls.append(target)
        if len(calls) == 2:
            raise error
        return rename(self, target)

    wanted = cf.load(folder).recommend()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", second_fails)
        with pytest.raises((cf.ArtifactError, KeyboardInterrupt)):
            cf.Popular().fit(interactions).save(folder)
    assert len(calls) == 3
    assert cf.load(folder).recommend().equals(wanted)
    assert names(folder.parent) == ["model"]


# Damage


def test_what_is_not_a_model_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(cf.ArtifactError, match=r"is not a saved model: it has no model\.json"):
            cf.load(path)


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("name", [n for n in FILES if n != "model.json"])
def test_a_missing_file_is_named(folder, name, verify):
    (folder / name).unlink()
    with pytest.raises(cf.ArtifactError, match=f"is incomplete: {name} is missing; save the model again"):
        cf.load(folder, verify=verify)


@pytest.mark.parametrize("name", [n for n in FILES if n != "model.json"])
def test_a_single_changed_byte_is_noticed(folder, name):
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(cf.ArtifactError, match=f"{name} is damaged: its sha256 is not the one in model"):
        cf.load(folder)


@pytest.mark.parametrize("size", [0, 4, 50, 500, -1])
def test_truncated_arrays_are_an_error_even_unverified(folder, size):
    data = (folder / "arrays.safetensors").read_bytes()
    (folder / "arrays.safetensors").write_bytes(data[:size])
    for verify in (True, False):
        with pytest.raises(cf.ArtifactError, match="is damaged"):
            cf.load(folder, verify=verify)


def test_a_nonsense_length_is_an_error_even_unverified(folder):
    data = (folder / "arrays.safetensors").read_bytes()
    (folder / "arrays.safetensors").write_bytes(b"\xff" * 8 + data[8:])
    with pytest.raises(cf.ArtifactError, match=r"arrays\.safetensors is truncated"):
        cf.load(folder, verify=False)


@pytest.mark.parametrize("name", ["users.parquet", "items.parquet"])
def test_truncated_ids_are_an_error_even_unverified(folder, name):
    (folder / name).write_bytes((folder / name).read_bytes()[:-20])
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


@pytest.mark.parametrize("number", [saved.FORMAT + 1, 99, "next"])
def test_a_newer_format_is_an_error_with_a_way_out(folder, number):
    edit_header(folder, format=number)
    with pytest.raises(cf.ArtifactError, match=f"has format {number}, this cofactor reads 1; upgrade cofactor or save"):
        cf.load(folder)


def test_interactions_that_do_not_fit_the_ids_are_an_error_even_unverified(folder):
    pl.DataFrame({"id": range(7)}).write_parquet(folder / "users.parquet")
    with pytest.raises(cf.ArtifactError, match=r"is damaged: DataError the matrix has shape \(60, 40\), but .* 7 us"):
        cf.load(folder, verify=False)


def test_a_save_killed_between_its_renames_is_told_where_the_former_model_is(tmp_path):
    (tmp_path / ".model.old-123").mkdir()
    with pytest.raises(cf.ArtifactError, match=r"former model in .*\.model\.old-123, rename it back"):
        cf.load(tmp_path / "model")
