"""The models that are served: which is current, how another takes its place in one step, and the way back.

A request takes a :class:`Version` once and keeps it to its end, whatever comes meanwhile.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from cofactor.checks import is_number, nearest, shown
from cofactor.errors import CofactorError, ParameterError
from cofactor.models.base.recommender import Recommender, load
from cofactor.models.base.saved import read_header
from cofactor.serve.failures import Failure
from cofactor.serve.store import NEVER, Trained

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Models", "Version"]

_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Version(Generic[T]):
    """A model as it is served.

    Attributes
    ----------
    name : str
        By which requests ask for it.
    version : str
        12 hexadecimal digits, others for other contents of the folder.
    model : Recommender
    index : object
        What was built of the model to answer by.
    trained : Trained
        Up to where it has seen the events of a store.
    created : str
        When it was saved, ISO 8601.
    """

    name: str
    version: str
    model: Recommender
    index: T
    trained: Trained
    created: str


class Models(Generic[T]):
    """Saved models by name, each with the one before it.

    Parameters
    ----------
    folders : mapping of str to path
        Saved models; the first one answers requests that name none.
    build : callable
        Makes of a loaded model what answers by it; called beside the serving ones, as often as a model is loaded.
    canaries : int
        How many users of the model being served must get lists from the next one, with finite scores.
    most_lost : float
        Which share of the items the next one may lack, 0 to 1, and which share of the canaries may get no list.

    Raises
    ------
    ArtifactError
        A folder is no saved model, or damaged.
    Failure
        A model gives nobody a list.
    """

    def __init__(
        self,
        folders: Mapping[str, str | Path],
        build: Callable[[Recommender], T],
        *,
        canaries: int = 100,
        most_lost: float = 0.2,
    ) -> None:
        self._folders = {name: Path(folder) for name, folder in folders.items()}
        self._build, self._canaries, self._most_lost = build, canaries, most_lost
        self._current: dict[str, Version[T]] = {}
        self._previous: dict[str, Version[T]] = {}
        self._lock = threading.Lock()  # one change at a time; requests never wait for it
        for name, folder in self._folders.items():
            self._current[name] = self._loaded(name, folder)

    def names(self) -> list[str]:
        """Of the models, the default one first."""
        return list(self._folders)

    def get(self, name: str | None = None) -> Version[T]:
        """The version to answer a request with.

        Parameters
        ----------
        name : str, optional
            Of a model, or ``"current"`` (as None: the default model) or ``"previous"`` (the one before it).

        Raises
        ------
        Failure
            404: there is no such model, or none before.
        """
        if name is None or name == "current":
            return self._current[next(iter(self._folders))]
        if name in self._current:
            return self._current[name]
        if name == "previous":
            previous = self._previous.get(next(iter(self._folders)))
            if previous is None:
                raise Failure(404, "no_previous_model", "there is no model before the current one", "model")
            return previous
        raise Failure(404, "unknown_model", f"there is no model {shown(name)}{nearest(name, self._current)}", "model")

    def reload(self, name: str | None = None, folder: str | Path | None = None) -> Version[T]:
        """Load what is in a model's folder now (or in another) beside, check it and let it take over."""
        raise NotImplementedError

    def rollback(self, name: str | None = None) -> Version[T]:
        """Let the version before take over again, and the current one be the one before."""
        raise NotImplementedError

    def _loaded(self, name: str, folder: Path) -> Version[T]:
        digest = hashlib.sha256((folder / "model.json").read_bytes()).hexdigest()[:12]
        header = read_header(folder)
        model = load(folder)
        return Version(name, digest, model, self._build(model), NEVER, header["created"])
