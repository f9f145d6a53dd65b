"""Models saved while others load them, and by processes that are killed: always the old one or the new one, whole."""

import os

import pytest

import cofactor as cf
import saving

pytestmark = pytest.mark.skipif(os.name == "nt", reason="forks and signals are those of POSIX")


@pytest.mark.slow
@pytest.mark.parametrize("savers", [1, 2])
def test_whoever_loads_while_others_save_gets_a_whole_model(tmp_path, savers):
    told = saving.together(tmp_path / "model", savers=savers, loaders=2, loads=200)
    assert told["failures"] == []
    assert told["all savers alive"]
    assert told["models seen"] > 3
    assert told["files at the end"] == 4


@pytest.mark.slow
def test_whenever_a_save_is_killed_a_whole_model_is_there(tmp_path):
    (tmp_path / "at").mkdir()
    told = saving.kills(tmp_path / "at" / "model", 30)
    assert told["lost"] == []
    assert told["left after the next save"] == []
    assert told["old"]
    assert told["new"]


@pytest.mark.slow
def test_at_every_step_of_a_save_a_kill_leaves_a_whole_model(tmp_path):
    folder = tmp_path / "model"
    saving.make(1).save(folder)
    for i, step in enumerate((name, when) for name in saving.STEPS for when in ("before", "after")):
        former, marker = saving.marker_of(cf.load(folder)), 10 * (i + 1)
        saving.killed(folder, marker, *step)
        switched = step in (("replace", "after"), ("sweep", "before"), ("sweep", "after"))
        assert saving.marker_of(cf.load(folder)) == (marker if switched else former), step
        assert (len(list(folder.iterdir())) == 4) == (step in (("written", "before"), ("sweep", "after"))), step
        saving.make(marker + 5).save(folder)
        assert len(list(folder.iterdir())) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_first_save_that_is_killed_can_be_done_again(tmp_path):
    folder = tmp_path / "model"
    for step in (("written", "after"), ("replace", "before")):
        saving.killed(folder, 10, *step)
        with pytest.raises(cf.ArtifactError, match="it has no model"):
            cf.load(folder)
    saving.make(2).save(folder)
    assert saving.marker_of(cf.load(folder)) == 2
    assert len(list(folder.iterdir())) == 4
