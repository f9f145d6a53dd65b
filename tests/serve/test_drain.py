"""The end of a service: requests under way are answered, what they brought is stored, and nothing is left behind."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import uvicorn

import cofactor as cf
from cofactor.serve.server import _Server
from cofactor.serve.store import open_store


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="processes do not share a socket on Windows")
def test_a_request_under_way_is_answered_before_the_end(tmp_path):
    table = {"user_id": np.arange(20), "item_id": np.arange(20) % 7}
    cf.Popular().fit(cf.Interactions.from_frame(table)).save(tmp_path / "shop")
    (tmp_path / "tmp").mkdir()
    options = ["--store", tmp_path / "events.db", "--workers", "2", "--port", "0"]
    command = [sys.executable, "-c", "from cofactor.cli import main; main()", "serve", tmp_path / "shop", *options]
    environment = os.environ | {"TMPDIR": str(tmp_path / "tmp")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as server:
        port = int(server.stdout.readline().rpartition(":")[2])
        body = json.dumps({"events": [{"user": 3, "item": n} for n in range(5)]}).encode()
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        client.request("GET", "/health/ready")
        assert client.getresponse().read()
        client.putrequest("POST", "/events")
        client.putheader("Content-Length", str(len(body)))
        client.endheaders(body[:20])
        time.sleep(0.3)
        server.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        client.send(body[20:])
        assert client.getresponse().read() == b'{"accepted":5}'
        client.close()
        assert server.wait(60) in (0, -signal.SIGTERM), server.stderr.read()
        server.stdout.read()
        server.stderr.read()
    with open_store(tmp_path / "events.db") as store:
        assert len(store.history(3)) == 5
    assert not list((tmp_path / "tmp").iterdir())


def test_a_signal_that_comes_before_the_server_listens_to_it_ends_it_too():
    async def app(scope, receive, send):
        raise AssertionError("nobody asks")

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    config = uvicorn.Config(app, port=0, lifespan="off", log_config=None)
    server = _Server(config)
    timer = threading.Timer(5, lambda: setattr(server, "should_exit", True))
    timer.start()
    try:
        signal.raise_signal(signal.SIGTERM)
        server.run()
        assert server.started
        assert not server.should_exit  # it was not the timer
    finally:
        timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
