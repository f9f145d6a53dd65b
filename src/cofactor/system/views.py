"""What a notebook shows of an object: facts first, a page second."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from reprlib import Repr
from typing import TYPE_CHECKING, Any

from cofactor.system.templating import templates_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Row", "View", "ViewTable", "Viewed", "brief"]

_LONGEST = 200  # characters of a value


@dataclass(frozen=True)
class Row:
    """A row of a table; a strong one stands out."""

    cells: Sequence[str]
    strong: bool = False


@dataclass(frozen=True)
class ViewTable:
    """A small table of texts; folded ones are opened by a click."""

    caption: str
    names: Sequence[str]
    rows: Sequence[Row]
    folded: bool = False


@dataclass(frozen=True)
class View:
    """What is known of an object, as texts: the template decides how it looks.

    Attributes
    ----------
    title, lead : str
        What it is, and the most important thing to know of it.
    facts : mapping of name to text
    tables : sequence of ViewTable
    notes : sequence of str
    parts : sequence of View
        Objects that it is made of.
    """

    title: str
    lead: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    tables: Sequence[ViewTable] = ()
    notes: Sequence[str] = ()
    parts: Sequence[View] = ()


class Viewed:
    """An object that notebooks show as HTML.

    A subclass gives :meth:`_view` from what it already knows: showing an object never costs a pass over data.
    """

    __slots__ = ()

    def _view(self) -> View:
        raise NotImplementedError

    def _repr_html_(self) -> str:
        """The view as HTML that brings its own style.

        Never an error: an object that is half made, or whose file is gone, is shown as its text, if it has one.
        """
        try:
            return templates_of("cofactor.system").get_template("view.html.j2").render(view=self._view())
        except Exception:
            return f"<pre>{escape(_text(self))}</pre>"


def brief(value: Any) -> str:  # noqa: ANN401
    """A value on one line that is not too long: long collections and texts lose their middle."""
    short = Repr()
    short.maxstring = short.maxother = short.maxlong = _LONGEST
    short.maxlist = short.maxtuple = short.maxdict = short.maxset = 8
    text = " ".join(short.repr(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _text(shown: object) -> str:
    try:
        return repr(shown)
    except Exception:
        return object.__repr__(shown)
