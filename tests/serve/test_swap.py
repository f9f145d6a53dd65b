"""A model takes another's place in one step, or not at all; and there is a way back."""

import errno
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from cofactor.serve.request_error import RequestError
from cofactor.serve.snapshots import Snapshots
from cofactor.serve.swap import Models
from cofactor.serve.temporary import temporary_folder
from cofactor.serve.trained import Trained


def log(n_items=40, seed=0, first_item=0, text=False):
    rng = np.random.default_rng(seed)
    users, items = np.repeat(np.arange(50), 6), rng.integers(0, n_items, 300) + first_item
    ids = [f"i{item}" for item in items] if text else items
    return cf.Interactions.from_frame({"user_id": users, "item_id": ids})


def save(folder, model=None, **data):
    x = log(**data)
    (cf.Popular() if model is None else model).fit(x).save(folder)
    return x


@pytest.fixture
def folder(tmp_path):
    save(tmp_path / "shop")
    return tmp_path / "shop"


@pytest.fixture
def models(folder):
    models = Models({"shop": folder}, lambda model: type(model).__name__)
    yield models
    models.close()


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)


def test_what_a_version_tells(folder, models):
    version = models.get()
    assert version is models.get("shop") is models.get("current")
    assert (version.name, version.index, len(version.version)) == ("shop", "Popular", 12)
    assert version.model.recommend([0], 3).equals(cf.load(folder).recommend([0], 3))
    assert version.trained.newest > 0
    assert models.names == ["shop"]


def test_another_takes_over_and_the_one_before_stays(folder, models):
    first = models.get()
    save(folder, cf.Random(seed=1), seed=1)
    assert models.get() is first  # nothing happens by itself
    second = models.reload()
    assert models.get() is second
    assert models.get("previous") is first
    assert second.index == "Random"
    assert second.version != first.version
    assert len(first.model.recommend(None, 3)) == 150  # requests under way go on
    assert models.reload("shop") is second  # the same once more
    assert models.get("previous") is first


def test_the_way_back_and_forth(folder, models):
    first = models.get()
    save(folder, seed=1)
    second = models.reload()
    assert models.rollback() is first
    assert models.get() is first
    assert models.get("previous") is second
    assert models.rollback("shop") is second


def test_whoever_wants_to_know_is_told_of_every_switch(folder):
    switches = []
    models = Models({"shop": folder}, lambda model: type(model).__name__, switched=lambda: switches.append(1))
    try:
        models.reload()  # what is served already
        assert not switches
        save(folder, seed=1)
        models.reload()
        models.rollback()
        assert len(switches) == 2
    finally:
        models.close()


@pytest.mark.parametrize("name", ["nothing", "", "../shop", "sohp"])
def test_models_that_are_not_there(models, name):
    for ask in (models.get, models.reload, models.rollback):
        with pytest.raises(RequestError, match="there is no model") as caught:
            ask(name)
        assert (caught.value.status, caught.value.code) == (404, "unknown_model")
    with pytest.raises(RequestError, match="did you mean shop"):
        models.get("sohp")


def test_no_way_back_from_the_first(models):
    for ask in (models.rollback, lambda: models.get("previous")):
        with pytest.raises(RequestError) as caught:
            ask()
        assert (caught.value.status, caught.value.code) == (404, "no_previous_model")


def test_several_models_are_changed_apart(tmp_path, folder):
    save(tmp_path / "other", cf.Random(), seed=2)
    models = Models({"shop": folder, "other": tmp_path / "other"}, lambda model: type(model).__name__)
    try:
        shop = models.get("shop")
        save(tmp_path / "other", seed=3)
        models.reload("other")
        assert models.get("shop") is models.get() is shop
        assert models.get("other").index == "Popular"
    finally:
        models.close()


# What is refused.


def refused(models, **more):
    before = models.get()
    lists = before.model.recommend(None, 3, exclude_seen=False)
    with pytest.raises(RequestError) as caught:
        models.reload(**more)
    assert models.get() is before
    assert models.refused["shop"] == caught.value.message
    assert before.model.recommend(None, 3, exclude_seen=False).equals(lists)
    return caught.value


