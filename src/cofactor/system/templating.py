"""Jinja2 templates of a package: everything is escaped, and a name that is missing is an error."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["templates_of"]


@cache
def templates_of(package: str) -> Environment:
    """The templates in the folder ``templates`` of a package, such as ``"cofactor.report"``."""
    # Imported here because the command line starts far more often than it writes a page.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
