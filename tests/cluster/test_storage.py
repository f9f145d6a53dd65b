"""Files of checkpoints: there as a whole or not at all, in a folder and at an address."""

import sys

import numpy as np
import pytest

import cofactor as cf
from cofactor.cluster.checkpoint import Checkpoint
from cofactor.cluster.storage import delete, exists, join, read_array, read_json, write_array, write_json


@pytest.fixture(params=["folder", "address"])
def folder(request, tmp_path):
    if request.param == "folder":
        return str(tmp_path / "new")
    pytest.importorskip("fsspec", reason="addresses need fsspec")
    return f"memory://{tmp_path.name}"


def test_what_is_written_is_read_until_it_is_deleted(folder):
    path, told = join(folder, "a.npy"), join(folder, "told.json")
    assert not exists(path)
    for values in ([1.5, 2.0], [3.0]):
        write_array(path, np.array(values, np.float32))
        assert read_array(path).tolist() == values
    write_json(told, {"losses": [0.1 + 0.2]})
    assert read_json(told) == {"losses": [0.1 + 0.2]}
    for one in (path, told, path):
        delete(one)
        assert not exists(one)


def test_damaged_files(tmp_path):
    path = str(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"\x93NUMPY")
    with pytest.raises(cf.ArtifactError, match="is damaged"):
        read_array(path)
    with pytest.raises(cf.ArtifactError, match="is damaged"):
        read_json(path)
    (tmp_path / "a").write_text("[]")
    with pytest.raises(cf.ArtifactError, match="holds no table"):
        read_json(path)
    with pytest.raises(cf.ArtifactError, match="cannot be read"):
        read_array(str(tmp_path / "b"))


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "a.npy"
    write_array(str(path), np.arange(3))

    def full(file, array):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(cf.ArtifactError, match=r"cannot be written.*No space left"):
        write_array(str(path), np.arange(4))
    assert read_array(str(path)).tolist() == [0, 1, 2]
    assert [one.name for one in tmp_path.iterdir()] == ["a.npy"]


def test_addresses_need_fsspec(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(cf.MissingExtraError, match="pip install fsspec"):
        exists("s3://bucket/kept")


def test_addresses_of_no_store():
    pytest.importorskip("fsspec", reason="addresses need fsspec")
    with pytest.raises(cf.ParameterError, match="nowhere://kept: fsspec knows no such store"):
        exists("nowhere://kept")


def test_a_checkpoint_that_the_driver_does_not_see(tmp_path):
    kept = Checkpoint(str(tmp_path), "data", {})
    with pytest.raises(cf.ArtifactError, match=r"a worker wrote .*users-.*, but the driver does not see it"):
        kept.put(kept.names(), None, np.eye(2, dtype=np.float32), {}, [])


def test_a_checkpoint_has_the_last_state_alone(tmp_path):
    kept = Checkpoint(str(tmp_path), "data", {})
    for losses in ([3.0], [3.0, 2.0]):
        names = kept.names()
        for kind in ("users", "items"):
            write_array(names[kind], np.zeros((1, 2), np.float32))
        kept.put(names, None, np.eye(2, dtype=np.float32), {}, losses)
        assert kept.read()["losses"] == losses
        assert len(list(tmp_path.iterdir())) == 5
    kept.end()
    assert list(tmp_path.iterdir()) == []