def test_a_model_that_has_lost_items(folder, models):
    save(folder, n_items=30)
    failure = refused(models)
    assert (failure.status, failure.code) == (409, "model_refused")
    assert "10 of the 40 items" in failure.message
    assert "such as" in failure.message
    save(folder, n_items=36)
    assert models.reload() is models.get()
    assert not models.refused


@pytest.mark.parametrize("data", [{"text": True}, {"first_item": 1000}])
def test_a_model_of_other_items(folder, models, data):
    save(folder, **data)
    assert refused(models).code == "model_refused"


class Broken(cf.Popular):
    """Gives what its parameter says."""

    def __init__(self, fault="nan", by="users"):
        super().__init__(by)
        self.fault = fault

    def _top_k(self, users, k, filters):
        return self._faulty(super()._top_k(users, k, filters))

    def _top_k_for(self, histories, k, filters):
        if self.fault == "no fold-in":
            raise cf.ParameterError("it serves those it knows")
        return self._faulty(super()._top_k_for(histories, k, filters))

    def _faulty(self, top):
        if self.fault == "nan":
            top.scores[:, 1] = np.nan
        if self.fault == "empty":
            top.rows[:] = -1
        if self.fault == "error":
            raise RuntimeError("it broke /etc/passwd")
        return top


@pytest.fixture(autouse=True, scope="module")
def _forgotten():
    yield
    del cf.Recommender.registry["Broken"]


@pytest.mark.parametrize(
    ("fault", "status", "told"),
    [("nan", 409, "not finite"), ("empty", 409, "get none"), ("error", 422, "RuntimeError")],
)
def test_a_model_whose_canaries_fall(folder, models, fault, status, told):
    save(folder, Broken(fault))
    failure = refused(models)
    assert failure.status == status
    assert told in failure.message
    assert "passwd" not in failure.message


def test_new_users_are_tried_by_their_history(folder, models):
    """A log of sessions has other users every night."""
    users = {"user_id": np.repeat(np.arange(1000, 1050), 8), "item_id": np.arange(400) % 40}
    x = cf.Interactions.from_frame(users)
    for fine in (cf.Popular(), cf.SessionKNN(), cf.ItemKNN()):
        fine.fit(x).save(folder)
        assert models.reload().index == type(fine).__name__
    Broken("no fold-in").fit(cf.Interactions.from_frame(users | {"user_id": users["user_id"] + 50})).save(folder)
    assert refused(models).status == 409


def test_models_of_ratings_are_tried_too(tmp_path):
    rng = np.random.default_rng(0)
    table = {"user_id": np.repeat(np.arange(30), 5), "item_id": rng.integers(0, 20, 150)}
    for n in range(2):
        table["rating"] = rng.integers(1, 6, 150).astype(float)
        log = cf.read_events(pl.DataFrame(table), user="user_id", item="item_id", rating="rating")
        with pytest.warns(cf.CofactorWarning, match="rated again"):
            ratings = log.ratings()
        cf.BiasOnly().fit(ratings).save(tmp_path / "m")
        if not n:
            models = Models({"m": tmp_path / "m"}, lambda model: model)
    first = models.get()
    assert models.reload() is not first
    models.close()


def test_a_first_model_that_gives_nobody_a_list(tmp_path):
    save(tmp_path / "m", Broken("empty"))
    with pytest.raises(RequestError, match="none of 50 users"):
        Models({"m": tmp_path / "m"}, lambda model: model)


def test_folders_that_hold_no_model(folder, models, tmp_path):
    for place in (tmp_path / "nothing", tmp_path, folder / "model.json", "\0", "x" * 5000):
        failure = refused(models, folder=place)
        assert (failure.status, failure.code) == (422, "model_not_loaded")
        assert str(tmp_path) not in failure.message
    with pytest.raises(cf.ArtifactError):
        Models({"m": tmp_path / "nothing"}, lambda model: model)


