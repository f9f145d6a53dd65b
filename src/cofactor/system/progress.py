"""One progress bar for all long work, and who else wants to know that it goes on."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["at_every_step", "in_notebook", "progress_bar"]

_CALL: ContextVar[Callable[[], object] | None] = ContextVar("at_every_step", default=None)


def progress_bar(name: str, progress: bool | None, *, total: int | None = None, **options: Any) -> tqdm[Any]:  # noqa: ANN401
    """A bar that leaves nothing behind; ``progress=None`` shows it when stderr is a terminal, or in a notebook."""
    # A notebook's stderr is no terminal, so that tqdm would hide the bar.
    hidden = progress is False if in_notebook() else None if progress is None else not progress
    make = _notebook_tqdm() if in_notebook() else tqdm
    bar: tqdm[Any] = make(desc=name, total=total, disable=hidden, leave=False, **options)
    if (call := _CALL.get()) is not None:
        bar.update = _calling(call, bar.update)  # type: ignore[method-assign]
    return bar


@contextmanager
def at_every_step(call: Callable[[], object]) -> Iterator[None]:
    """Call a function whenever work that begins in the block tells its bar, shown or not, that a step is done.

    What it raises ends the work there: a model that is being fitted stays what it was.
    """
    token = _CALL.set(call)
    try:
        yield
    finally:
        _CALL.reset(token)


def _calling(call: Callable[[], object], update: Callable[[float | None], bool | None]) -> Any:  # noqa: ANN401
    def both(n: float | None = 1) -> bool | None:
        call()
        return update(n)

    return both


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook: nothing is imported to find out."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and "IPKernelApp" in getattr(shell, "config", {})


def _notebook_tqdm() -> type[tqdm[Any]]:
    """A bar of widgets where they are installed; else the one of a terminal, which notebooks show as text."""
    if find_spec("ipywidgets") is None:
        return tqdm
    from tqdm.notebook import tqdm as widget

    return widget
