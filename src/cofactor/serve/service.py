"""What the service does with a request, whatever brought it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.errors import ParameterError
from cofactor.serve.batching import Batcher
from cofactor.serve.keys import Keys
from cofactor.serve.limits import Limits
from cofactor.serve.request_error import RequestError
from cofactor.serve.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cofactor.kernels.arrays import Rows
    from cofactor.serve.answers import Index, Listed
    from cofactor.serve.catalogue import Catalogue
    from cofactor.serve.events import Event as Stored
    from cofactor.serve.ids import Id
    from cofactor.serve.messages import Event, Explain, Person, Predict, Recommend
    from cofactor.serve.questions import Question
    from cofactor.serve.store import Store
    from cofactor.serve.swap import Models, Version

__all__ = ["Service"]

_KEPT = 256  # choices of items, of one filter and model each, that are kept


class Service:
    """Answers by external ids, from the models that are served now.

    Parameters
    ----------
    models : Models
    store : Store, optional
        Of what just happened, and of what is out of stock.
    catalogue : Catalogue, optional
        Of the items, for filters, names and search.
    keys : Keys, optional
    limits : Limits, optional
    telemetry : Telemetry, optional
    """

    def __init__(
        self,
        models: Models[Index],
        *,
        store: Store | None = None,
        catalogue: Catalogue | None = None,
        keys: Keys | None = None,
        limits: Limits | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        self.models, self.store, self.catalogue = models, store, catalogue
        self.keys = Keys() if keys is None else keys
        self.limits = Limits() if limits is None else limits
        self.telemetry = Telemetry() if telemetry is None else telemetry
        self.batcher = Batcher(self.telemetry.batch)
        self.ready = False
        self._fresh = False
        self._choices: OrderedDict[tuple[int, str | None, int], tuple[Index, Rows]] = OrderedDict()

    async def recommend(self, asked: Recommend) -> dict[str, Any]:
        """The answer of ``POST /recommend``; errors are :class:`RequestError`."""
        begun, limits = perf_counter(), self.limits
        if not 1 <= asked.k <= limits.k:
            limits.check_k(asked.k)
        version = self.models.get(asked.model)
        index = version.index
        people: Sequence[Person | Recommend] | None = asked.users
        if people is None:
            people = [asked]  # who has user and history, as a person has
        elif asked.user is not None or asked.history is not None:
            raise RequestError(422, "body", "give users, or user and history, not both", "users")
        elif not people:
            raise RequestError(422, "body", "users is empty; give at least one", "users")
        self.refresh()
        limits.check_size("users", people)
        limits.check_size("items", asked.items)
        limits.check_size("exclude", asked.exclude)
        unknown: list[Id] = []
        allowed = self.choice(index, asked.filter, asked.items, unknown)
        exclude = index.items.known_rows(asked.exclude)[0] if asked.exclude else None
        questions: list[Question] = []
        for person in people:
            try:
                limits.check_size("history", person.history)
                question = self.question(version, person.user, person.history, asked.fallback)
            except RequestError as error:
                raise error if asked.users is None else error.within(f"users[{len(questions)}]") from None
            question.k, question.exclude_seen = asked.k, asked.exclude_seen
            question.exclude, question.allowed = exclude, allowed
            questions.append(question)
        answers = await self.batcher.ask(index, questions)
        ids, told, telemetry = index.items.ids, [], self.telemetry
        for person, answer in zip(people, answers, strict=True):
            one: dict[str, Any] = {
                "items": [{"item": ids[r], "score": s} for r, s in zip(answer.rows, answer.scores, strict=True)],
                "source": answer.source,
            }
            if person.user is not None:
                one["user"] = person.user
            if answer.unknown or unknown:
                one["unknown_items"] = [*answer.unknown, *unknown]
            told.append(one)
            telemetry.listed(answer.source, len(answer.unknown))
        took = round((perf_counter() - begun) * 1000, 3)
        return {"model": version.told, "lists": told, "took_ms": took}

    def question(
        self,
        version: Version[Index],
        user: Id | None,
        history: Sequence[Event] | None,
        fallback: bool,
    ) -> Question:
        """What is asked for somebody, with what the store knows of them; errors as :meth:`Index.question`."""
        index = version.index
        if user is None and history is None:
            raise RequestError(422, "nobody", "give a user, a history, or both", "user")
        stored: Sequence[Stored] = ()
        if self.store is not None and user is not None:
            index.users.row(user)  # of the right type
            stored = self.store.history(user, version.trained)
        return index.question(user, history, stored, fallback=fallback)

    async def similar(self, model: str | None, item: str, k: int, filter: str | None) -> dict[str, Any]:
        """The answer of ``GET /similar/{item}``."""
        self.limits.check_k(k)
        version = self.models.get(model)
        index = version.index
        given = index.items.from_text(item)
        row = self.item_row(index, given)
        self.refresh()
        allowed = self.choice(index, filter, None, [])
        found = await self._apart(index, index.similar, row, k, allowed)
        return {**self._listed(version, found), "item": given}

    async def predict(self, asked: Predict) -> dict[str, Any]:
        """The answer of ``POST /predict``."""
        self.limits.check_size("pairs", asked.pairs)
        version = self.models.get(asked.model)
        scores = await self._apart(version.index, version.index.predict, asked.pairs)
        return {"model": version.told, "scores": scores}

    async def explain(self, asked: Explain) -> dict[str, Any]:
        """The answer of ``POST /explain``."""
        self.limits.check_k(asked.k)
        self.limits.check_size("history", asked.history)
        version = self.models.get(asked.model)
        index = version.index
        row = self.item_row(index, asked.item)
        self.refresh()
        question = self.question(version, asked.user, asked.history, False)
        score, parts = await self._apart(index, index.explain, question, row, asked.k)
        ids = index.items.ids
        return {
            "model": version.told,
            "item": asked.item,
            "score": score,
            "because": [{"item": ids[r], "contribution": c} for r, c in parts],
        }

    def item_row(self, index: Index, item: Id) -> int:
        """Row of an item; 404 where the model does not know it."""
        row = index.items.row(item)
        if row < 0:
            raise RequestError(404, "unknown_item", f"item {str(item)[:40]!r} is not known to the model", "item")
        return row

    def refresh(self) -> None:
        """Take notice of what any worker has written, once for all requests that are read together."""
        if self.store is None or self._fresh:
            return
        self.store.refresh()
        self._fresh = True
        asyncio.get_running_loop().call_soon(self._stale)

    def _stale(self) -> None:
        self._fresh = False

    def choice(self, index: Index, filter: str | None, items: Sequence[Id] | None, unknown: list[Id]) -> Rows | None:
        """The item rows that may be recommended, ascending; None for all of the model's.

        Raises
        ------
        RequestError
            422: the filter is wrong, or there is no table of items that it could be about.
        """
        rows = self._filtered(index, filter)
        if items is None:
            return rows
        wanted, missing = index.items.known_rows(items)
        unknown += missing
        return wanted if rows is None else np.intersect1d(wanted, rows, assume_unique=True)

    def _filtered(self, index: Index, filter: str | None) -> Rows | None:
        out = self.store.unavailable if self.store is not None else ()
        if filter is None and not out:
            return None
        key = (id(index), filter, self.store.availability if self.store is not None and out else -1)
        if (kept := self._choices.get(key)) is not None:
            self._choices.move_to_end(key)
            return kept[1]
        mask = np.ones(len(index.items), bool) if filter is None else self._matching(index, filter)
        gone = [row for item in out if type(item) is index.items.kind and (row := index.items.row(item)) >= 0]
        mask[gone] = False
        rows = np.flatnonzero(mask).astype(np.int32)
        self._choices[key] = (index, rows)  # which keeps the index, so that its id stays its own
        if len(self._choices) > _KEPT:
            self._choices.popitem(last=False)
        return rows

    def _matching(self, index: Index, filter: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which items of the model a filter lets through, as a new array."""
        if self.catalogue is None:
            raise RequestError(
                422, "no_items", "there is no table of items to filter by (cofactor serve --items)", "filter"
            )
        try:
            mask = self.catalogue.mask(filter)
        except ParameterError as error:
            raise RequestError(422, "filter", str(error)[:500], "filter") from None
        places = index.places_in(self.catalogue)
        return np.where(places >= 0, mask[places], False)

    def _listed(self, version: Version[Index], found: Listed) -> dict[str, Any]:
        ids = version.index.items.ids
        return {
            "model": version.told,
            "items": [{"item": ids[r], "score": s} for r, s in zip(found.rows, found.scores, strict=True)],
        }

    async def _apart(self, index: Index, ask: Any, *arguments: Any) -> Any:  # noqa: ANN401
        """Ask for something that is not answered in batches."""
        return ask(*arguments) if index.quick else await asyncio.to_thread(ask, *arguments)

    def versions(self) -> list[Version[Index]]:
        """Every model that is served, the default one first."""
        return [self.models.get(name) for name in self.models.names]

    def close(self) -> None:
        """Let go of the models and of the store, once all requests are answered."""
        self.batcher.close()
        self.models.close()
        if self.store is not None:
            self.store.close()