def test_a_damaged_model(folder, models):
    save(folder, seed=1)
    arrays = next(folder.glob("arrays-*"))
    data = bytearray(arrays.read_bytes())
    data[-3] ^= 1
    arrays.write_bytes(data)
    assert refused(models).code == "model_not_loaded"
    arrays.write_bytes(data[: len(data) // 2])
    assert refused(models).code == "model_not_loaded"
    (folder / "model.json").write_text("{")
    assert refused(models).code == "model_not_loaded"


def test_no_room_for_a_copy(folder, models, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    save(folder, seed=1)
    monkeypatch.setattr("cofactor.serve.snapshots.shutil.copyfileobj", full)
    assert "no room" in refused(models).message
    with pytest.raises(cf.ArtifactError, match="TMPDIR"):
        Models({"shop": folder}, lambda model: model)
    monkeypatch.undo()
    assert models.reload() is models.get()
    assert not models.refused


def test_a_folder_that_is_emptied_under_the_server(folder, models):
    """Somebody truncates the very files that the model was loaded from."""
    lists = cf.load(folder).recommend(None, 5)
    for file in folder.iterdir():
        with file.open("r+b") as opened:
            opened.truncate(0)
    shutil.rmtree(folder)
    assert models.get().model.recommend(None, 5).equals(lists)


def test_another_folder(folder, models, tmp_path):
    save(tmp_path / "elsewhere", cf.Random(), seed=4)
    assert models.reload(folder=tmp_path / "elsewhere").index == "Random"


def test_one_change_at_a_time(folder, models, monkeypatch):
    monkeypatch.setattr("cofactor.serve.swap._PATIENCE", 0.05)
    inside, go_on = threading.Event(), threading.Event()

    def build(model):
        inside.set()
        go_on.wait(20)
        return "slow"

    models._build = build
    save(folder, seed=1)
    first = models.get()
    thread = threading.Thread(target=models.reload)
    thread.start()
    assert inside.wait(20)
    assert models.get() is first  # requests do not wait
    for change in (models.reload, models.rollback):
        with pytest.raises(RequestError, match="under way"):
            change()
    go_on.set()
    thread.join()
    assert models.get().index == "slow"


@pytest.mark.parametrize(
    "wrong", [{"canaries": 0}, {"most_lost": 1.5}, {"most_lost": float("nan")}, {"most_lost": "20%"}, {"folders": {}}]
)
def test_parameters_that_cannot_be(folder, wrong):
    with pytest.raises(cf.ParameterError):
        Models(**{"folders": {"shop": folder}, "build": lambda model: model, **wrong})


# Watching, and several processes.


def test_a_watched_folder(folder, models):
    models.watch(0.02)
    first = models.get()
    save(folder, cf.Random(seed=1), seed=1)
    wait_for(lambda: models.get() is not first)
    assert models.get().index == "Random"
    models.rollback()
    save(folder, n_items=10)  # refused
    wait_for(lambda: "shop" in models.refused)
    assert models.get() is first
    save(folder, seed=3)
    wait_for(lambda: models.get() is not first)
    first, header = models.get(), (folder / "model.json").read_text()
    (folder / "model.json").write_text("{}")
    wait_for(lambda: "no saved model" in models.refused.get("shop", ""))
    (folder / "model.json").write_text(header)
    wait_for(lambda: not models.refused)
    assert models.get() is first
    shutil.rmtree(folder)
    save(folder, cf.Random(seed=2), seed=2)
    wait_for(lambda: models.get() is not first)
    assert not models.refused


def test_a_rolled_back_model_does_not_come_again_by_itself(folder, models):
    save(folder, seed=1)
    models.reload()
    models.watch(0.02)
    first = models.rollback()
    time.sleep(0.2)
    assert models.get() is first


def test_processes_follow_each_other(folder, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    one = Models({"shop": folder}, lambda model: type(model).__name__, root=root)
    two = Models({"shop": folder}, lambda model: type(model).__name__, root=root)
    try:
        first = one.get().version
        assert two.get().version == first
        save(folder, cf.Random(seed=1), seed=1)
        second = one.reload().version
        wait_for(lambda: two.get().version == second)
        assert two.get("previous").version == first
        save(folder, n_items=5)
        with pytest.raises(RequestError):
            two.reload()
        wait_for(lambda: one.refused == two.refused and one.refused)
        two.rollback()
        wait_for(lambda: one.get().version == first)
        # One that starts later, as after a crash, serves what the others serve; whatever the folder holds.
        three = Models({"shop": folder}, lambda model: type(model).__name__, root=root)
        assert (three.get().version, three.get("previous").version) == (first, second)
        three.watch(0.02)
        time.sleep(0.2)
        assert three.get().version == first
        three.close()
        assert len([p for p in root.iterdir() if p.is_dir()]) == 2
    finally:
        one.close()
        two.close()
    assert root.exists()  # it belongs to who made it


def test_a_process_that_starts_while_another_changes_models_finds_what_it_is_to_serve(folder, tmp_path, monkeypatch):
    root = tmp_path / "root"
    root.mkdir()
    one = Models({"shop": folder}, lambda model: model, root=root)
    load, changes = Models._load, []

    def change():
        for seed in (1, 2):
            save(folder, cf.Random(seed=seed), seed=seed)
            one.reload()

    def loaded(self, name, snapshot):
        if self is not one and not changes:  # two has read what is served, and has not loaded it yet
            changes.append(threading.Thread(target=change))
            changes[0].start()
            time.sleep(0.3)
        return load(self, name, snapshot)

    monkeypatch.setattr(Models, "_load", loaded)
    two = Models({"shop": folder}, lambda model: model, root=root)
    changes[0].join()
    try:
        wait_for(lambda: two.get().version == one.get().version)
    finally:
        one.close()
        two.close()


def test_nothing_is_left_behind(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    models = Models({"shop": folder}, lambda model: model)
    assert len(list((tmp_path / "tmp").iterdir())) == 1
    models.close()
    assert not list((tmp_path / "tmp").iterdir())
    with pytest.raises(RuntimeError):
        Models({"shop": folder}, lambda model: (_ for _ in ()).throw(RuntimeError))
    assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks on Windows")
def test_what_a_dead_server_has_left_goes_and_that_of_a_living_one_stays(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    living, dead, young = (tmp_path / "tmp" / f"cofactor-versions-{name}" for name in ("living", "dead", "young"))
    for root in (living, dead, young):
        root.mkdir(parents=True)
        (root / "alive").touch()
    held = Snapshots(living)
    for root in (living, dead):
        os.utime(root, (0, 0))
    models = Models({"shop": folder}, lambda model: model)
    assert [living.exists(), dead.exists(), young.exists()] == [True, False, True]
    models.close()
    held.close()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks on Windows")
def test_the_folder_where_workers_meet_goes_with_the_next_server_after_a_kill(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    script = (
        "import os, tempfile; from cofactor.serve.temporary import temporary_folder\n"
        f"tempfile.tempdir = {str(tmp_path)!r}\n"
        "with temporary_folder('cofactor-serve-') as folder: print(folder, flush=True); input(); os._exit(1)"
    )
    left, living = (
        subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    )
    folders = [Path(process.stdout.readline().strip()) for process in (left, living)]
    left.communicate("\n")
    for folder in folders:
        os.utime(folder, (0, 0))
    with temporary_folder("cofactor-serve-") as third:
        assert [folder.exists() for folder in (*folders, third)] == [False, True, True]
    assert not third.exists()
    living.communicate("\n")


def test_the_log_that_cofactor_train_tells_of(folder, models):
    from cofactor.models.base.saved import save as save_model

    save_model(cf.Popular().fit(log(seed=9)), folder, log={"stored": 17})
    assert models.reload().trained == Trained(stored=17)
