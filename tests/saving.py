"""Processes that save, load and die beside each other: what tests/models/base/test_saved_together.py starts.

By hand, at full length: ``python tests/saving.py FOLDER [LOADS] [KILLS]``.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

import cofactor as cf
from cofactor.data.ids import IdMap
from cofactor.kernels.csr import CSR, offsets
from cofactor.system import saved_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

STEPS = ("written", "sync_folder", "replace", "sweep")  # of a save; each is died before and after


def make(marker: int) -> cf.ImplicitALS:
    """A model whose every part holds the marker."""
    n = 20 + marker % 7
    users, items = (IdMap(pl.Series(range(marker * size, marker * size + n))) for size in (1000, 2000))
    csr = CSR(offsets(np.full(n, 2)), np.tile([0, n - 1], n).astype(np.int32), np.full(2 * n, marker, np.float32), n)
    model = cf.ImplicitALS(factors=64, seed=marker)
    model.interactions_ = cf.Interactions(users, items, csr)
    model.user_factors_, model.item_factors_ = (np.full((n, 64), marker, np.float32) for _ in range(2))
    model.loss_history_ = np.full(1, float(marker))
    return model


def marker_of(model: cf.ImplicitALS) -> int:
    """The marker of a whole model.

    Raises
    ------
    ValueError
        Its parts are of several models.
    """
    x, marker, n = model.interactions_, model.seed, 20 + model.seed % 7
    found = {x.users.ids[0] / 1000, x.items.ids[0] / 2000, model.loss_history_[0]}
    for array in (x.user_items.values, model.user_factors_, model.item_factors_):
        found |= set(np.unique(array).tolist())
    if found != {marker} or {len(x.users), len(x.items), len(model.item_factors_)} != {n}:
        raise ValueError(f"a mixture: seed {marker}, but {found}, {x}")
    return marker


def save(told: Connection, folder: Path, first: int, step: int) -> None:
    """Save one model after another until the process is ended."""
    told.send("ready")
    for marker in count(first, step):
        make(marker % 100_000 + 1).save(folder)


def load(told: Connection, folder: Path, n: int) -> None:
    """Load n times, every second time unverified, and tell the failures and how many different models came."""
    failures, markers = [], set()
    for i in range(n):
        try:
            markers.add(marker_of(cf.load(folder, verify=i % 2 == 0)))
        except (cf.CofactorError, ValueError, OSError) as error:
            failures.append(f"{type(error).__name__} {error}")
    told.send({"failures": failures, "markers": len(markers)})


def die(told: Connection, folder: Path, marker: int, *step: str) -> None:
    """Save two models by turns until this process is killed, which it is itself at a step, where one is given."""
    models = [make(marker + i) for i in range(2)]
    if step:
        die_at(*step)
    told.send("ready")
    while True:
        for model in models:
            model.save(folder)


def die_at(step: str, when: str) -> None:
    """Let this process be killed just before or just after a step of a save."""
    owner = {"replace": Path, "sweep": saved_folder.FolderKind}.get(step, saved_folder)
    real = getattr(owner, step)

    def dying(*args: object, **kwargs: object) -> object:
        if when == "after":
            done = real(*args, **kwargs)
            if step == "written":
                done.__enter__()
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    setattr(owner, step, dying)


def start(what: Callable[..., None], *arguments: object) -> tuple[BaseProcess, Connection]:
    """One of the processes above, and what it tells; forked off one that has imported the library and done no more."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["cofactor"])
    here, there = server.Pipe(duplex=False)
    process = server.Process(target=what, args=(there, *arguments))
    process.start()
    there.close()
    return process, here


def together(folder: Path, *, savers: int, loaders: int, loads: int) -> dict[str, object]:
    """Save and load at once; how many loads failed, why, how many models were seen, and what is left at the end."""
    make(1).save(folder)
    saving = [start(save, folder, i, savers) for i in range(savers)]
    try:
        for _, said in saving:
            assert said.recv() == "ready"
        loading = [start(load, folder, loads) for _ in range(loaders)]
        told = [said.recv() for _, said in loading]
        for process, _ in loading:
            process.join()
        alive = [process.is_alive() for process, _ in saving]
    finally:
        for process, _ in saving:
            process.kill()
            process.join()
    make(7).save(folder)
    return {
        "loads": loaders * loads,
        "failures": [failure for one in told for failure in one["failures"]],
        "models seen": max(one["markers"] for one in told),
        "all savers alive": all(alive),
        "files at the end": len(list(folder.iterdir())),
    }


def killed(folder: Path, marker: int, *step: str, seconds: float = 0.0) -> None:
    """Start saving ``marker`` and the next one by turns, and kill that after so many seconds, or at a step."""
    process, said = start(die, folder, marker, *step)
    assert said.recv() == "ready"
    if not step:
        time.sleep(seconds)
        process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def kills(folder: Path, n: int, seed: int = 0) -> dict[str, object]:
    """Kill savers at random moments; how many loads failed, and what was left behind after the next save."""
    rng, lost, left, outcomes, rubbish = random.Random(seed), [], [], {"old": 0, "new": 0}, 0
    make(1).save(folder)
    for i in range(n):
        former, marker = marker_of(cf.load(folder)), 10 * (i + 1)
        killed(folder, marker, seconds=0.0002 * 400 ** rng.random())  # 0.2 to 80 ms, as often below 4 as above
        try:
            now = marker_of(cf.load(folder))
        except (cf.CofactorError, ValueError) as error:
            lost.append(str(error))
            continue
        if now not in (former, marker, marker + 1):
            lost.append(f"{now} is neither {former} nor {marker}")
        outcomes["old" if now == former else "new"] += 1
        rubbish += len(list(folder.iterdir())) > 4
        if i % 10 == 9:
            make(marker + 2).save(folder)
            left += [p.name for p in folder.iterdir()][4:] + [p.name for p in folder.parent.iterdir()][1:]
    return {"kills": n, "lost": lost, **outcomes, "left something behind": rubbish, "left after the next save": left}


def main(folder: str, loads: str = "10000", n_kills: str = "200") -> None:
    """All of it, at full length."""
    where = Path(folder)
    where.mkdir()
    for savers in (1, 2):
        began = time.perf_counter()
        told = together(where / "together", savers=savers, loaders=4, loads=int(loads) // 4)
        print(f"{savers} saving, 4 loading:", told, f"{time.perf_counter() - began:.0f} s")
    (where / "kills").mkdir()
    print("killed:", kills(where / "kills" / "model", int(n_kills)))


if __name__ == "__main__":
    main(*sys.argv[1:])
