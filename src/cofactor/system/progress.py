"""One progress bar for all long work, and who else wants to know that it goes on."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["at_every_step", "progress_bar"]

_CALL: ContextVar[Callable[[], object] | None] = ContextVar("at_every_step", default=None)


class _Bar(tqdm):  # type: ignore[type-arg]
    def update(self, n: float | None = 1) -> bool | None:
        if (call := _CALL.get()) is not None:
            call()
        return super().update(n)


def progress_bar(name: str, progress: bool | None, *, total: int | None = None, **options: Any) -> tqdm[Any]:  # noqa: ANN401
    """A bar that leaves nothing behind; ``progress=None`` shows it when stderr is a terminal."""
    return _Bar(desc=name, total=total, disable=None if progress is None else not progress, leave=False, **options)


@contextmanager
def at_every_step(call: Callable[[], object]) -> Iterator[None]:
    """Call a function whenever work inside the block tells its bar, shown or not, that a step is done.

    What it raises ends the work there: a model that is being fitted stays what it was.
    """
    token = _CALL.set(call)
    try:
        yield
    finally:
        _CALL.reset(token)
