"""One progress bar for all long work."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["at_every_step", "in_notebook", "progress_bar"]

_CALL: ContextVar[Callable[[], object] | None] = ContextVar("at_every_step", default=None)


def progress_bar(name: str, progress: bool | None, *, total: int | None = None, **options: Any) -> tqdm[Any]:  # noqa: ANN401
    """A bar that leaves nothing behind; ``progress=None`` shows it when stderr is a terminal, or in a notebook."""
    hidden = None if progress is None else not progress
    kind: Any = tqdm
    if in_notebook():  # whose stderr is no terminal, so that tqdm would hide the bar
        hidden, kind = progress is False, _notebook_tqdm()
    bar: tqdm[Any] = _telling(kind)(desc=name, total=total, disable=hidden, leave=False, **options)
    return bar


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


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook: nothing is imported to find out."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and "IPKernelApp" in getattr(shell, "config", {})


@cache
def _telling(kind: Any) -> Any:  # noqa: ANN401
    """A kind of bar that calls what ``at_every_step`` asks for."""

    def update(self: tqdm[Any], n: float | None = 1) -> bool | None:
        if (call := _CALL.get()) is not None:
            call()
        updated: bool | None = kind.update(self, n)
        return updated

    return type(kind.__name__, (kind,), {"update": update})


def _notebook_tqdm() -> type[tqdm[Any]]:
    """A bar of widgets where they are installed; else the one of a terminal, which notebooks show as text."""
    if find_spec("ipywidgets") is None:
        return tqdm
    from tqdm.notebook import tqdm as widget

    return widget
