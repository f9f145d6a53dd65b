"""Requests to an application without a server in between."""

import asyncio
import json


def call(app, method, path, body=b"", *, query="", headers=(), pieces=None):
    """Status, headers and body; ``pieces`` of a body come one after the other, None is a client that goes."""
    sent, left = [], list(pieces) if pieces is not None else [body]
    scope = {"type": "http", "method": method, "path": path, "headers": list(headers), "query_string": query.encode()}

    async def receive():
        if not left:
            await asyncio.sleep(60)
        piece = left.pop(0)
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": pieces is not None and bool(left)}

    async def send(message):
        sent.append(message)

    async def whole():
        await app(scope, receive, send)

    asyncio.run(whole())
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(message.get("body", b"") for message in sent[1:])


def ask(app, path, body=None, *, method=None, query=""):
    """Status and JSON of an answer."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    status, _, told = call(app, method or ("GET" if body is None else "POST"), path, data, query=query)
    return status, json.loads(told)
