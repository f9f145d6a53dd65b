"""A forked child says at once what it cannot do, instead of waiting for ever."""

import multiprocessing
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

TESTS = str(Path(__file__).parents[1])
WITH_ZOO = {**os.environ, "PYTHONPATH": os.pathsep.join([TESTS, os.environ.get("PYTHONPATH", "")])}
forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")

PROGRAM = """
    import multiprocessing
    import sys
    import warnings

    import numpy as np
    import polars as pl

    import cofactor as cf

    warnings.simplefilter("ignore", DeprecationWarning)
    table = pl.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": [1, 2, 2, 3, 1]})
    folder = sys.argv[1]
    if sys.argv[2] == "after work":
        x = cf.Interactions.from_frame(table)
        events = cf.read_events(table, user="user_id", item="item_id")
        model = cf.ImplicitALS(2, iterations=1).fit(x)
        model.save(folder)
        table.sort("user_id").join(table, on="item_id").group_by("user_id").len()

    def recommend():
        return model.recommend(k=1)

    def told(ask):
        try:
            ask()
        except cf.CofactorError as error:
            assert "forked" in str(error) and "get_context('spawn')" in str(error), error
            return "told"
        return "answered"

    def in_child(questions):
        return [told(q) for q in questions], model.top_k([0, 1], 2).rows.tolist()

    def questions(_):
        asked = [
            model.recommend,
            model.similar_items,
            model.similar_users,
            lambda: model.recommend_for(table),
            lambda: model.predict(table),
            lambda: model.explain(1, 1),
            lambda: cf.read_events(table, user="user_id", item="item_id"),
            lambda: cf.Interactions.from_frame(table),
            events.interactions,
            events.pairs,
            events.collect,
            lambda: cf.evaluate(model, table),
            lambda: cf.compare({"one": cf.Popular()}, x, table),
            lambda: cf.load(folder),
            lambda: cf.Popular().fit(table),
        ]
        return in_child(asked)

    def fresh(_):
        return cf.Popular().fit(table).recommend(k=1).height > 0

    with multiprocessing.get_context("fork").Pool(1) as pool:
        if sys.argv[2] == "after work":
            (answers, rows), = pool.map(questions, [0])
            assert set(answers) == {"told"}, answers
            assert rows == model.top_k([0, 1], 2).rows.tolist()
            assert len(recommend()) > 0  # the parent works on
        else:
            assert pool.map(fresh, [0]) == [True]
    print("done")
"""


@forking
@pytest.mark.parametrize("when", ["after work", "before any work"])
def test_a_forked_child_never_waits_for_ever(tmp_path, when):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    done = subprocess.run(
        [sys.executable, program, tmp_path / "model", when], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"


EVERY_MODEL = """
    import multiprocessing
    import sys
    import warnings

    import numpy as np

    import cofactor as cf
    from zoo import NAMES, make

    warnings.simplefilter("ignore", DeprecationWarning)
    x = cf.datasets.synthetic(n_users=60, n_items=40, n_interactions=400, seed=0).user_items
    x = cf.Interactions.from_csr(x.with_values(1 + np.arange(x.nnz) % 5))
    models = {name: make(name).fit(x) for name in NAMES}
    rows = np.arange(60)
    wanted = {name: (model.top_k(rows, 5), model.recommend(k=5))[0] for name, model in models.items()}

    def in_child(name):
        top = models[name].top_k(rows, 5)
        return np.array_equal(top.rows, wanted[name].rows) and np.array_equal(top.scores, wanted[name].scores)

    def fitted_in_child(_):
        model = cf.ImplicitALS().fit(x)
        return np.array_equal(model.top_k(rows, 5).rows, default.top_k(rows, 5).rows)

    default = cf.ImplicitALS().fit(x)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        right = dict(zip(NAMES, pool.map(in_child, NAMES), strict=True))
        assert all(right.values()), right
        assert pool.map(fitted_in_child, [0]) == [True]
    print("done")
"""


@forking
def test_ranking_by_row_works_in_a_forked_child(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(EVERY_MODEL))
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=100, check=False, env=WITH_ZOO
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"


SPAWNED = """
    import multiprocessing
    import sys
    from concurrent.futures import ProcessPoolExecutor

    import cofactor as cf

    def lists(model, users):
        return model.recommend(users, k=2).rows()

    def loaded(folder, users):
        return lists(cf.load(folder), users)

    if __name__ == "__main__":
        x = cf.datasets.synthetic(n_users=30, n_items=20, n_interactions=150, seed=0)
        model = cf.ItemKNN().fit(x)
        model.save(sys.argv[1])
        for method in ("spawn", "forkserver"):
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
                assert pool.submit(lists, model, [3, 4]).result(timeout=50) == lists(model, [3, 4])
                assert pool.submit(loaded, sys.argv[1], [3, 4]).result(timeout=50) == lists(model, [3, 4])
        print("done")
"""


@pytest.mark.skipif("forkserver" not in multiprocessing.get_all_start_methods(), reason="no forkserver on this system")
def test_spawned_workers_answer(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(SPAWNED))
    done = subprocess.run(
        [sys.executable, program, tmp_path / "model"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"


WITH_JOBLIB = """
    import sys

    import joblib

    import cofactor as cf

    def lists(model, users):
        return model.recommend(users, k=2).rows()

    def counted(events):
        return events.n_events, events.pairs().rows(), lists(cf.Popular().fit(events.interactions()), [3, 4])

    def filled(x):
        return x.user_items.to_scipy().toarray().tolist(), x.users.ids.to_list(), lists(cf.ItemKNN().fit(x), [3, 4])

    if __name__ == "__main__":
        log = cf.datasets.synthetic_events(n_users=30, n_items=20, n_events=300, seed=0).collect()
        log.write_csv(sys.argv[1])
        events = cf.read_events(sys.argv[1], user="user_id", item="item_id", time="time")
        x = events.interactions()
        models = [cf.ItemKNN().fit(x), cf.ImplicitALS(8, iterations=2, threads=1).fit(x)]
        with joblib.parallel_config(backend="loky"):
            workers = joblib.Parallel(n_jobs=2, timeout=60)
            assert workers(joblib.delayed(lists)(m, [3, 4]) for m in models) == [lists(m, [3, 4]) for m in models]
            assert workers([joblib.delayed(counted)(events)]) == [counted(events)]
            assert workers([joblib.delayed(filled)(x)]) == [filled(x)]
        print("done")
"""


def test_workers_of_joblib_answer(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(WITH_JOBLIB))
    done = subprocess.run(
        [sys.executable, program, tmp_path / "log.csv"], capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"
