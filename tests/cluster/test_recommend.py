"""Lists for everyone in shards: all of them, each once, also after a kill."""

import shutil

import polars as pl
import pytest

import cofactor as cf
from cofactor.cluster.pool import Pool


@pytest.fixture(scope="module")
def model(local):
    return cf.ImplicitALS(8, regularization=0.1, iterations=2).fit(local)


@pytest.fixture(scope="module")
def made(cluster, model, tmp_path_factory):
    """A folder of lists."""
    folder = tmp_path_factory.mktemp("made")
    cluster.recommend(model, folder, 5, shards=4, workers=1, threads=1)
    return folder


def lists_in(folder):
    return pl.concat(pl.read_parquet(path) for path in sorted(folder.glob("part-*.parquet")))


def test_lists_are_those_of_one_machine(cluster, model, tmp_path):
    model.save(tmp_path / "model")
    for given, name, workers in ((model, "a", 2), (tmp_path / "model", "b", 1)):
        paths = cluster.recommend(given, tmp_path / name, 5, shards=7, workers=workers, threads=1)
        assert [path.name for path in paths] == [f"part-{i:05}.parquet" for i in range(7)]
        assert lists_in(tmp_path / name).equals(model.recommend(k=5))


def test_similar_items_are_those_of_one_machine(cluster, model, tmp_path):
    cluster.similar_items(model, tmp_path / "lists", 4, shards=3, workers=1, threads=1)
    assert lists_in(tmp_path / "lists").equals(model.similar_items(k=4))
    with pytest.raises(cf.ArtifactError, match="holds lists of kind='similar items', not 'items'"):
        cluster.recommend(model, tmp_path / "lists", 4, shards=3)


def test_models_without_similar_items(cluster, local, tmp_path):
    with pytest.raises(cf.ParameterError, match="Popular has no notion of similar items"):
        cluster.similar_items(cf.Popular().fit(local), tmp_path / "lists")
    assert not (tmp_path / "lists").exists()


def test_only_missing_shards_are_made(cluster, model, made, tmp_path):
    shutil.copytree(made, tmp_path / "lists")
    paths = [tmp_path / "lists" / f"part-{i:05}.parquet" for i in range(4)]
    paths[1].unlink()
    before = [path.stat().st_mtime_ns for path in paths if path.exists()]
    assert len(before) == 3
    cluster.recommend(model, tmp_path / "lists", 5, shards=4, workers=1, threads=1)
    assert [path.stat().st_mtime_ns for i, path in enumerate(paths) if i != 1] == before
    assert lists_in(tmp_path / "lists").equals(model.recommend(k=5))


def test_a_worker_that_is_killed_leaves_nothing_out(cluster, model, tmp_path, monkeypatch, kill):
    made, start, mend = [], Pool.start, Pool.mend

    def started(pool):
        start(pool)
        kill(pool, 0)

    def mended(pool):
        made.append(pool)
        mend(pool)

    monkeypatch.setattr(Pool, "start", started)
    monkeypatch.setattr(Pool, "mend", mended)
    cluster.recommend(model, tmp_path / "lists", 5, shards=6, workers=2, threads=1)
    assert made, "nobody died"
    assert lists_in(tmp_path / "lists").equals(model.recommend(k=5))
    assert {path.name for path in (tmp_path / "lists").iterdir()} == {
        "lists.json", *(f"part-{i:05}.parquet" for i in range(6))
    }  # fmt: skip


def test_an_output_that_the_driver_does_not_see(cluster, model, tmp_path, monkeypatch):
    monkeypatch.setattr(Pool, "deal", lambda pool, calls: iter([]))  # workers wrote elsewhere
    with pytest.raises(cf.ArtifactError, match=r"a worker wrote part-00000.parquet, but the driver does not see it"):
        cluster.recommend(model, tmp_path / "lists", 5, shards=2, workers=1, threads=1)


def test_a_model_that_a_worker_does_not_see(cluster, model, tmp_path, monkeypatch):
    monkeypatch.setattr("cofactor.cluster.list_worker.check_path", lambda name, path: path.with_name("elsewhere"))
    model.save(tmp_path / "model")
    with pytest.raises(cf.ArtifactError, match="elsewhere is not a saved model"):
        cluster.recommend(tmp_path / "model", tmp_path / "lists", 5, workers=1, threads=1)


def test_lists_of_something_else_stay(cluster, model, made, tmp_path):
    with pytest.raises(cf.ArtifactError, match=r"output=.*holds lists of k=5, not 6"):
        cluster.recommend(model, made, 6, shards=4)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(cf.ArtifactError, match=r"output=.*holds something else"):
        cluster.recommend(model, tmp_path / "mine", 5)


@pytest.mark.parametrize("wrong", [{"k": 0}, {"shards": 0}, {"workers": 1.5}, {"exclude_seen": None}])
def test_wrong_parameters(cluster, model, tmp_path, wrong):
    with pytest.raises(cf.ParameterError, match=next(iter(wrong))):
        cluster.recommend(model, tmp_path / "lists", **wrong)
