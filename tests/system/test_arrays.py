"""Arrays in a file: as the library of the format reads and writes them, and nothing else."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file, save_file

from cofactor.system.arrays import mapped_arrays, write_arrays

TYPES = ["?", "u1", "i1", "u2", "i2", "f2", "u4", "i4", "f4", "u8", "i8", "f8"]
ARRAYS = st.dictionaries(
    st.text("abc_.:1", min_size=1, max_size=6),
    st.sampled_from(TYPES).flatmap(
        lambda t: hnp.arrays(t, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    ),
    max_size=5,
)


def read(path):
    with path.open("rb") as file:
        return mapped_arrays(file)


def same(some, others):
    assert some.keys() == others.keys()
    for name, a in some.items():
        b = others[name]
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()


@given(arrays=ARRAYS)
def test_what_is_written_comes_back_and_the_library_reads_it(tmp_path_factory, arrays):
    path = tmp_path_factory.mktemp("arrays") / "a.safetensors"
    with path.open("wb") as file:
        write_arrays(file, arrays)
    same(arrays, read(path))
    same(arrays, load_file(path))


@given(arrays=ARRAYS)
def test_what_the_library_writes_is_read(tmp_path_factory, arrays):
    path = tmp_path_factory.mktemp("arrays") / "a.safetensors"
    save_file(arrays, path)
    same(arrays, read(path))


def test_any_order_of_memory_and_bytes(tmp_path):
    plain = np.arange(6, dtype=np.float64).reshape(2, 3)
    arrays = {"turned": plain.T, "big": plain.astype(">f8"), "every other": plain[:, ::2]}
    with (tmp_path / "a").open("wb") as file:
        write_arrays(file, arrays)
    for name, a in read(tmp_path / "a").items():
        assert np.array_equal(a, arrays[name])
        assert a.dtype == np.float64


@pytest.mark.parametrize("array", [np.array(["text"]), np.array([None]), np.zeros(2, complex)])
def test_other_types_are_refused_by_name(tmp_path, array):
    with (tmp_path / "a").open("wb") as file, pytest.raises(TypeError, match=r"odd is an array of .* does not know"):
        write_arrays(file, {"odd": array})


def test_views_are_read_only_and_outlive_the_file(tmp_path):
    with (tmp_path / "a").open("wb") as file:
        write_arrays(file, {"a": np.arange(1000)})
    a = read(tmp_path / "a")["a"]
    (tmp_path / "a").unlink()
    assert a.sum() == 499500
    with pytest.raises(ValueError, match="read-only"):
        a[0] = 1


def test_an_array_between_the_places_of_its_type_is_copied(tmp_path):
    header = json.dumps({"a": {"dtype": "F64", "shape": [1], "data_offsets": [3, 11]}}).encode()
    data = len(header).to_bytes(8, "little") + header + b"\0" * 3 + np.array([0.5]).tobytes()
    (tmp_path / "a").write_bytes(data)
    a = read(tmp_path / "a")["a"]
    assert a[0] == 0.5
    assert a.flags.aligned
    assert not a.flags.writeable


ENTRIES = {
    "beyond the end": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]},
    "before the start": {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]},
    "backwards": {"dtype": "F32", "shape": [0], "data_offsets": [8, 4]},
    "fewer bytes than the shape": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
    "a shape to be guessed": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 8]},
    "two negative sides": {"dtype": "F32", "shape": [-1, -2], "data_offsets": [0, 8]},
    "a fraction": {"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]},
    "a truth": {"dtype": "F32", "shape": [True, 2], "data_offsets": [0, 8]},
    "another type": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]},
    "no type": {"shape": [2], "data_offsets": [0, 8]},
    "three offsets": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8, 8]},
    "no table": 3,
}


@pytest.mark.parametrize("kind", ENTRIES)
def test_entries_that_do_not_fit_the_file_are_errors(tmp_path, kind):
    header = json.dumps({"a": ENTRIES[kind]}).encode()
    (tmp_path / "a").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 8)
    with pytest.raises((ValueError, TypeError, KeyError)):
        read(tmp_path / "a")


@pytest.mark.parametrize("data", [b"", b"\1", b"\0" * 8, b"\2" + b"\0" * 7 + b"[]", b"\3" + b"\0" * 7 + b"{}"])
def test_what_is_no_such_file_is_an_error(tmp_path, data):
    (tmp_path / "a").write_bytes(data)
    with pytest.raises((ValueError, TypeError)):
        read(tmp_path / "a")
