"""What the service does with a request, whatever brought it."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Raw

from cofactor.serve.batching import Batcher
from cofactor.serve.choices import Choices
from cofactor.serve.keys import Keys
from cofactor.serve.limits import Limits
from cofactor.serve.messages import encode
from cofactor.serve.request_error import RequestError
from cofactor.serve.store_reader import StoreReader
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
    from cofactor.serve.store import Stock, Store
    from cofactor.serve.store_reader import Known
    from cofactor.serve.swap import Models, Version

__all__ = ["Service"]

_AT_A_STRETCH = 2_000  # events read, or entries of lists written, before others have their turn
_MANY_USERS, _MANY_IDS = 100, 1_000  # of one request, beyond which its answer is left to a thread
_MANY_CHOICES = 100_000  # items that one request may choose from, likewise


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
        self.reader = None if store is None else StoreReader(store)
        self._choices = Choices(catalogue)

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
        limits.check_size("users", people)
        limits.check_size("items", asked.items)
        limits.check_size("exclude", asked.exclude)
        known = None if self.reader is None else await self._known(version, [person.user for person in people])
        unknown: list[Id] = []
        allowed = None
        if known is not None or asked.filter is not None or asked.items is not None:
            allowed = await self.choice(index, asked.filter, asked.items, known and known.stock, unknown)
        questions = await self._questions(version, asked, people, known)
        if asked.exclude or allowed is not None:
            exclude = index.items.known_rows(asked.exclude)[0] if asked.exclude else None
            for question in questions:
                question.exclude, question.allowed = exclude, allowed
        answers = await self.batcher.ask(index, questions, long=_takes_long(asked, len(questions), allowed))
        self.telemetry.listed(answers)
        if asked.k * len(people) > _AT_A_STRETCH:
            return await asyncio.to_thread(self._told_by_lists, version, people, answers, begun, unknown)
        return self.told(version, people, answers, begun, unknown)

    def told(
        self,
        version: Version[Index],
        people: Sequence[Person | Recommend],
        answers: Sequence[Listed],
        begun: float,
        unknown: Sequence[Id] = (),
    ) -> dict[str, Any]:
        """The answer of ``POST /recommend`` as JSON has it; ``unknown``: ids of the whole request."""
        ids, told = version.index.items.ids, []
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
        took = round((perf_counter() - begun) * 1000, 3)
        return {"model": version.told, "lists": told, "took_ms": took}

    def _told_by_lists(self, *given: Any) -> dict[str, Any]:  # noqa: ANN401
        """As :meth:`told`, each list written already: to write a million entries at once would keep others waiting."""
        answer = self.told(*given)
        answer["lists"] = [Raw(encode(one)) for one in answer["lists"]]
        return answer

    def plain(self, asked: Recommend) -> tuple[Version[Index], Question] | None:
        """The question of a request for one list that is answered at once; None where it is more than that."""
        if asked.users is not None or asked.filter is not None or asked.items is not None or asked.exclude is not None:
            return None
        version = self.models.get(asked.model)
        if self.reader is not None or not version.index.quick or self.batcher.apart:
            return None
        if not 1 <= asked.k <= self.limits.k:
            self.limits.check_k(asked.k)
        self.limits.check_size("history", asked.history)
        question = self.question(version, asked.user, asked.history, (), fallback=asked.fallback)
        question.k, question.exclude_seen = asked.k, asked.exclude_seen
        return version, question

    async def _known(self, version: Version[Index], users: Sequence[Id | None]) -> Known | None:
        """What the store knows now: of whom no id is given, nothing."""
        if self.reader is None:
            return None
        named = [user for user in users if user is not None]
        found = await self.reader.read(named, version.trained)
        if len(named) == len(users):
            return found
        histories = iter(found.histories)
        return found._replace(histories=[() if user is None else next(histories) for user in users])

    async def _questions(
        self, version: Version[Index], asked: Recommend, people: Sequence[Person | Recommend], known: Known | None
    ) -> list[Question]:
        """What is asked for each of some people; others have their turn in between."""
        questions: list[Question] = []
        read = 0
        for at, person in enumerate(people):
            stored = () if known is None else known.histories[at]
            try:
                self.limits.check_size("history", person.history)
                question = self.question(version, person.user, person.history, stored, fallback=asked.fallback)
            except RequestError as error:
                raise error if asked.users is None else error.within(f"users[{at}]") from None
            question.k, question.exclude_seen = asked.k, asked.exclude_seen
            questions.append(question)
            read += len(stored) + len(person.history or ())
            if read > _AT_A_STRETCH:
                read = await _others_turn()
        return questions

    def question(
        self,
        version: Version[Index],
        user: Id | None,
        history: Sequence[Event] | None,
        stored: Sequence[Stored],
        *,
        fallback: bool,
    ) -> Question:
        """What is asked for somebody, with what the store knows of them; errors as :meth:`Index.question`."""
        if user is None and history is None:
            raise RequestError(422, "nobody", "give a user, a history, or both", "user")
        return version.index.question(user, history, stored, fallback=fallback)

    async def similar(self, model: str | None, item: str, k: int, filter: str | None) -> dict[str, Any]:
        """The answer of ``GET /similar/{item}``."""
        self.limits.check_k(k)
        version = self.models.get(model)
        index = version.index
        given = index.items.from_text(item)
        row = self.item_row(index, given)
        allowed = await self.choice(index, filter, None, await self.stock())
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
        stored = () if asked.user is None else await self.history(version, asked.user)
        question = self.question(version, asked.user, asked.history, stored, fallback=False)
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

    async def history(self, version: Version[Index], user: Id) -> Sequence[Stored]:
        """What the store has of a user that a model has not been trained on."""
        known = await self._known(version, [user])
        return known.histories[0] if known is not None else ()

    async def stock(self) -> Stock | None:
        """What is out of stock now; None without a store."""
        return None if self.reader is None else (await self.reader.read()).stock

    async def choice(
        self,
        index: Index,
        filter: str | None,
        items: Sequence[Id] | None,
        stock: Stock | None,
        unknown: list[Id] | None = None,
    ) -> Rows | None:
        """The item rows that may be recommended, ascending; None for all of the model's.

        Ids of ``items`` that are not known go to ``unknown``.

        Raises
        ------
        RequestError
            422: the filter is wrong, or there is no table of items that it could be about.
        """
        rows = await self._choices.rows(index, filter, stock)
        if items is None:
            return rows
        wanted, missing = index.items.known_rows(items)
        if unknown is not None:
            unknown += missing
        if rows is None or not len(wanted):
            return wanted
        at = np.searchsorted(rows, wanted)
        there = at < len(rows)
        there[there] = rows[at[there]] == wanted[there]
        return wanted[there]

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
        self._choices.close()
        if self.reader is not None:
            self.reader.close()
        self.models.close()
        if self.store is not None:
            self.store.close()


def _takes_long(asked: Recommend, n: int, allowed: Rows | None) -> bool:
    """Whether an answer may hold up the others for long, whatever the model."""
    return (
        n > _MANY_USERS
        or (asked.exclude is not None and len(asked.exclude) > _MANY_IDS)
        or (allowed is not None and len(allowed) > _MANY_CHOICES)
    )


async def _others_turn() -> int:
    await asyncio.sleep(0)
    return 0
