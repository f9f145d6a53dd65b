"""Real processes on a real socket: answers, swaps under load, workers that are killed, clients that are slow."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

import cofactor as cf
from cofactor.cli.serve import serve as command

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="workers share a socket")]

K, SWAPS, KILLS = 5, 6, 2
X = cf.datasets.synthetic(n_users=60, n_items=40, n_interactions=700, factors=4, seed=0)
MODELS = [cf.ImplicitALS(8, iterations=2, seed=seed).fit(X) for seed in (0, 1)]
LISTS = [
    {
        user: part["item_id"].to_list()
        for (user,), part in model.recommend(k=K).partition_by("user_id", as_dict=True).items()
    }
    for model in MODELS
]
USERS = sorted(LISTS[0])


class Server:
    def __init__(self, folder, *options):
        self.folder = folder / "shop"
        MODELS[0].save(self.folder)
        words = ["serve", str(self.folder), "--port", "0", *options]
        start = "from cofactor.cli import main; main()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", start, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])
        until(lambda: self.ask("GET", "/health/ready")[0] == 200)

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException) as error:
            return 0, error
        finally:
            connection.close()

    def workers(self):
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.communicate(timeout=30)


def until(true, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


class Load(threading.Thread):
    """Asks for lists, one connection after the other, and keeps what came."""

    def __init__(self, server):
        super().__init__()
        self.server, self.going, self.answers = server, True, []

    def run(self):
        at = 0
        while self.going:
            at += 1
            user = USERS[at % len(USERS)]
            self.answers.append((user, *self.server.ask("POST", "/recommend", {"user": user, "k": K})))

    def __exit__(self, *_):
        self.going = False
        self.join()

    def __enter__(self):
        self.start()
        return self


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    server = Server(folder, "--workers", "2", "--store", str(folder / "events.db"), "--threads", "1")
    yield server
    server.close()


def test_swaps_under_load_lose_no_request_and_mix_no_lists(server):
    """Every answer is wholly of the version that it names, in all workers."""
    versions = {server.ask("GET", "/health/ready")[1]["models"][0]["version"]: 0}
    with Load(server) as one, Load(server) as two:
        for turn in range(1, SWAPS + 1):
            MODELS[turn % 2].save(server.folder)
            status, told = server.ask("POST", "/reload", {})
            assert status == 200, told
            versions[told["model"]["version"]] = turn % 2
            assert server.ask("POST", "/rollback", {})[0] == 200
            assert server.ask("POST", "/rollback", {})[0] == 200
    answers = one.answers + two.answers
    assert Counter(status for _, status, _ in answers) == {200: len(answers)}
    for user, _, told in answers:
        wanted = LISTS[versions[told["model"]["version"]]].get(user, [])
        assert [item["item"] for item in told["lists"][0]["items"]] == wanted
    assert len(versions) == SWAPS + 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for the workers in /proc")
def test_a_killed_worker_takes_its_own_requests_with_it_and_no_event(server):
    stored = 0
    with Load(server) as one, Load(server) as two:
        for turn in range(KILLS):
            for item in range(4):
                status, told = server.ask("POST", "/events", {"events": [{"user": 1000 + turn, "item": item}]})
                stored += told["accepted"] if status == 200 else 0
            before = server.workers()
            os.kill(before[0], signal.SIGKILL)
            until(lambda gone=before[0]: gone not in server.workers() and len(server.workers()) == 2)
    failed = [told for _, status, told in one.answers + two.answers if status != 200]
    assert len(failed) <= 2 * KILLS  # of each of two connections no more than the one that it was waiting for
    assert all(isinstance(told, OSError | http.client.HTTPException) for told in failed)
    until(lambda: server.ask("GET", "/health/ready")[0] == 200)
    kept = sum(len(server.ask("GET", f"/user/{1000 + turn}")[1]["history"]) for turn in range(KILLS))
    assert kept >= stored


def test_counters_are_those_of_all_workers(server):
    def lists():
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return sum(float(line.split()[1]) for line in text.splitlines() if line.startswith("cofactor_lists_total"))

    before = lists()
    for _ in range(30):
        assert server.ask("POST", "/recommend", {"user": USERS[0]})[0] == 200
    assert lists() == before + 30


def exchanged(server, sent):
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        with suppress(OSError):  # it may have hung up by then
            sock.sendall(sent)
        got = b""
        with suppress(OSError):
            while part := sock.recv(1000):
                got += part
        return got


def test_slow_and_broken_clients_hold_up_nobody(server):
    held = []
    for sent in [b"POST /recommend HTTP/1.1\r\nHost: x\r\n", b"POST /recommend HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"]:
        for _ in range(20):
            held.append(socket.create_connection(("127.0.0.1", server.port)))
            held[-1].sendall(sent)
    for sent in [b"\x16\x03\x01\x02", b"GET\r\n\r\n", b"POST /recommend HTTP/1.1\r\nContent-Length: -1\r\n\r\n{}"]:
        head, _, body = exchanged(server, sent).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert json.loads(body)["error"]["code"] == "http"
    endless = exchanged(server, b"GET / HTTP/1.1\r\nX: " + b"a" * 200_000)
    assert endless.startswith(b"HTTP/1.1 431 ")
    assert b'"code":"headers_too_large"' in endless
    with socket.create_connection(("127.0.0.1", server.port)) as sock:  # hangs up before the answer
        sock.sendall(b'POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{"user":3}')
    assert server.ask("POST", "/recommend", {"user": USERS[0]})[0] == 200
    for sock in held:
        sock.close()


def test_ends_after_what_is_under_way(tmp_path):
    server = Server(tmp_path)
    with Load(server) as load:
        until(lambda: len(load.answers) > 5)
        _, err = server.close()
    assert server.process.returncode == 0, err
    assert "Traceback" not in err
    begun = [status for _, status, _ in load.answers]
    first_refused = begun.index(0) if 0 in begun else len(begun)
    assert set(begun[:first_refused]) == {200}
    assert set(begun[first_refused:]) <= {0}  # nobody listens any more
    assert all(json.loads(line)["level"] for line in err.splitlines())


def test_a_service_that_cannot_start_tells_why(tmp_path):
    start = "from cofactor.cli import main; main()"
    for options, told in [
        ([str(tmp_path / "none")], "none"),
        ([str(tmp_path / "none"), "--workers", "2"], "none"),
        (["current=/x"], "current"),
    ]:
        done = subprocess.run(
            [sys.executable, "-c", start, "serve", *options, "--port", "0"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1
        assert told in done.stderr
        assert "Traceback" not in done.stderr


def test_the_command_has_an_option_for_every_setting():
    from cofactor.serve.settings import Settings

    names = {name for name in Settings.__struct_fields__ if name != "shared"}
    options = {"limits" if name == "limit" else name for name in command.__annotations__}
    assert names <= options
