import os
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cofactor.errors import ParameterError
from cofactor.system.files import TABLE_ENDINGS, check_output, replacing, write_table

TABLE = pl.DataFrame({"a": [1, 2]})


def test_replaces_a_file_as_a_whole(tmp_path):
    path = tmp_path / "new" / "t.csv"
    write_table(TABLE, path)
    write_table(TABLE.head(1), path)
    assert path.read_text() == "a\n1\n"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "t.csv"
    path.write_text("old")

    def write():
        with replacing(path) as beside:
            beside.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_named(tmp_path):
    with pytest.raises(ParameterError, match=r"t\.csv could not be written: .*No space"), replacing(tmp_path / "t.csv"):
        raise OSError(28, "No space left on device")


def test_checks(tmp_path):
    assert check_output(tmp_path / "a" / "b" / "t.PARQUET").name == "t.PARQUET"
    with pytest.raises(ParameterError, match=r"must end in one of \.parquet, "):
        check_output("t.xlsx")
    (tmp_path / "file").touch()
    with pytest.raises(ParameterError, match="file is not a folder that can be written to"):
        check_output(tmp_path / "file" / "t.csv")
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(ParameterError, match="is a folder"):
        check_output(tmp_path / "d.csv")


def test_a_home_is_understood_and_that_of_nobody_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_table(TABLE, "~/t.csv")
    assert (tmp_path / "t.csv").read_text() == "a\n1\n2\n"
    with pytest.raises(ParameterError, match=r"~no-such-user/t\.csv cannot be written: Could not determine home"):
        check_output("~no-such-user/t.csv")


def test_a_name_that_no_folder_can_have_is_an_error(tmp_path):
    with pytest.raises(ParameterError, match=r"cannot be written: .*File name too long"):
        check_output(tmp_path / ("x" * 300) / "t.csv")


def test_a_name_that_leaves_no_room_is_an_error(tmp_path):
    with pytest.raises(ParameterError, match=r"could not be written: .*File name too long"):
        write_table(TABLE, tmp_path / ("x" * 250 + ".csv"))


def test_a_folder_that_nobody_may_look_into_is_an_error(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(ParameterError, match=r"t\.csv cannot be written: .*Permission denied"):
        check_output(tmp_path / "t.csv")


def test_a_folder_that_goes_meanwhile_is_an_error(tmp_path):
    path = tmp_path / "a" / "t.csv"

    def write():
        with replacing(path) as beside:
            beside.write_text("half")
            shutil.rmtree(path.parent)

    with pytest.raises(ParameterError, match=r"t\.csv could not be written: .*No such file"):
        write()


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    with replacing(tmp_path / "t.csv") as one, replacing(tmp_path / "t.csv") as other:
        one.write_text("one")
        other.write_text("other")
    assert (tmp_path / "t.csv").read_text() == "one"
    assert list(tmp_path.iterdir()) == [tmp_path / "t.csv"]


@pytest.mark.skipif(os.name == "nt", reason="limits on the size of files are those of POSIX")
@pytest.mark.parametrize("ending", TABLE_ENDINGS)
def test_a_disk_that_fills_up_leaves_the_old_file(tmp_path, ending):
    """A limit on the size of files stands for the disk."""
    import resource

    path = tmp_path / f"t{ending}"
    write_table(TABLE, path)
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    large = pl.DataFrame({"a": np.random.default_rng(0).random(200_000)})
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(ParameterError, match=r"could not be written: .*File too large"):
            write_table(large, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
