"""How fast each library's training gets to a given loss: ``python benchmarks/als.py convergence``."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from _als_libraries import LIBRARIES, SOLVERS, Run, loss
from _measure import print_header, print_row, seconds_of

from cofactor.report.figures import BLUE, ORANGE, PALE, new_figure, plain_axes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    import cofactor as cf

REACHED = 1 + 1e-6  # a loss within this factor of another is equal to it: rounding of float32
LONGER = 2  # cofactor goes on for up to so many times the iterations to reach what a peer ended with
COLOURS = {"cofactor": BLUE, "implicit": ORANGE, "irspack": PALE}
STYLES = {"cg": "-", "cg2": "-.", "cg16": ".-", "cholesky": "--", "subspace": ":"}


class Curve(NamedTuple):
    """Of one library and solver: seconds of every iteration, and the loss after it."""

    run: Run
    seconds: list[float]
    losses: list[float]

    def advance(self, x: cf.Interactions, threads: int, *, measured: bool = True) -> None:
        self.seconds.append(seconds_of(self.run.step))
        self.losses.append(loss(x, *self.run.vectors(), threads) if measured else np.nan)

    def reaches(self, target: float) -> int | None:
        """Iterations until the loss is at most ``target``, None if it never is."""
        return next((i for i, value in enumerate(self.losses, 1) if value <= target * REACHED), None)


Curves = dict[tuple[str, str], Curve]


def run(x: cf.Interactions, args: argparse.Namespace) -> None:
    """Print the table, and draw the curves where ``args.plot`` says."""
    ours = [s for s in args.solvers if s in SOLVERS["cofactor"]]
    print_header(
        ["factors", "peer", "solver", f"loss after {args.iterations}", "its s"]
        + [f"cofactor {s}, s (iterations)" for s in ours]
        + ["best ratio"]
    )
    panels = {}
    for factors in args.factors:
        panels[factors] = race(x, factors, args)
        print_rows(factors, panels[factors])
    if args.plot:
        plot(panels).savefig(args.plot)


def race(x: cf.Interactions, factors: int, args: argparse.Namespace) -> Curves:
    """Train all in turn; then cofactor alone, until it has reached what every peer has."""
    curves = {
        (name, solver): Curve(LIBRARIES[name](x, factors, solver, args.threads), [], [])
        for name in ("cofactor", *args.peers)
        for solver in args.solvers
        if solver in SOLVERS[name]
    }
    for iteration in range(1, args.iterations + 1):
        for key, curve in list(curves.items()):
            last = iteration == args.iterations
            curve.advance(x, args.threads, measured=last or key[0] == "cofactor" or args.plot is not None)
            if key[0] != "cofactor" and curve.seconds[-1] > args.patience:
                print(f"<!-- {key[0]} {key[1]} is left out: {curve.seconds[-1]:.0f} s per iteration -->")
                del curves[key]
    targets = [curve.losses[-1] for (name, _), curve in curves.items() if name != "cofactor"]
    for curve in (curves["cofactor", solver] for solver in args.solvers):
        while len(curve.losses) < LONGER * args.iterations and any(curve.reaches(t) is None for t in targets):
            curve.advance(x, args.threads)
    return curves


def print_rows(factors: int, curves: Curves) -> None:
    """A row for each solver of a peer; the one that is through first is set in bold."""
    ours = [curve for (name, _), curve in curves.items() if name == "cofactor"]
    for (name, solver), curve in curves.items():
        if name == "cofactor":
            continue
        took = sum(curve.seconds)
        first = took == min(sum(c.seconds) for (n, _), c in curves.items() if n == name)
        steps = [c.reaches(curve.losses[-1]) for c in ours]
        needed = [None if n is None else sum(c.seconds[:n]) for c, n in zip(ours, steps, strict=True)]
        cells = ["-" if s is None else f"{s:.2f} ({n})" for s, n in zip(needed, steps, strict=True)]
        best = min((s for s in needed if s is not None), default=np.inf)
        label = f"**{solver}**" if first else solver
        print_row(factors, name, label, f"{curve.losses[-1]:.6g}", f"{took:.2f}", *cells, f"{took / best:.1f}")


def plot(panels: Mapping[int, Curves]) -> Any:
    """Loss above the best one seen, against seconds of training; a panel for each number of factors."""
    figure = new_figure(5.6 * len(panels), 4.2)
    for number, (factors, curves) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(1, len(panels), number)
        plain_axes(axes, "both")
        best = min(min(curve.losses) for curve in curves.values())
        ends: list[tuple[float, str, str]] = []
        values: list[float] = []
        for (name, solver), curve in curves.items():
            seconds, above = np.array(list(accumulate(curve.seconds))), np.array(curve.losses) / best - 1
            seconds, above = seconds[above > 0], above[above > 0]
            axes.plot(seconds, above, STYLES[solver], color=COLOURS[name], linewidth=2 if name == "cofactor" else 1.4)
            ends.append((seconds[-1], f"{name} {solver}", COLOURS[name]))
            values.extend(above)
        axes.set(xscale="log", yscale="log", xlabel="seconds of training", ylabel="loss above the best, relative")
        axes.set_title(f"{factors} factors")
        axes.set_ylim(bottom=min(values) * (min(values) / max(values)) ** 0.6)  # room for the names
        _name(axes, sorted(ends), min(values))
    return figure


def _name(axes: Any, ends: list[tuple[float, str, str]], lowest: float) -> None:
    """Write the names below the ends of the lines, from the first that ends, at least 11 points apart."""
    points, free = 72 / axes.figure.dpi, -np.inf
    for seconds, text, colour in ends:
        place = axes.transData.transform((seconds, lowest))[0] * points
        free = max(place, free + 11)
        offset, how = (free - place, -6), {"rotation": 90, "ha": "center", "va": "top", "fontsize": 8}
        axes.annotate(text, (seconds, lowest), offset, textcoords="offset points", color=colour, **how)
