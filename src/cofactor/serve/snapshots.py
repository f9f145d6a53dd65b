"""Copies of saved models that nobody writes to: what becomes of the folders they were copied from does not matter.

A served model is mapped from its files. Whoever copies a new model over the old files in place would tear numbers out
from under the server; and a worker that starts later must find the version that the others serve.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from cofactor.errors import CofactorError
from cofactor.models.base.saved import MODEL
from cofactor.serve.request_error import RequestError
from cofactor.serve.temporary import hold, made_folder
from cofactor.system.folders import locked
from cofactor.system.saved_folder import as_json

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["Snapshot", "Snapshots", "not_loaded", "stamp", "version_of"]

_PREFIX = "cofactor-versions-"
_STATE = "state.json"


class Snapshot(NamedTuple):
    """A copy of a saved model.

    Attributes
    ----------
    version : str
        See :func:`version_of`.
    folder : Path
    """

    version: str
    folder: Path


def version_of(header: dict[str, Any]) -> str:
    """12 hexadecimal digits of what a saved model says of itself, the digests of its files among it."""
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()[:12]


class Snapshots:
    """A folder of copies that the processes of one server share, and what they agree on.

    Parameters
    ----------
    root : path, optional
        Made by the process that starts the others. Without it a temporary folder that goes with :meth:`close`; those of
        servers that died are removed then too.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self._own = root is None
        self.root = made_folder(_PREFIX) if root is None else Path(root)
        self._alive = hold(self.root)

    def take(self, folder: str | Path) -> Snapshot:
        """Copy what is saved in a folder now, unless there is a copy of it.

        Raises
        ------
        ArtifactError
            It is no saved model, or incomplete. Whether it is damaged is seen when it is loaded.
        OSError
            There is no room for it.
        """
        beside = self.root / f".{uuid4().hex}"
        with MODEL.opened(folder, verify=False) as (header, files):
            version, names = version_of(header), MODEL.file_names(header)
            copy = self.root / version
            if copy.is_dir():
                return Snapshot(version, copy)
            failed: OSError | None = None
            try:
                beside.mkdir()
                for kind, file in files.items():
                    with (beside / names[kind]).open("xb") as target:
                        shutil.copyfileobj(file, target, 1 << 20)
                (beside / MODEL.header).write_text(as_json(header), encoding="utf-8")
                beside.rename(copy)
            except OSError as error:
                failed = error
                shutil.rmtree(beside, ignore_errors=True)
        if failed is not None and not copy.is_dir():  # else another process was quicker
            raise failed
        return Snapshot(version, copy)

    def keep(self, versions: Collection[str]) -> None:
        """Remove the copies of all other versions; who has them mapped keeps what is mapped."""
        for path in self.root.iterdir():
            if path.is_dir() and path.name not in versions and not path.name.startswith("."):
                shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep the other processes from changing what is agreed on."""
        with locked(self.root):
            yield

    def state(self) -> dict[str, Any] | None:
        """What the processes agree on; None before anything is."""
        try:
            state = json.loads((self.root / _STATE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return dict(state)

    def agree(self, state: dict[str, Any]) -> None:
        """Replace what is agreed on, in one step."""
        beside = self.root / f".{uuid4().hex}.json"
        beside.write_text(json.dumps(state), encoding="utf-8")
        beside.replace(self.root / _STATE)

    def stamp(self) -> tuple[int, ...]:
        """Other numbers after every change of what is agreed on."""
        return stamp(self.root / _STATE)

    def close(self) -> None:
        """Remove the folder if it is this process's own."""
        if self._alive is not None:
            os.close(self._alive)
            self._alive = None
        if self._own:
            shutil.rmtree(self.root, ignore_errors=True)


def stamp(path: Path) -> tuple[int, ...]:
    """Other numbers after every replacement of a file, and most that are written in place; none where there is none."""
    try:
        at = path.stat()
    except OSError:
        return ()
    return at.st_ino, at.st_mtime_ns, at.st_size


def _no_room(error: OSError) -> bool:
    """Whether there was no room for a copy."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def not_loaded(error: Exception) -> RequestError:
    """What a client is told; the log says more."""
    if isinstance(error, OSError) and _no_room(error):
        why = "there is no room for a copy of it"
    elif isinstance(error, CofactorError | OSError):
        why = "it is no saved model, damaged, or cannot be read"
    else:
        why = f"loading it failed ({type(error).__name__})"
    return RequestError(422, "model_not_loaded", f"the model was not loaded, and the current one stays: {why}")
