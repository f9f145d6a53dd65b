"""The models that are served: which is current, how another takes its place in one step, and the way back.

A request takes a :class:`Version` once and keeps it to its end, whatever comes meanwhile. The processes of one server
agree on the versions by a folder of copies, see :mod:`cofactor.serve.snapshots`: the one that is asked to change
something loads, checks and switches; the others follow within a fraction of a second, with what was checked.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cofactor.checks import check_at_least, is_number, nearest, shown
from cofactor.errors import ArtifactError, CofactorError, ParameterError
from cofactor.models.base.recommender import Recommender, load
from cofactor.models.base.saved import MODEL, read_header
from cofactor.serve.canaries import check_model
from cofactor.serve.request_error import RequestError
from cofactor.serve.snapshots import Snapshot, Snapshots, not_loaded, stamp, version_of
from cofactor.serve.trained import Trained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["Models", "Version"]

_log = logging.getLogger(__name__)
T = TypeVar("T")

_PATIENCE = 2.0  # seconds that one change waits for another
_FOLLOW = 0.2  # seconds between looks at what the other processes have agreed on


@dataclass(frozen=True, eq=False)
class Version(Generic[T]):
    """A model as it is served.

    Attributes
    ----------
    name : str
        By which requests ask for it.
    version : str
        12 hexadecimal digits, others for every save.
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

    @cached_property
    def told(self) -> dict[str, str]:
        """Its name and version, as answers have them."""
        return {"name": self.name, "version": self.version}


@dataclass(frozen=True, eq=False)
class _Serving(Generic[T]):
    """Both versions of a model; replaced as one, so that nobody sees half a change."""

    current: Version[T]
    previous: Version[T] | None = None


