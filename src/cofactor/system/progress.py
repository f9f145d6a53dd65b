"""One progress bar for all long work."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

__all__ = ["progress_bar"]


def progress_bar(name: str, progress: bool | None, *, total: int | None = None, **options: Any) -> tqdm[Any]:  # noqa: ANN401
    """A bar that leaves nothing behind; ``progress=None`` shows it when stderr is a terminal."""
    return tqdm(desc=name, total=total, disable=None if progress is None else not progress, leave=False, **options)
