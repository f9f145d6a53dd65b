"""What ALS on a cluster takes: formulas, and a simulation of the exchange that they are held against."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from _measure import print_header, print_row

FLOPS = 70e9  # a thread's float32 operations a second in large products, of the machine that was measured
GATHER = 3.7e9  # a thread's bytes a second of rows in 16 bits that conjugate gradient reads, all its work included
STEP = 0.02  # seconds of a half that no size changes: calls, Gramians to the driver, eigenvectors


@dataclass(frozen=True)
class Case:
    """A log and a cluster: ``bandwidth`` in bytes a second of each node, both ways at once."""

    users: float
    items: float
    pairs: float
    factors: int
    nodes: int
    threads: int = 32
    bandwidth: float = 25e9 / 8
    wire: int = 4  # bytes of a number that travels


def memory(c: Case) -> float:
    """Bytes of a node: its part of both matrices, both sides, the longer one as it arrives anew, its own rows of it."""
    vectors, longer = 4 * c.factors * (c.users + c.items), 4 * c.factors * max(c.users, c.items)
    narrow = 0 if c.wire == 4 else c.wire * c.factors * max(c.users, c.items)
    return 2 * 8 * c.pairs / c.nodes + vectors + longer + narrow + longer / c.nodes


def network(c: Case) -> float:
    """Bytes that a node takes in an iteration: all rows of both sides but its own."""
    return c.wire * c.factors * (c.users + c.items) * (c.nodes - 1) / c.nodes


def compute(c: Case, *, exact: bool = False) -> float:
    """Seconds of an iteration without the network."""
    rows, workers = c.users + c.items, c.nodes * c.threads
    rotate = 2 * 2 * c.factors**2 * rows / FLOPS
    if exact:
        work = (2 * c.pairs * c.factors**2 + rows * c.factors**3 / 3) / FLOPS
    else:
        work = 2 * c.pairs * 2 * c.factors / GATHER
    return (work + rotate) / workers + 2 * STEP


def seconds(c: Case, *, exact: bool = False) -> float:
    """An iteration: each half waits for the rows of the other side, then computes."""
    return compute(c, exact=exact) + network(c) / c.bandwidth


def simulated(c: Case, chunk: float = 64e6) -> float:
    """The exchange of one iteration, chunk by chunk: every node sends its rows to all others, in turn.

    In step s node i takes rows from node i + s, as far as the links on both ends are free; nobody has more than one
    coming in and one going out.
    """
    total = 0.0
    for rows in (c.users, c.items):
        part = c.wire * c.factors * rows / c.nodes
        into, out = [0.0] * c.nodes, [0.0] * c.nodes
        for step in range(1, c.nodes):
            left = part
            while left > 0:
                size = min(chunk, left)
                left -= size
                for i in range(c.nodes):
                    other = (i + step) % c.nodes
                    begin = max(into[i], out[other])
                    into[i] = out[other] = begin + size / c.bandwidth
        total += max(into)
    return total


CASES = {
    "1 B": [Case(100e6, 10e6, 1e9, 128, n) for n in (4, 16, 64)],
    "10 B": [Case(300e6, 20e6, 10e9, 128, n) for n in (16, 64, 256)],
    "100 B": [Case(1e9, 50e6, 100e9, 128, n) for n in (64, 256, 1024)],
}


def plan(_: Any) -> None:
    """The table of docs/decisions/0022."""
    names = ["pairs", "users", "items", "nodes", "GiB a node", "GB in an iteration", "compute s", "network s", "s"]
    print_header([*names, "simulated network s", "s in 16 bits"])
    for name, cases in CASES.items():
        for c in cases:
            wire = network(c) / c.bandwidth
            shown = f"{simulated(c, 512e6):.0f}" if c.nodes <= 64 else "-"
            print_row(
                name, f"{c.users / 1e6:.0f} M", f"{c.items / 1e6:.0f} M", c.nodes, f"{memory(c) / 2**30:.0f}",
                f"{network(c) / 1e9:.0f}", f"{compute(c):.1f}", f"{wire:.0f}", f"{seconds(c):.0f}", shown,
                f"{seconds(replace(c, wire=2)):.0f}",
            )  # fmt: skip
