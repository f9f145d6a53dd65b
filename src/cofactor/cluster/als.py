r"""ImplicitALS on a cluster: the loop of the driver.

Half an iteration solves the rows of one side: every worker its own, with the kernel of one machine. The vectors of
the other side lie in the object store of every node, in the parts in which workers publish them. The Gramians of the
blocks are added up in the order of the blocks, the principal axes follow, every worker turns its rows to them, and what
they publish is brought to every node. What a half starts from stays in the stores until it is done: a worker that dies
is replaced, and does its own part again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.checks import check_type
from cofactor.cluster.als_worker import Half, Solved
from cofactor.cluster.collect import collected, mapped
from cofactor.cluster.engine import nodes, require_ray
from cofactor.data.interactions import Interactions
from cofactor.errors import ParameterError
from cofactor.kernels import on
from cofactor.kernels.cpu.als import principal_axes
from cofactor.models.factors.als import ImplicitALS
from cofactor.models.factors.als_loss import check_loss
from cofactor.system.progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from cofactor.cluster.checkpoint import Checkpoint
    from cofactor.cluster.pool import Pool
    from cofactor.kernels.arrays import Float

__all__ = ["fit_als"]

_ONCE_MORE = 1 << 40  # added to the number of a half that is done again, exactly


@dataclass
class _Everywhere:
    """Rows in the object stores of nodes: references to their parts, by node. Under no name, those that are for all."""

    at: dict[str, list[Any]]

    def near(self, home: str, living: list[str]) -> list[Any]:
        """References for a node: its own, else those of a node that lives."""
        if home in self.at:
            return self.at[home]
        return next((refs for node, refs in self.at.items() if node in living), next(iter(self.at.values())))


@dataclass
class _State:
    """What the next half starts from."""

    fixed: _Everywhere
    gramian: Float
    before: _Everywhere | None = None
    start: Float | None = None


class _Halves:
    """Halves of iterations on a pool of workers."""

    def __init__(self, model: ImplicitALS, pool: Pool, n_vectors: int, state: _State, wire: str) -> None:
        self.model, self.pool, self.n_vectors, self.state, self.wire = model, pool, n_vectors, state, wire
        self.ray = require_ray()

    def solve(self, number: int, *, exactly: bool = False) -> tuple[float, float, Callable[[], list[Any]]]:
        """Solve a side; its loss, its part of the regularization, and what asks the workers for the same again."""
        model, state, pool = self.model, self.state, self.pool
        options = {**model._terms(), **model._options(self.n_vectors, exactly=exactly)}
        start = None if model._solver() == "cholesky" else state.start
        half = self.ray.put(Half(number, state.gramian, start, options))

        def ask() -> list[Any]:
            asked = []
            for i, (handle, home) in enumerate(zip(pool.handles, pool.homes, strict=True)):
                before = [] if start is None or state.before is None else state.before.near(home, pool.homes)
                mine = before[i if len(before) > 1 else 0] if before else None
                asked.append(handle.solve.remote(half, mine, *state.fixed.near(home, pool.homes)))
            return asked

        found: list[Solved] = pool.steadily(lambda: self.ray.get(ask()))
        failed = max(one.failed for one in found)
        loss = float(sum(one.loss for one in found))
        check_loss(loss, failed, "user" if number % 2 == 0 else "item", model._terms())
        self.square = _summed([gramian for one in found for gramian in one.gramians], len(state.gramian))
        penalty = float(sum(term for one in found for term in one.penalties))
        return loss, penalty, ask

    def publish(self, number: int, ask: Callable[[], list[Any]]) -> None:
        """Turn what was solved to its principal axes and put it on every node: the fixed side of the next half."""
        rotation, diagonal = principal_axes(self.square)
        check_loss(0.0 if rotation is not None else float("nan"), -1, "", self.model._terms())
        turn = self.ray.put(rotation)
        number_of = self.ray.put(number)

        def step() -> _Everywhere:
            solved = ask()  # those who have solved say so at once
            rows = self.pool.asked("publish", number_of, turn, self.wire)
            self.ray.get(solved)
            everywhere = _Everywhere({"": rows}) if self.wire == "float32" else self._widened(rows)
            leaders = self.pool.leaders().items()
            self.ray.get([self.pool.handles[i].hold.remote(number, *everywhere.near(home, [])) for home, i in leaders])
            return everywhere

        gathered = self.pool.steadily(step)
        self.state = _State(gathered, diagonal, before=self.state.fixed, start=rotation)

    def keep(self, checkpoint: Checkpoint, settled: dict[str, Any], losses: list[float]) -> None:
        """Write the state after an iteration: users are fixed, items are what the next half starts from."""
        assert self.state.before is not None
        sides = {"users": self.state.fixed, "items": self.state.before}

        def step() -> dict[str, str]:
            names = checkpoint.names()
            leader = next(iter(self.pool.leaders().values()))
            handle, home = self.pool.handles[leader], self.pool.homes[leader]
            self.ray.get(
                [handle.keep.remote(names[kind], *side.near(home, self.pool.homes)) for kind, side in sides.items()]
            )
            return names

        names = self.pool.steadily(step)
        checkpoint.put(names, self.state.start, self.state.gramian, settled, losses)

    def resume(self, checkpoint: Checkpoint, header: dict[str, Any]) -> None:
        """Take up what :meth:`keep` has written."""
        users, items = (
            self.pool.steadily(lambda kind=kind: self._read(checkpoint.array(header, kind)))  # type: ignore[misc]
            for kind in ("users", "items")
        )
        axes = checkpoint.small(header, "axes")
        self.state = _State(users, checkpoint.small(header, "gramian"), items, axes if axes.size else None)

    def _widened(self, rows: list[Any]) -> _Everywhere:
        """What travels in 16 bits as float32 in the store of every node, part by part."""
        parts = {
            home: self.pool.handles[i].widened.options(num_returns=len(rows)).remote(*rows)
            for home, i in self.pool.leaders().items()
        }
        return _Everywhere({home: refs if len(rows) > 1 else [refs] for home, refs in parts.items()})

    def _read(self, path: str) -> _Everywhere:
        pairs = {
            home: self.pool.handles[i].read.options(num_returns=2).remote(path)
            for home, i in self.pool.leaders().items()
        }
        self.ray.get([done for _, done in pairs.values()])
        return _Everywhere({home: [array] for home, (array, _) in pairs.items()})


def _summed(gramians: list[Float], factors: int) -> NDArray[np.float64]:
    total = np.zeros((factors, factors))
    for gramian in gramians:
        total += gramian
    return total


def fit_als(
    model: ImplicitALS,
    x: Any,  # noqa: ANN401
    *,
    progress: bool | None = None,
    warm_start: ImplicitALS | None = None,
    on_iteration: Callable[[int, float], object] | None = None,
) -> None:
    """Fit a model on ``ClusterInteractions``; the parameters are those of ``ImplicitALS.fit``."""
    ray = require_ray()
    model._check()
    check_type("warm_start", warm_start, ImplicitALS | None, "a fitted ImplicitALS, or None")
    if model.device != "cpu":
        raise ParameterError(f"device={model.device!r}: the workers of a cluster compute on the CPU; give device='cpu'")
    checkpoint = x.kept(model)
    header = None if checkpoint is None else checkpoint.read()
    if model.factors is not None:
        _check_stores(x.shape, model.factors, x.wire)  # before workers start and read
    pool = x.pool()
    if checkpoint is not None:
        checkpoint = checkpoint.of_rows(x.sketched(), header)
    if header is None:
        model._settle(x, warm_start)
    else:
        for name, value in header["settled"].items():
            setattr(model, f"{name}_", value)
    _check_stores(x.shape, model.factors_, x.wire)
    settled = {name: model._used(name) for name in ("factors", "regularization", "alpha", "unobserved_weight")}
    items = model._start(on("cpu"), x.items, warm_start)
    gramian = on("cpu").to_principal_axes(items)
    halves = _Halves(model, pool, sum(x.shape), _State(_Everywhere({"": [ray.put(items)]}), gramian), x.wire)
    del items
    losses: list[float] = [] if header is None else [float(loss) for loss in header["losses"]]
    with progress_bar("ImplicitALS", progress, total=model.iterations, initial=len(losses)) as bar:
        if header is None or checkpoint is None:
            halves.publish(0, halves.solve(0, exactly=warm_start is not None)[2])
        elif len(losses) >= model.iterations:
            raise ParameterError(
                f"iterations={model.iterations}: checkpoint={x.checkpoint!r} has {len(losses)} already; give more, or "
                "another folder"
            )
        else:
            halves.resume(checkpoint, header)
        for iteration in range(len(losses) + 1, model.iterations + 1):
            _, penalty, ask = halves.solve(2 * iteration - 1)
            halves.publish(2 * iteration - 1, ask)
            last = iteration == model.iterations
            loss, _, ask = halves.solve(2 * iteration, exactly=last)
            losses.append(loss + penalty)
            bar.set_postfix(loss=f"{losses[-1]:.6g}", refresh=False)
            bar.update()
            stop = None if on_iteration is None else on_iteration(iteration, losses[-1])
            if last:
                break
            if isinstance(stop, bool | np.bool_) and stop:
                ask = halves.solve(2 * iteration + _ONCE_MORE, exactly=True)[2]
                break
            halves.publish(2 * iteration, ask)
            if checkpoint is not None and iteration % x.every == 0:
                halves.keep(checkpoint, settled, losses)
    _collect(model, x, halves, ask)
    model.loss_history_ = np.array(losses)
    if checkpoint is not None:
        checkpoint.end()


def _check_stores(shape: tuple[int, int], factors: int, wire: str) -> None:
    """Raise ParameterError where a node's object store cannot hold the vectors of both sides, and new ones of one."""
    needed = 4 * factors * (sum(shape) + max(shape)) + (0 if wire == "float32" else 2 * factors * max(shape))
    for node in nodes():
        if node["threads"] and needed > node["object_store"]:
            raise ParameterError(
                f"factors={factors} of {shape[0]:,} users and {shape[1]:,} items take {needed / 2**30:,.2f} GiB in the "
                f"object store of every node; that of node {node['address']} has {node['object_store'] / 2**30:,.2f}: "
                "start it with a larger one (ray start --object-store-memory=BYTES), or take fewer factors"
            )


def _collect(model: ImplicitALS, x: Any, halves: _Halves, ask: Callable[[], list[Any]]) -> None:  # noqa: ANN401
    """Bring the model here: into files without a name, which are mapped, so that it need not fit into memory."""
    pool, ray = halves.pool, halves.ray
    here = mapped((x.shape[1], model.factors_), np.float32)
    at = 0
    for ref in halves.state.fixed.near("", pool.homes):
        part = ray.get(ref)
        here[at : at + len(part)] = part
        at += len(part)
    model.item_factors_ = here

    def rows() -> Float:
        ray.get(ask())
        return collected(pool, "solved", sizes=x.sizes(0), width=model.factors_)

    model.user_factors_ = pool.steadily(rows)
    model.interactions_ = Interactions(x.users, x.items, x.matrix())
