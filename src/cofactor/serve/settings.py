"""How a service is set up, and how each of its worker processes is made from that."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from cofactor.serve.answers import Index
from cofactor.serve.app import App
from cofactor.serve.catalogue import Catalogue
from cofactor.serve.catalogue_routes import catalogue_routes
from cofactor.serve.keys import Keys
from cofactor.serve.limits import Limits
from cofactor.serve.routes import routes
from cofactor.serve.service import Service
from cofactor.serve.state_routes import state_routes
from cofactor.serve.store import open_store
from cofactor.serve.swap import Models
from cofactor.serve.telemetry import Telemetry
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from cofactor.models.base.recommender import Recommender

__all__ = ["Settings", "make_app"]

_VARIABLE = "COFACTOR_SERVE_SETTINGS"


class Settings(Struct, forbid_unknown_fields=True):
    """Everything that ``cofactor serve`` is told.

    Parameters
    ----------
    models : dict
        Folders of saved models by name, the default one first.
    items : str, optional
        A table of items.
    item, name, image : str
        Its columns.
    store : str, optional
        Address of the store of events.
    keys : str, optional
        File of API keys.
    watch : float, optional
        Seconds between looks at the models' folders.
    most_lost : float
        Share of the items that a new model may lack.
    shared : str, optional
        A folder where the workers of one service meet.
    """

    models: dict[str, str]
    items: str | None = None
    item: str = "item_id"
    name: str | None = None
    image: str | None = None
    store: str | None = None
    keys: str | None = None
    watch: float | None = None
    most_lost: float = 0.2
    limits: dict[str, float] = {}
    shared: str | None = None
    threads: int | None = None
    log_level: str = "info"
    log_requests: bool = False

    def to_environment(self) -> None:
        """Leave them where the processes find them that this one starts."""
        os.environ[_VARIABLE] = msgspec.json.encode(self).decode()

    @classmethod
    def from_environment(cls) -> Settings:
        """What the process that started this one has left."""
        return msgspec.json.decode(os.environ[_VARIABLE], type=cls)


def make_app(settings: Settings) -> App:
    """Load everything and make the application; errors are those of what is loaded.

    Raises
    ------
    ArtifactError, DataError, ParameterError, RequestError
        A model, the table of items, the keys or the store cannot be used.
    """
    # Told once: what the system grants is in files, which no answer has the time to read.
    os.environ["COFACTOR_NUM_THREADS"] = str(resolve_threads(settings.threads))
    limits = Limits(**settings.limits)  # type: ignore[arg-type]
    keys = Keys.read(settings.keys)
    if settings.shared is not None:
        keys = keys.shared(Path(settings.shared) / "rates")
    store = None if settings.store is None else open_store(settings.store, longest=limits.history)
    telemetry = Telemetry(settings.shared)
    models = Models(
        settings.models, _built, most_lost=settings.most_lost, root=settings.shared, switched=telemetry.switched
    )
    catalogue = None
    if settings.items is not None:
        catalogue = Catalogue.read(settings.items, item=settings.item, name=settings.name, image=settings.image)
    if settings.watch is not None:
        models.watch(settings.watch)
    service = Service(models, store=store, catalogue=catalogue, keys=keys, limits=limits, telemetry=telemetry)
    every = [*routes(service), *state_routes(service), *catalogue_routes(service)]
    warm = None if catalogue is None else catalogue.warm
    return App(service, every, start=warm, stop=service.close, log_requests=settings.log_requests)


def _built(model: Recommender) -> Index:
    return Index(model).warm()
