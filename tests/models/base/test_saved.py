"""Saved models: complete or not there at all, checked when read, never pickle."""

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors import safe_open

import cofactor as cf
from cofactor.models.base import saved
from cofactor.models.base.recommender import Recommender
from cofactor.system import folders, saved_folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def file(folder, kind):
    """The file of a saved model that holds its arrays, users or items."""
    return folder / saved.MODEL.file_names(saved.read_header(folder))[kind]


def is_whole(folder):
    """Whether a folder holds a header, the three files that it names, and nothing else."""
    kinds = saved.MODEL.file_names(saved.read_header(folder))
    return names(folder) == sorted([*kinds.values(), "model.json"])


# What is written


def test_the_folder_holds_four_files_and_nothing_else_is_left(folder):
    assert len(names(folder)) == 4
    assert is_whole(folder)
    assert names(folder.parent) == ["model"]


def test_the_header_tells_a_person_what_it_is(folder, interactions):
    header = json.loads((folder / "model.json").read_text())
    assert header == saved.read_header(folder)
    assert header["format"] == saved.MODEL.format
    assert header["cofactor"] == cf.__version__
    assert header["counts"] == {"users": 60, "items": 40, "interactions": interactions.nnz}
    assert header["model"]["class"] == "ImplicitALS"
    assert header["model"]["params"]["factors"] == 4
    assert [name.partition("-")[0] for name in header["sha256"]] == ["arrays", "users", "items"]
    assert header["created"].endswith("+00:00")


def test_the_files_can_be_read_without_cofactor(folder, model):
    with safe_open(file(folder, "arrays"), "np") as opened:
        assert np.array_equal(opened.get_tensor("item_factors_"), model.item_factors_)
    assert pl.read_parquet(file(folder, "users"))["id"].to_list() == list(range(60))


def test_no_file_holds_pickle(folder):
    for name in names(folder):
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
        assert Path(base.filename) == file(folder, "arrays").resolve()
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


def test_an_array_that_the_format_cannot_hold_is_named(interactions, tmp_path):
    fitted = cf.Popular().fit(interactions)
    fitted.words_ = np.array(["text"])
    with pytest.raises(cf.ParameterError, match=r"this Popular cannot be saved: words_ is an array of <U4, which the"):
        fitted.save(tmp_path / "model")
    assert names(tmp_path) == []


# Where it is written


@pytest.mark.parametrize("kind", [str, Path])
def test_a_new_folder_is_made_with_its_parents(model, tmp_path, kind):
    model.save(kind(tmp_path / "deep" / "down" / "model"))
    assert is_whole(tmp_path / "deep" / "down" / "model")


def test_a_tilde_is_the_home_of_the_user(model, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    saved.check_writable("~/model")
    model.save("~/model")
    assert names(tmp_path) == ["home"]
    assert cf.load("~/model").recommend().equals(model.recommend())
    assert saved.read_header("~/model") == saved.read_header(tmp_path / "home" / "model")


@pytest.mark.parametrize("use", [cf.load, saved.check_writable, saved.read_header])
def test_the_home_of_nobody_is_an_error(use):
    with pytest.raises(cf.ParameterError, match=r"folder: '~no-such-user/model' is no path: Could not determine home"):
        use("~no-such-user/model")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_may_be_read_by_whom_the_umask_says(model, tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        model.save(tmp_path / "model")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "model").iterdir()} == {mode}


def test_a_loaded_model_may_be_saved_where_it_came_from(model, folder):
    loaded = cf.load(folder)
    loaded.save(folder)
    assert is_whole(folder)
    assert cf.load(folder).recommend().equals(model.recommend())
    assert loaded.recommend().equals(model.recommend())  # from files that have gone


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
    file(folder, "users").unlink()
    (folder / "model.json").write_text("{")
    model.save(folder)
    assert is_whole(folder)


def test_a_link_to_a_folder_stays_a_link(model, folder):
    link = folder.with_name("current")
    link.symlink_to(folder)
    model.save(link)
    assert link.is_symlink()
    assert cf.load(link).recommend().equals(model.recommend())
    assert names(folder.parent) == ["current", "model"]


def table(folder, name):
    pl.DataFrame({"id": [1, 2, 3]}).write_parquet(folder / f"{name}.parquet")


def save_popular(at):
    cf.Popular().fit(cf.Interactions.from_frame({"user_id": [1, 2], "item_id": [1, 2]})).save(at)


