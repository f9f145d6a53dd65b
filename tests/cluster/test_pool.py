"""Workers that die are replaced; those that are busy are left alone."""

import os
import time

import cofactor.cluster.pool
from cofactor.cluster.pool import Pool, Worker


def test_a_busy_worker_is_not_taken_for_a_dead_one(cluster, kill, monkeypatch):
    import ray

    class Sleeper(Worker):
        def load(self):
            return True

        def nap(self, seconds):
            time.sleep(seconds)
            return os.getpid()

    monkeypatch.setattr(cofactor.cluster.pool, "_PING", 0.5)
    pool = Pool(Sleeper, 2, 1, lambda _: (1,))
    pool.start()
    try:
        before, busy = pool.all("process"), pool.handles[1]
        kill(pool, 0)
        napping, dead = busy.nap.remote(2), pool.handles[0]
        for _ in range(10):
            pool.mend()
            if pool.handles[0] is not dead:
                break
        assert pool.handles[1] is busy
        assert ray.get(napping) == before[1]
        assert set(pool.all("process")).isdisjoint(before[:1])
        assert dict(pool.deal([("nap", (0,)) for _ in range(5)])).keys() == set(range(5))
    finally:
        pool.end()
