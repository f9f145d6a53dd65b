"""Batches of pairs of row numbers, in a random order, with negatives: what gradient descent is fed with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from cofactor.checks import check_at_least, check_choice, check_flag, check_type, shown
from cofactor.data.interactions import Interactions
from cofactor.data.pair_negatives import Negatives, Sampler
from cofactor.data.pair_sources import BLOCK, Columns, PairSource, open_pairs
from cofactor.data.session_pairs import Pairs
from cofactor.data.torch_batches import as_dataset, as_tensors
from cofactor.errors import ParameterError
from cofactor.kernels import on
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["PairLoader"]

_AHEAD = 1 << 18  # pairs that are gathered at once: more than this is no faster, and small batches share the call


class PairLoader:
    """Batches of pairs of row numbers, in a new random order at every pass.

    Every ``for`` over it is a pass over all pairs, an epoch; each batch is a tuple with an array for every column. With
    ``negatives`` it is (users, items, negatives): beside every pair items for its user, (n, negatives) int32.

    In memory the order is a random permutation of all pairs. It is computed, not stored (a Feistel network keyed by
    seed and epoch), so that a pass takes no memory but the batches', and may begin anywhere. Files that have more rows
    than ``buffer_size`` are read in blocks of 262,144 rows, at every pass: blocks in random order, as many at a time as
    the buffer holds, and a random permutation of all pairs in it. So every place of the epoch is as likely for every
    pair, but pairs that are near each other in the file come within one buffer; what is ordered in the file (by time,
    by user) is mixed the better the more blocks the buffer holds. Row groups much larger than a block are read slowly.

    Parameters
    ----------
    source : arrays, mapping, table, Pairs, Interactions, or path(s)
        Arrays (n,) int32 or int64 of one length, an (n, 2) array, or columns by name: they are used where they are, and
        not copied. Interactions give the rows of users and items of all entries. Parquet files by path, glob, folder or
        list of these. Row numbers are 0 or more; a column ``weight`` of float32 may stand beside them. What
        ``Sessions.pairs`` gives is taken as it is.
    batch_size : int
        Pairs in a batch; the last of a pass may have fewer.
    columns : sequence of str, optional
        The columns to give, in their order; all of them unless told. Plain arrays are named by it.
    shuffle : bool
        False for the order of the source.
    drop_last : bool
        Leave out a last batch that is not full.
    seed : int
        The order of a pass follows from it and the number of the pass, whatever the number of threads.
    negatives : int
        Items drawn for each pair, new ones at every pass; they follow from the seed as the order does. The two columns
        are then rows of users and of items.
    sampler : {"exact", "uniform", "popularity"}
        What negatives are: items that the user has no entry with, each as likely; any item, unchecked, which is faster;
        or the former, as likely as their number of users says. A user with an entry for every item gets -1.
    interactions : Interactions, optional
        What users have seen; needed for negatives where the source is not itself Interactions.
    buffer_size : int
        Pairs of files that are in memory at a time, 262,144 at least. Files with no more are read once.
    tensors : bool
        Give tensors of PyTorch that share the arrays' memory. The loader is then an ``IterableDataset`` too:
        ``torch.utils.data.DataLoader(loader, batch_size=None, num_workers=...)``. Each worker computes every so many-th
        batch; the order then follows from torch's seed as well. Workers that read large files need
        ``multiprocessing_context="spawn"``, and each reads all of them: without workers is faster.
    threads : int, optional

    Attributes
    ----------
    columns : tuple of str
    epoch : int
        Number of the next pass, from 0; each pass that begins adds 1.

    Raises
    ------
    ParameterError
        A parameter is out of its range, or the source is of no known kind.
    DataError
        There are no pairs, columns differ in length, are no integers, missing, null or negative, or a file cannot be
        read or has changed since the loader was made.
    MissingExtraError
        ``tensors`` without PyTorch.

    Examples
    --------
    >>> import numpy as np
    >>> loader = PairLoader((np.arange(5), np.arange(5) * 10), batch_size=3)
    >>> [[batch.tolist() for batch in pair] for pair in loader]
    [[[0, 2, 1], [0, 20, 10]], [[4, 3], [40, 30]]]
    """

    def __init__(
        self,
        source: Any,  # noqa: ANN401
        batch_size: int = 65_536,
        *,
        columns: Sequence[str] | None = None,
        shuffle: bool = True,
        drop_last: bool = False,
        seed: int = 0,
        negatives: int = 0,
        sampler: Sampler = "exact",
        interactions: Interactions | None = None,
        buffer_size: int = 1 << 24,
        tensors: bool = False,
        threads: int | None = None,
    ) -> None:
        check_at_least("batch_size", batch_size, 1, whole=True)
        check_at_least("seed", seed, 0, whole=True)
        check_at_least("negatives", negatives, 0, whole=True)
        check_at_least("buffer_size", buffer_size, BLOCK, whole=True)
        check_choice("sampler", sampler, get_args(Sampler))
        for name, flag in (("shuffle", shuffle), ("drop_last", drop_last), ("tensors", tensors)):
            check_flag(name, flag)
        if columns is not None:
            check_type("columns", columns, list | tuple, "a list of names, or None")
            if len(set(map(str, columns))) < len(columns):
                raise ParameterError(f"columns={shown(columns)}; name each column once")
        if negatives and isinstance(source, Pairs):
            raise ParameterError(
                "negatives are drawn for users, and source has pairs of items; ItemPairsMF.fit(..., pairs=) draws those"
            )
        resolve_threads(threads)
        self.batch_size, self.shuffle, self.drop_last, self.seed = int(batch_size), shuffle, drop_last, int(seed)
        self.buffer_size, self.tensors, self.threads = int(buffer_size), tensors, threads
        self._pairs = open_pairs(source, columns, self.buffer_size)
        self.columns = self._pairs.names
        self.n_pairs = self._pairs.n
        if interactions is not None and not negatives:
            raise ParameterError("interactions= say what negatives users have not seen; ask for some by negatives=")
        known = source if interactions is None and isinstance(source, Interactions) else interactions
        self._negatives = None if not negatives else Negatives(known, negatives, sampler, self.columns, threads)
        self.negatives, self.sampler = int(negatives), sampler
        self.epoch = 0
        self._first = 0  # the batch that the next pass begins with
        self._at = (0, 0)  # epoch and batch that come next in the present pass
        if not len(self):
            raise ParameterError(
                f"batch_size={batch_size} with drop_last=True leaves no batch of {self.n_pairs:,} pairs; make it "
                "smaller"
            )
        if tensors:
            as_dataset(self)

    def __len__(self) -> int:
        """Batches in a pass."""
        return self.n_pairs // self.batch_size if self.drop_last else -(-self.n_pairs // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        """Begin the next pass."""
        epoch, first = self.epoch, self._first
        self.epoch, self._first = epoch + 1, 0
        self._at = (epoch, first)
        return self._batches(epoch, first)

    def state(self) -> dict[str, int | bool]:
        """What :meth:`restore` needs to go on after the last batch that was given: numbers that JSON can hold.

        Of loaders whose batches come from workers of torch it is the state before the pass.
        """
        epoch, batch = self._at if self._at[1] < len(self) else (self._at[0] + 1, 0)
        return {"epoch": epoch, "batch": batch} | self._identity()

    def restore(self, state: dict[str, int | bool]) -> None:
        """Let the next pass go on where a loader of the same pairs and parameters was.

        Raises
        ------
        ParameterError
            It is the state of a loader with other pairs or parameters.
        """
        check_type("state", state, dict, "what state() gives")
        wanted = {"epoch", "batch", *self._identity()}
        if state.keys() != wanted or not all(isinstance(value, int) for value in state.values()):
            raise ParameterError(
                f"state must be what state() gives, with {', '.join(sorted(wanted))}; got {shown(state)}"
            )
        for name, value in self._identity().items():
            if state[name] != value:
                raise ParameterError(
                    f"state: {name} was {state[name]} there and is {value} here; make the loader alike"
                )
        if state["epoch"] < 0 or not 0 <= state["batch"] < len(self):
            raise ParameterError(f"state: there is no batch {state['batch']} in epoch {state['epoch']}")
        self.epoch, self._first = state["epoch"], state["batch"]
        self._at = (self.epoch, self._first)

    def __repr__(self) -> str:
        names = ", ".join(self.columns)
        return f"PairLoader({self.n_pairs:,} pairs of {names} in {len(self):,} batches of {self.batch_size:,})"

    def _identity(self) -> dict[str, int | bool]:
        """What a place in a pass is true for."""
        return {
            "pairs": self.n_pairs,
            "batch_size": self.batch_size,
            "shuffle": bool(self.shuffle),
            "seed": self.seed,
            "buffer_size": self.buffer_size,
            "negatives": self.negatives,
        }

    def _share(self) -> tuple[int, int, tuple[int, ...]]:
        """Which of how many workers this is, and what they agreed on for the pass."""
        return 0, 1, ()

    def _batches(self, epoch: int, first: int) -> Iterator[Any]:
        worker, n_workers, agreed = self._share()
        key = (self.seed, epoch, *agreed)
        order = _Pass(self._pairs, key, shuffle=self.shuffle, threads=self.threads)
        size, last = self.batch_size, len(self)
        run = max(1, _AHEAD // size) if n_workers == 1 else 1
        for batch in range(first + worker * run, last, run * n_workers):
            begin, end = batch * size, min((batch + run) * size, last * size, self.n_pairs)
            columns = order.read(begin, end)
            if self._negatives is not None:
                columns = (*columns, self._negatives.draw(columns, derived_seed(*key, 1), begin))
            for at in range(0, end - begin, size):
                self._at = (epoch, batch + at // size + 1)
                given = tuple(column[at : at + size] for column in columns)
                yield as_tensors(given) if self.tensors else given


class _Pass:
    """One pass over all pairs: a place in its order is (a group of pairs, a place in the group's permutation)."""

    def __init__(self, pairs: PairSource, key: tuple[int, ...], *, shuffle: bool, threads: int | None) -> None:
        self.key, self.shuffle, self.threads = key, shuffle, threads
        self.kernels = on("cpu")
        self.types = pairs.types
        self.groups = pairs.groups(lambda n: self._rows(n, 0, n, 0))
        self.starts = np.concatenate([[0], np.cumsum([group.size for group in self.groups])])
        self.held: tuple[int, Columns] = (-1, ())

    def read(self, begin: int, end: int) -> Columns:
        """The pairs of places ``begin`` to ``end``, by column, in arrays of their own."""
        out = tuple(np.empty(end - begin, of) for of in self.types)
        at = begin
        while at < end:
            group = int(np.searchsorted(self.starts, at, side="right")) - 1
            start, stop = int(self.starts[group]), min(end, int(self.starts[group + 1]))
            rows = self._rows(self.groups[group].size, at - start, stop - start, 2 + group)
            for column, values in zip(out, self._load(group), strict=True):
                self.kernels.gather(values, rows, out=column[at - begin : stop - begin], threads=self.threads)
            at = stop
        return out

    def _rows(self, n: int, begin: int, end: int, what: int) -> NDArray[np.int64]:
        if not self.shuffle:
            return np.arange(begin, end)
        return self.kernels.permuted_rows(n, derived_seed(*self.key, what), begin, end, threads=self.threads)

    def _load(self, group: int) -> Columns:
        if self.held[0] != group:
            self.held = (-1, ())  # two groups at a time would be twice the memory
            self.held = (group, self.groups[group].load())
        return self.held[1]


def derived_seed(*key: int) -> int:
    """A seed of 64 bits that belongs to some numbers."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