OCCUPIED = {
    "a file": lambda at: at.write_text("precious"),
    "a folder of other things": lambda at: (at.mkdir(), (at / "notes.txt").write_text("precious")),
    "another tool's model.json": lambda at: (at.mkdir(), (at / "model.json").write_text('{"learner": "precious"}')),
    "tables of the names that a model's had": lambda at: (at.mkdir(), table(at, "users"), table(at, "items")),
    "tables beside a header cut short": lambda at: (
        at.mkdir(),
        table(at, "users"),
        (at / "model.json").write_text("{"),
    ),
    "notes beside a model": lambda at: (save_popular(at), (at / "notes.txt").write_text("precious")),
    "a table beside a model": lambda at: (save_popular(at), table(at, "users")),
    "a table beside a damaged model": lambda at: (
        save_popular(at),
        table(at, "users"),
        (at / "model.json").write_text('{"cofactor": '),
    ),
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
    "writing the arrays": (saved, "write_arrays"),
    "writing the ids": (pl.DataFrame, "write_parquet"),
    "hashing": (saved_folder, "sha256"),
    "looking at the old files": (saved_folder.FolderKind, "files_to_replace"),
    "the names' reaching the disk": (saved_folder, "sync_folder"),
    "moving into place": (Path, "replace"),
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
    assert is_whole(folder)
    assert names(folder.parent) == ["model"]
    if isinstance(error, OSError):
        assert str(raised.value) == f"the model could not be written to {folder}: disk full"


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_of_a_first_save_leaves_nothing(model, tmp_path, monkeypatch, step):
    def crash(*args, **kwargs):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(*STEPS[step], crash)
        with pytest.raises(cf.ArtifactError, match="disk full"):
            model.save(tmp_path / "model")
    assert names(tmp_path) == []


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=["disk full", "Ctrl-C"])
def test_a_crash_right_after_the_switch_leaves_the_new_model(folder, interactions, monkeypatch, error):
    replace = Path.replace

    def crash_after(self, target):
        replace(self, target)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", crash_after)
        with pytest.raises((cf.ArtifactError, KeyboardInterrupt)):
            cf.Popular().fit(interactions).save(folder)
    assert isinstance(cf.load(folder), cf.Popular)
    cf.Random().fit(interactions).save(folder)
    assert is_whole(folder)


def test_what_dead_processes_left_goes_with_the_next_save(folder, interactions):
    left = [f"arrays-{'0' * 16}.safetensors", f"users-{'1' * 16}.parquet", f".model-{'2' * 16}.json"]
    for name in left:
        (folder / name).write_text("half")
    assert isinstance(cf.load(folder), cf.ImplicitALS)
    cf.Popular().fit(interactions).save(folder)
    assert is_whole(folder)


def test_without_a_lock_only_what_is_old_goes(folder, interactions, monkeypatch):
    monkeypatch.setattr(folders, "_flock", lambda handle: False)  # as on some network file systems
    young, old = (folder / f"items-{digit * 16}.parquet" for digit in "01")
    for path in (young, old):
        path.write_text("another process may be writing this")
    os.utime(old, (time.time() - 2 * 24 * 3600,) * 2)
    former = file(folder, "arrays")
    cf.Popular().fit(interactions).save(folder)
    assert young.exists()
    assert not old.exists()
    assert not former.exists()
    assert isinstance(cf.load(folder), cf.Popular)


def test_a_damaged_header_keeps_its_files_until_there_is_a_new_one(folder, model, monkeypatch):
    before = names(folder)
    (folder / "model.json").write_text('{"cofactor": ')
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda self, target: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model.save(folder)
    assert set(before) <= set(names(folder))
    model.save(folder)
    assert is_whole(folder)


# What the system refuses


def test_a_folder_that_nobody_may_read_is_an_error_with_the_reason(folder, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    for method in ("read_bytes", "open", "is_file"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, method, refuse)
            with pytest.raises(cf.ArtifactError, match=r"model cannot be read: .*Permission denied: '.*model"):
                cf.load(folder)


@pytest.mark.parametrize("name", ["file", "file/model", "x" * 300, "a\0b"])
def test_places_that_hold_no_model_are_errors(model, tmp_path, name):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(cf.ArtifactError, match=r"is not a saved model|cannot be read"):
        cf.load(tmp_path / name)
    with pytest.raises(cf.ArtifactError, match=r"exists and is not just a saved model|cannot be written"):
        model.save(tmp_path / name)
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits on the size of files are those of POSIX")
def test_a_disk_that_is_full_leaves_the_old_model(folder, interactions):
    """A limit on the size of files stands for the disk: the system refuses to write in the middle of a file."""
    import resource

    wanted = cf.load(folder).recommend()
    before = names(folder)
    larger = cf.ImplicitALS(64, iterations=1).fit(interactions)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(cf.ArtifactError, match=r"the model could not be written to .*model: .*File too large"):
            larger.save(folder)
        with pytest.raises(cf.ArtifactError, match="File too large"):
            larger.save(folder.with_name("new"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(folder) == before
    assert cf.load(folder).recommend().equals(wanted)
    assert names(folder.parent) == ["model"]


def test_a_folder_that_goes_while_it_is_written_is_an_error(folder, model, monkeypatch):
    monkeypatch.setattr(saved, "write_arrays", lambda file, arrays: shutil.rmtree(folder))
    with pytest.raises(cf.ArtifactError, match=r"could not be written to .*model: .*No such file"):
        model.save(folder)
