def test_tables(run):
    shown = run("doctor").stdout
    for text in ("cofactor", "polars", "level", "supported", "GiB", "extras"):
        assert text in shown


def test_json(run_json):
    found = run_json("doctor")
    assert set(found["facts"]) == {"versions", "cpu", "threads", "memory", "blas", "extras"}
    assert isinstance(found["warnings"], list)


def test_warnings_are_shown(run):
    shown = run("doctor", env={"COFACTOR_NUM_THREADS": "1000"}).stdout
    assert "warning: COFACTOR_NUM_THREADS=1000 is more than" in shown


def test_a_bad_environment_is_an_error(run):
    assert "at least 1" in run("doctor", env={"COFACTOR_NUM_THREADS": "many"}, expect=1).stderr
