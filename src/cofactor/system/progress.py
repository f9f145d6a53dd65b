"""One progress bar for all long work."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

from tqdm import tqdm

__all__ = ["in_notebook", "progress_bar"]


def progress_bar(name: str, progress: bool | None, *, total: int | None = None, **options: Any) -> tqdm[Any]:  # noqa: ANN401
    """A bar that leaves nothing behind; ``progress=None`` shows it when stderr is a terminal, or in a notebook."""
    if not in_notebook():
        return tqdm(desc=name, total=total, disable=None if progress is None else not progress, leave=False, **options)
    # A notebook's stderr is no terminal, so that tqdm would hide the bar.
    return _notebook_tqdm()(desc=name, total=total, disable=progress is False, leave=False, **options)


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
