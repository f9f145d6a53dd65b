import pytest

from cofactor.errors import DataError
from cofactor.system.toml import read_toml

TEXT = '''\
name = "a [table] = 1"   # seed = 9
text = """
seed = 5
"""
seed = 3

[models.als]
factors = 8
"odd key" = 1
nested.deep = 2
[models.als.tune]
space = {factors = [1, 2], alpha = [
  3,
]}
[models.chain]
models = [
  {class = "A"},
  {class = "B", depth = 2},
  {depth = 3},
]
[[published]]
name = "first"
[[published]]
# told
name = "second"
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text(TEXT)
    return read_toml(path)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ((), 1),
        (("name",), 1),
        (("text",), 2),
        (("seed",), 5),
        (("models", "als"), 7),
        (("models", "als", "factors"), 8),
        (("models", "als", "odd key"), 9),
        (("models", "als", "nested", "deep"), 10),
        (("models", "als", "tune", "space", "alpha"), 12),
        (("models", "chain", "models", 1, "class"), 18),
        (("models", "chain", "models", 1, "depth"), 18),
        (("models", "chain", "models", 2, "depth"), 19),
        (("published", 1), 23),
        (("published", 1, "name"), 25),
        (("models", "als", "missing"), 7),
        (("nothing", "at", "all"), 1),
        (("published", 7, "name"), 21),
        (("models", "chain", "models", "text"), 16),
    ],
)
def test_a_key_has_a_line(file, keys, line):
    assert file.line(*keys) == line


def test_what_is_no_toml_is_told_with_its_line(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text("a = 1\nb = nothing\n")
    with pytest.raises(DataError, match=r"x\.toml is not TOML: .*line 2"):
        read_toml(path)
    path.write_text("a = 1\na = 2\n")
    with pytest.raises(DataError, match=r"not TOML: .*line 2"):
        read_toml(path)
    path.write_bytes(b"a = '\xff'\n")
    with pytest.raises(DataError, match="is not text in UTF-8, as TOML is: byte 5 is no part of it"):
        read_toml(path)
    with pytest.raises(DataError, match=r"y\.toml cannot be read: No such file"):
        read_toml(tmp_path / "y.toml")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_toml(tmp_path)
