import pytest

import cofactor as cf
from cofactor.cli.models import model_names
from cofactor.cli.wording import in_options

OPTIONS = ["--time", "--time-unit", "--anonymous", "--out", "-o", "--k-core", "--cap", "--half-life", "--repeats"]


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("name its column: read_events(..., time=...)", "name its column: --time"),
        ("Choose: anonymous='drop' leaves them out", "Choose: --anonymous drop leaves them out"),
        ("pass time_unit= if they are", "pass --time-unit if they are"),
        ("lack; make the interactions of read_events(..., time=...)", "lack; give --time"),
        ("maximum=-1.0; it must be positive", "--cap -1.0; it must be positive"),
        ("life='30x'; it must be positive", "--half-life 30x; it must be positive"),
        ("half_life='30d' needs times", "half_life='30d' needs times"),
        ("name it: read_events(..., time=...), or in the weight", "name it: --time"),
        ("pass exclude_seen=False, or fill", "pass --repeats, or fill"),
        ("time='when': there is no such column", "--time when: there is no such column"),
        ("k_core=True, factors=3", "--k-core True, factors=3"),
        ("item_time='x' and 1=1", "item_time='x' and 1=1"),
        ("a <= b and c==d", "a <= b and c==d"),
    ],
)
def test_parameters_become_options(message, told):
    assert in_options(message, OPTIONS) == told


def test_a_split_by_time_without_times(run, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("user_id,item_id\n1,2\n1,3\n2,3\n")
    result = run("compare", path, "--test", "28d", "--models", "popular", expect=1)
    assert "--time" in result.stderr
    assert "read_events" not in result.stderr


def test_notes_name_options(run, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("user_id;item_id;at\n1;2;1700000000\n1;3;1700000100\n")
    told = run("train", path, "--time", "at", "--out", tmp_path / "m", "--model", "popular").stderr
    assert "(--separator overrides it)" in told
    assert "(inferred; --time-unit overrides it)" in told


def test_help_names_every_model(run):
    for command in ("train", "compare"):
        text = "".join(run(command, "--help").stdout.split())
        assert not [name for name in model_names() if name not in text]
    assert len(model_names()) >= 15
    assert issubclass(model_names()["als"], cf.ImplicitALS)
    assert "fixed-factors" not in model_names()  # of vectors, which only Python can give


def test_where_there_is_no_option_the_parameter_stays():
    assert in_options("exclude_seen=False keeps them", ["--out"]) == "exclude_seen=False keeps them"
