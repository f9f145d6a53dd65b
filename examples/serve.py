"""Groceries from training to a service: two models, a table of products, and what a client asks.

    pip install 'cofactor[demo,serve]'
    python examples/serve.py                  # trains, serves, asks, and leaves the page on until Ctrl-C
    python examples/serve.py --out shop --households 300 --no-page

Two models are saved, implicit ALS and what is popular, with a table of the products beside them; then the command
``cofactor serve`` runs as it would on a server, and this script is its client: lists for a household that the training
knows, and for a basket that nobody ever had; only what is allowed; why; an event that counts at once; an item that is
out of stock; and a newly trained model that takes over without a request lost.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import polars as pl

import cofactor as cf

if TYPE_CHECKING:
    from collections.abc import Iterator

ALS = {"factors": 64, "alpha": 1.0, "regularization": 0.002, "regularization_exponent": 1.0, "iterations": 8, "seed": 0}
STAPLES = ("Bananas", "Fluid milk")


def main() -> dict[str, Any]:
    """Train, serve, ask; gives what was answered."""
    chosen = _arguments()
    products = train(chosen.out, chosen.households)
    found: dict[str, Any] = {}
    with served(chosen.out, chosen.port) as address:
        found = ask(address, products, chosen.out)
        if chosen.page:
            print(f"\nThe page is at {address} and the interface at {address}/docs; Ctrl-C ends both.")
            try:
                while True:
                    time.sleep(1)
            except KeyboardInterrupt:
                print()
    return found


def train(out: Path, households: int | None) -> pl.DataFrame:
    """Save two models and the table of products; gives the table."""
    products = cf.datasets.grocery_products().filter(pl.col("department") != "FUEL")
    bought = cf.datasets.completejourney().filter(pl.col("product_id").is_in(products["product_id"].implode()))
    if households is not None:
        bought = bought.filter(pl.col("household_id") <= households)
    x = bought.interactions(pl.len())
    print(f"{x.n_users:,} households, {x.n_items:,} products")
    cf.ImplicitALS(**ALS).fit(x).save(out / "als")
    cf.Popular().fit(x).save(out / "popular")
    products = products.rename({"product_id": "item_id"}).filter(pl.col("item_id").is_in(x.items.ids.implode()))
    products.write_parquet(out / "products.parquet")
    return products


@contextmanager
def served(out: Path, port: int) -> Iterator[str]:
    """The command ``cofactor serve`` in a process of its own; gives its address."""
    options = ["--items", out / "products.parquet", "--store", out / "events.db", "--port", port]
    program = [sys.executable, "-c", "from cofactor.cli import main; main()"]
    command = [*program, "serve", out / "als", out / "popular", *options]
    print("$ cofactor", *command[3:], flush=True)
    with subprocess.Popen(list(map(str, command))) as server:
        address = f"http://127.0.0.1:{port}"
        try:
            while not _is_ready(address):
                if server.poll() is not None:
                    raise SystemExit("the server did not start; see above")
                time.sleep(0.1)
            yield address
        finally:
            server.terminate()  # requests under way are answered first


def ask(address: str, products: pl.DataFrame, out: Path) -> dict[str, Any]:
    """Everything that a shop asks of such a service."""
    names = dict(products.select("item_id", pl.coalesce("name", pl.col("item_id").cast(pl.String))).iter_rows())
    found: dict[str, Any] = {}

    def call(method: str, path: str, body: object = None) -> dict[str, Any]:
        return _call(f"{address}{path}", method, body)

    def listed(title: str, **asked: object) -> list[int]:
        answer = call("POST", "/recommend", {"k": 5, **asked})
        (one,) = answer["lists"]
        print(f"\n{title} ({one['source']}, model {answer['model']['version']}, {answer['took_ms']:.1f} ms)")
        for item in one["items"]:
            print(f"  {item['score']:8.3f}  {names[item['item']]}")
        return [item["item"] for item in one["items"]]

    household = call("GET", "/users?q=1")["users"][0]
    found["known"] = listed(f"Household {household}", user=household)
    basket = [call("GET", f"/search?q={name.replace(' ', '+')}&k=1")["items"][0]["item"] for name in STAPLES]
    history = [{"item": item} for item in basket]
    found["basket"] = listed(f"A new basket of {' and '.join(names[item] for item in basket)}", history=history)
    found["filtered"] = listed("The same, produce only", history=history, filter="department = PRODUCE")
    found["popular"] = listed("What is popular", history=history, model="popular")

    why = call("POST", "/explain", {"history": history, "item": found["basket"][0], "k": 3})
    found["why"] = [one["item"] for one in why["because"]]
    print(f"\nWhy {names[found['basket'][0]]}? Because of {', '.join(names[item] for item in found['why'])}")

    call("POST", "/events", {"events": [{"user": household, "item": found["known"][0]}]})
    found["after"] = listed(f"Household {household}, who just bought {names[found['known'][0]]}", user=household)
    call("PUT", "/availability", {"out": found["after"][:1]})
    found["out"] = listed(f"{names[found['after'][0]]} is out of stock", user=household)
    call("PUT", "/availability", {"in": found["after"][:1]})

    before = call("GET", "/about")["models"][0]["version"]
    cf.ImplicitALS(**{**ALS, "seed": 1}).fit(cf.load(out / "als").interactions_).save(out / "als")  # tonight's model
    found["versions"] = [before, call("POST", "/reload")["model"]["version"]]
    found["versions"].append(call("POST", "/rollback")["model"]["version"])
    print(f"\nModel {before}, then {found['versions'][1]}, and back to {found['versions'][2]}")
    return found


def _is_ready(address: str) -> bool:
    try:
        return _call(f"{address}/health/ready")["status"] == "ready"
    except OSError:
        return False


def _call(url: str, method: str = "GET", body: object = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data, {"content-type": "application/json"}, method=method)  # our own server
    try:
        with urlopen(request, timeout=30) as answer:
            told: dict[str, Any] = json.load(answer)
    except HTTPError as error:
        if error.code == 503:
            raise
        raise SystemExit(f"{method} {url}: {error.code} {error.read().decode()}") from error
    return told


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("shop"), help="folder of the models")
    parser.add_argument("--households", type=int, help="only the first so many, for a quick look")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--no-page", dest="page", action="store_false", help="end after the questions")
    return parser.parse_args()


if __name__ == "__main__":
    main()
