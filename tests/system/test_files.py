import polars as pl
import pytest

from cofactor.errors import ParameterError
from cofactor.system.files import check_output, replacing, write_table

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
