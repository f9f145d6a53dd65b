"""The state of a fit between two iterations, in a folder: what a driver that died goes on from."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import polars as pl

from cofactor.cluster.sketch import alike, digest
from cofactor.cluster.storage import delete, exists, join, read_array, read_json, write_array, write_json
from cofactor.errors import ArtifactError, ParameterError
from cofactor.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from cofactor.cluster.shards import Description
    from cofactor.cluster.sketch import Block

__all__ = ["Checkpoint", "fingerprint"]

_HEADER, _FORMAT = "checkpoint.json", 2
_PIECE = 1 << 20  # ids


def fingerprint(of: Description, *counts: NDArray[np.int64]) -> str:
    """The SHA-256 of the ids, their numbers of events, the newest event and the weight: what is known before rows are.

    :meth:`Checkpoint.of_rows` looks at the pairs and their weights.
    """
    told = hashlib.sha256(repr((of.facts, str(of.weight))).encode())
    for ids in (of.users.ids, of.items.ids):
        for at in range(0, len(ids), _PIECE):
            part = ids.slice(at, _PIECE)
            text = part.bin.encode("hex") if part.dtype == pl.Binary else part.cast(pl.String)
            told.update("\0".join(text.to_list()).encode())
    for numbers in counts:
        told.update(np.ascontiguousarray(numbers).data)
    return told.hexdigest()


@dataclass(frozen=True)
class Checkpoint:
    """A folder for the state of one fit.

    Parameters
    ----------
    folder : str
        A path, or an address for fsspec.
    data : str
        Fingerprint of the data.
    params : mapping
        Of the model, those that its vectors depend on.
    rows : sequence of Block
        What tells the rows of the data from others.
    """

    folder: str
    data: str
    params: Mapping[str, Any]
    rows: Sequence[Block] = ()

    def read(self) -> dict[str, Any] | None:
        """What was kept last, None where there is nothing.

        Raises
        ------
        ArtifactError
            It is damaged or of another version.
        ParameterError
            It is of other data or parameters.
        """
        path = join(self.folder, _HEADER)
        if not exists(path):
            return None
        header = read_json(path)
        if header.get("format") != _FORMAT:
            raise ArtifactError(f"{path} has format {header.get('format')!r}, this cofactor reads {_FORMAT}; delete it")
        for name, told in (("files", dict), ("settled", dict), ("losses", list), ("params", dict), ("rows", dict)):
            if not isinstance(header.get(name), told):
                raise ArtifactError(f"{path} is damaged: {name} is {header.get(name)!r}; delete it")
        if header.get("data") != self.data:
            raise self._other("another log, or weight")
        for name, value in self.params.items():
            if header["params"].get(name) != value:
                raise ParameterError(
                    f"checkpoint={self.folder!r} is of a fit with {name}={header['params'].get(name)!r}, not "
                    f"{value!r}; give another folder, or delete it"
                )
        return header

    def of_rows(self, rows: Sequence[Block], header: Mapping[str, Any] | None) -> Checkpoint:
        """A checkpoint of these rows.

        Raises
        ------
        ParameterError
            What was kept last is of other pairs or weights.
        """
        if header is not None and header["rows"].get("pairs") != digest(rows):
            raise self._other("other pairs of users and items")
        if header is not None and not alike(rows, header["rows"].get("weights")):
            raise self._other("the same pairs with other weights")
        return replace(self, rows=rows)

    def _other(self, how: str) -> ParameterError:
        return ParameterError(f"checkpoint={self.folder!r} is of other data ({how}); give another folder, or delete it")

    def names(self) -> dict[str, str]:
        """New paths for the arrays of a state."""
        version = uuid4().hex[:16]
        return {kind: join(self.folder, f"{kind}-{version}.npy") for kind in ("users", "items", "axes", "gramian")}

    def array(self, header: Mapping[str, Any], kind: str) -> str:
        """The path of an array that a header names."""
        return join(self.folder, str(header["files"][kind]))

    def small(self, header: Mapping[str, Any], kind: str) -> NDArray[np.float32]:
        """An array of the state that the driver reads."""
        return read_array(self.array(header, kind))

    def put(
        self,
        names: Mapping[str, str],
        axes: NDArray[np.float32] | None,
        gramian: NDArray[np.float32],
        settled: Mapping[str, Any],
        losses: list[float],
    ) -> None:
        """Name arrays that workers have written as the state, in one step, and delete those before."""
        for kind in ("users", "items"):
            if not exists(names[kind]):
                raise ArtifactError(
                    f"checkpoint={self.folder!r}: a worker wrote {names[kind]}, but the driver does not see it; give a "
                    "folder that all nodes share"
                )
        write_array(names["axes"], np.zeros((0, 0), np.float32) if axes is None else axes)
        write_array(names["gramian"], gramian)
        path = join(self.folder, _HEADER)
        with self._former_deleted(path):
            write_json(
                path,
                {
                    "format": _FORMAT,
                    "cofactor": __version__,
                    "data": self.data,
                    "params": dict(self.params),
                    "rows": {"pairs": digest(self.rows), "weights": [list(row.weights) for row in self.rows]},
                    "settled": dict(settled),
                    "losses": losses,
                    "files": {kind: name.rpartition("/")[2].rpartition("\\")[2] for kind, name in names.items()},
                },
            )

    def end(self) -> None:
        """Delete it: the fit is done."""
        path = join(self.folder, _HEADER)
        with self._former_deleted(path):
            delete(path)

    @contextmanager
    def _former_deleted(self, path: str) -> Iterator[None]:
        """Delete the arrays that a header named before the block, once it names others or is gone."""
        former = read_json(path).get("files", {}) if exists(path) else {}
        yield
        for name in former.values():
            delete(join(self.folder, str(name)))