class Models(Generic[T]):
    """Saved models by name, each with the one before it.

    Parameters
    ----------
    folders : mapping of str to path
        Saved models; the first one answers requests that name none.
    build : callable
        Makes of a loaded model what answers by it, and may warm it up; called beside the ones being served.
    canaries : int
        How many users of the model being served must get lists from the next one, with finite scores.
    most_lost : float
        Which share of the items the next one may lack, 0 to 1, and which share of the canaries may get no list.
    root : path, optional
        Where copies of the models lie, for the processes of a server to share; by default a temporary folder of this
        process.
    switched : callable, optional
        Called whenever another version has taken over here.

    Attributes
    ----------
    refused : dict of str
        Why the newest model of a name was not taken, where it was not.

    Raises
    ------
    ArtifactError
        A folder is no saved model, or damaged.
    RequestError
        A model gives nobody a list.
    """

    def __init__(
        self,
        folders: Mapping[str, str | Path],
        build: Callable[[Recommender], T],
        *,
        canaries: int = 100,
        most_lost: float = 0.2,
        root: str | Path | None = None,
        switched: Callable[[], None] = lambda: None,
    ) -> None:
        if not folders:
            raise ParameterError("folders names no model; give at least one")
        check_at_least("canaries", canaries, 1, whole=True)
        if not (is_number(most_lost) and 0 <= most_lost <= 1):
            raise ParameterError(f"most_lost must be a share from 0 to 1, got {shown(most_lost)}")
        self._folders = {name: Path(folder).expanduser() for name, folder in folders.items()}
        self._default = next(iter(self._folders))
        self._build, self._canaries, self._most_lost = build, canaries, most_lost
        self._switched = switched
        self._serving: dict[str, _Serving[T]] = {}
        self.refused: dict[str, str] = {}
        self._changing = threading.Lock()  # one change at a time; requests never wait for it
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._snapshots = Snapshots(root)
        try:
            self._start()
        except BaseException:
            self._snapshots.close()
            raise
        if root is not None:
            self._run(_FOLLOW, self._follow)

    def _start(self) -> None:
        """Serve what the other processes serve, or be the first."""
        with self._snapshots.alone():
            self._agreed = self._snapshots.stamp()
            state = self._snapshots.state()
            if state is None:
                for name, folder in self._folders.items():
                    version = self._load(name, self._first_copy(folder))
                    check_model(version.model, None, canaries=self._canaries, most_lost=self._most_lost)
                    self._serve(name, version)
                self._tried = {name: serving.current.version for name, serving in self._serving.items()}
                self._agree()
                return
            self._tried = {}
            self._take(state)  # before another process removes what it no longer serves

    def _first_copy(self, folder: Path) -> Snapshot:
        try:
            return self._snapshots.take(folder)
        except OSError as error:
            raise ArtifactError(
                f"{folder} could not be copied to {self._snapshots.root}, from where it is served: {error.strerror}; "
                "make room, or choose another disk by the variable TMPDIR"
            ) from error

    # For requests.

    @property
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
        RequestError
            404: there is no such model, or none before.
        """
        serving = self._serving.get(self._default if name is None else name)
        if serving is not None:
            return serving.current
        if name == "current":
            return self._serving[self._default].current
        if name == "previous":
            return self._before(self._default)
        close = nearest(name, [*self._folders, "current", "previous"])
        raise RequestError(404, "unknown_model", f"there is no model {shown(name)}{close}", "model")

    def _before(self, name: str) -> Version[T]:
        if (previous := self._serving[name].previous) is None:
            raise RequestError(404, "no_previous_model", f"{name} has no model before the current one", "model")
        return previous

    # For administration.

    def reload(self, name: str | None = None, folder: str | Path | None = None) -> Version[T]:
        """Load beside what is saved in a model's folder now, check it, and let it take over in one step.

        Blocks as long as that takes; call it in a thread. A model that is served already stays as it is.

        Parameters
        ----------
        name : str, optional
            Of the model; by default the first one.
        folder : path, optional
            Another folder to load from, once.

        Raises
        ------
        RequestError
            404: there is no such model. 409: another change is under way, or the model has lost too much. 422: it is no
            saved model or damaged. What is served stays as it is.
        """
        name = self._name(name)
        with self._change():
            return self._reload(name, self._folders[name] if folder is None else Path(folder))

    def _reload(self, name: str, folder: Path) -> Version[T]:
        current = self._serving[name].current
        try:
            snapshot = self._snapshots.take(folder)
            self._tried[name] = snapshot.version
            if snapshot.version == current.version:
                self._agree()
                return current
            version = self._load(name, snapshot)
            check_model(version.model, current.model, canaries=self._canaries, most_lost=self._most_lost)
        except RequestError as failure:
            self._refuse(name, failure)
            raise
        except Exception as error:  # a damaged model must not end the server, whatever it leads to
            _log.warning("model %s was not loaded: %s", name, error, exc_info=not isinstance(error, CofactorError))
            refusal = not_loaded(error)
            self._refuse(name, refusal)
            raise refusal from error
        self._serve(name, version, current)
        self.refused.pop(name, None)
        self._agree()
        _log.info("model %s: version %s took over from %s", name, version.version, current.version)
        return version

    def _refuse(self, name: str, failure: RequestError) -> None:
        self.refused[name] = failure.message
        self._agree()

    def rollback(self, name: str | None = None) -> Version[T]:
        """Let the version before take over again, and the current one be the one before.

        A watched folder does not bring the current one back until something else is saved there.

        Raises
        ------
        RequestError
            404: there is no such model, or none before. 409: another change is under way.
        """
        name = self._name(name)
        with self._change():
            previous = self._before(name)
            self._serve(name, previous, self._serving[name].current)
            self._agree()
            _log.info("model %s: back to version %s", name, previous.version)
            return previous

    @contextmanager
    def _change(self) -> Iterator[None]:
        """Be the only one, of all threads and processes, who changes what is served, and know what is."""
        if not self._changing.acquire(timeout=_PATIENCE):
            raise RequestError(409, "change_under_way", "another reload or rollback is under way; try again")
        try:
            with self._snapshots.alone():
                self._catch_up()
                yield
        finally:
            self._changing.release()

    def _serve(self, name: str, current: Version[T], previous: Version[T] | None = None) -> None:
        """Let a version take over, in one step."""
        before = self._serving.get(name)
        self._serving[name] = _Serving(current, previous)
        if before is not None and before.current is not current:
            self._switched()

    def _name(self, name: str | None) -> str:
        if name is None or name == "current":
            return self._default
        if name not in self._folders:
            raise RequestError(
                404, "unknown_model", f"there is no model {shown(name)}{nearest(name, self._folders)}", "model"
            )
        return name

    def watch(self, seconds: float = 1.0) -> None:
        """Reload a model whenever something else has been saved in its folder, looking every so many seconds.

        What was refused is not tried again until it changes; :attr:`refused` and the log tell why.
        """
        check_at_least("seconds", seconds, 0, above=True)
        stamps: dict[str, tuple[int, ...]] = {}
        self._run(seconds, lambda: self._look(stamps))

    def _look(self, stamps: dict[str, tuple[int, ...]]) -> None:
        for name, folder in self._folders.items():
            now = stamp(folder / MODEL.header)
            if now == stamps.get(name):
                continue
            try:
                version = version_of(read_header(folder))
            except ArtifactError as error:
                _log.warning("model %s: %s", name, error)
                with suppress(RequestError), self._change():
                    self._refuse(name, not_loaded(error))
                    stamps[name] = now
                continue
            if version == self._serving[name].current.version and name in self.refused:
                with suppress(RequestError), self._change():  # what was wrong there has been taken back
                    self.refused.pop(name, None)
                    self._agree()
            if version != self._tried.get(name):
                with suppress(RequestError):  # told by the log and by refused
                    self.reload(name)
                if version != self._tried.get(name):
                    continue  # another change was under way, or a newer one has come: look again
            stamps[name] = now

    # What the processes agree on.

    def _agree(self) -> None:
        """Tell the other processes what is served; with the lock of the snapshots."""
        named = {
            name: {"current": s.current.version, "previous": s.previous and s.previous.version}
            for name, s in self._serving.items()
        }
        self._snapshots.agree({"models": named, "tried": self._tried, "refused": self.refused})
        self._agreed = self._snapshots.stamp()
        self._snapshots.keep({v for versions in named.values() for v in versions.values() if v})

    def _follow(self) -> None:
        if self._snapshots.stamp() != self._agreed and self._changing.acquire(blocking=False):
            try:
                with self._snapshots.alone():
                    self._catch_up()
            finally:
                self._changing.release()

    def _catch_up(self) -> None:
        """Serve what another process has put in place; with the lock of the snapshots."""
        now = self._snapshots.stamp()
        if now != self._agreed and (state := self._snapshots.state()) is not None:
            self._take(state)
            self._agreed = now

    def _take(self, state: Mapping[str, Any]) -> None:
        for name, versions in state["models"].items():
            serving = self._serving.get(name)
            here = {v.version: v for v in (serving and serving.current, serving and serving.previous) if v}
            loaded = {
                version: here.get(version) or self._load(name, Snapshot(version, self._snapshots.root / version))
                for version in versions.values()
                if version
            }
            self._serve(name, loaded[versions["current"]], loaded.get(versions["previous"]))
        self._tried, self.refused = dict(state["tried"]), dict(state["refused"])

    def _load(self, name: str, snapshot: Snapshot) -> Version[T]:
        header = read_header(snapshot.folder)
        model = load(snapshot.folder)
        return Version(name, snapshot.version, model, self._build(model), Trained.of(header), header["created"])

    # Threads.

    def _run(self, seconds: float, work: Callable[[], None]) -> None:
        """Do something every so many seconds until the models are closed."""

        def repeat() -> None:
            while not self._stop.wait(seconds):
                try:
                    work()
                except Exception:
                    _log.exception("models")

        thread = threading.Thread(target=repeat, name="cofactor-models", daemon=True)
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """Stop watching, and remove the copies if they are this process's own."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._snapshots.close()
