"""Recommender systems by matrix factorization, from a raw event log to ranked lists.

The public names stand once, in ``__init__.pyi``. Each is imported when it is first asked for, so that a command or a
server loads what it uses and no more.
"""

import ast
from importlib import import_module
from pathlib import Path
from typing import Any

from cofactor.system.collection import paused
from cofactor.version import __version__ as __version__

with paused():
    from cofactor import models, retrieval  # noqa: F401  # they make themselves known to load()

_PLACES: dict[str, tuple[str, str | None]] = {}
for _line in ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")).body:
    if isinstance(_line, ast.ImportFrom):
        _PLACES |= {name.asname or name.name: (_line.module or "", name.name) for name in _line.names}
    elif isinstance(_line, ast.Import):
        _PLACES |= {name.asname or name.name: (name.name, None) for name in _line.names}

__all__ = sorted(_PLACES.keys() - {"__version__"})  # noqa: PLE0605


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    place, inside = _PLACES[name]
    with paused():
        module = import_module(place)
    globals()[name] = found = module if inside is None else getattr(module, inside)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
