"""Reading beside the event loop: shared looks, errors, and a database that hangs."""

import asyncio
import threading
import time

import pytest

from cofactor.serve.events import check_event
from cofactor.serve.request_error import RequestError
from cofactor.serve.store import open_store
from cofactor.serve.store_reader import StoreReader
from cofactor.serve.trained import NEVER, Trained


@pytest.fixture
def store(url):
    with open_store(url) as store:
        yield store


def test_what_users_did_and_what_is_out(store):
    store.append([check_event("ann", 1), check_event("bo", 2)])
    store.set_available({7: False})
    reader = StoreReader(store)

    async def ask():
        return await reader.read(["ann", "nobody", "bo"]), await reader.read(["ann"], Trained(stored=store.last()))

    known, trained = asyncio.run(ask())
    assert [[event.item for event in history] for history in known.histories] == [[1], [], [2]]
    assert known.stock.out == {7}
    assert trained.histories == [()]
    reader.close()


def test_ids_that_no_store_can_hold_are_of_nobody(store):
    reader = StoreReader(store)
    store.append([check_event("ann", 1)])
    hostile = ["\0", "\ud800", "", "x" * 2000, 2**70, -(2**63) - 1, "ann"]
    known = asyncio.run(_read(reader, hostile))
    assert [len(history) for history in known.histories] == [0, 0, 0, 0, 0, 0, 1]
    reader.close()


async def _read(reader, users=(), trained=NEVER):
    return await reader.read(users, trained)


class Hanging:
    """A store whose looks wait until they may go on."""

    def __init__(self):
        self.stock, self.looks, self.goes = "stock", 0, threading.Event()

    def refresh(self):
        self.looks += 1
        assert self.goes.wait(20)

    def history(self, user, trained):
        return (user,)


def test_requests_that_come_together_share_a_look_and_none_has_an_older_one():
    store = Hanging()
    store.goes.set()
    reader = StoreReader(store)

    async def ask():
        await asyncio.gather(*(reader.read([n]) for n in range(50)))
        first = store.looks
        store.goes.clear()
        one = reader.read([1])
        await asyncio.sleep(0.05)  # the look for it has begun
        two = reader.read([2])
        store.goes.set()
        await asyncio.gather(one, two)
        return first, store.looks

    assert asyncio.run(ask()) == (1, 3)
    reader.close()


def test_a_database_that_hangs_holds_up_nobody_else():
    store = Hanging()
    reader = StoreReader(store, patience=0.2)

    async def ask():
        begun = time.monotonic()
        waiting = asyncio.gather(reader.read(), reader.read([3]), return_exceptions=True)
        turns = 0
        while not waiting.done():
            await asyncio.sleep(0.001)
            turns += 1
        refused = await waiting
        at_once = time.monotonic()
        with pytest.raises(RequestError, match="does not answer"):
            await reader.read()
        now = time.monotonic()
        store.goes.set()
        while True:  # once it answers again, so does the reader
            try:
                return refused, turns, at_once - begun, now - at_once, await reader.read([5])
            except RequestError:
                await asyncio.sleep(0.01)

    refused, turns, waited, then, later = asyncio.run(ask())
    assert [(error.status, error.code) for error in refused] == [(503, "store_unavailable")] * 2
    assert turns > 20
    assert 0.15 < waited < 5
    assert then < 0.1
    assert later.histories == [(5,)]
    reader.close()


def test_a_request_whose_client_went_away_leaves_the_others(store):
    reader = StoreReader(store)

    async def ask():
        gone, there = reader.read(["ann"]), reader.read(["ann"])
        gone.cancel()
        return (await there).histories

    assert asyncio.run(ask()) == [()]
    reader.close()
