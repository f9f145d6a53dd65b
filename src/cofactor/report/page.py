"""Reports as one HTML file that needs nothing else: tables and charts that answer to the mouse, inside it."""

from __future__ import annotations

import base64
import hashlib
import io
import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cofactor.report.pieces import Charts, Facts, Figures, Heading, Image, Text, table_piece
from cofactor.system.files import check_output, replacing
from cofactor.system.templating import templates_of
from cofactor.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Self

    import polars as pl

    from cofactor.report.charts import Chart
    from cofactor.report.pieces import Piece

__all__ = ["HTML_ENDINGS", "Report"]

HTML_ENDINGS = (".html", ".htm")

# Text stays text in a figure, so that it has the font of the page. The names are those of the systems' own fonts;
# where none of them is installed, widths are measured with the one that comes with matplotlib, the widest.
_SVG: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "cofactor",  # the same figure gives the same file
    "font.sans-serif": ["Segoe UI", "Roboto", "Helvetica Neue", "Arial", "DejaVu Sans"],
}


class Report:
    """An HTML page built from top to bottom; every method adds a piece and gives the report back.

    Parameters
    ----------
    title, lead : str
        Heading, and a sentence under it. All text is escaped.

    Examples
    --------
    >>> report = Report("Leaderboard", "Two models on one split").text("The higher, the better.")
    >>> "<h1>Leaderboard</h1>" in report.html()
    True
    """

    def __init__(self, title: str, lead: str = "") -> None:
        self.title = title
        self.lead = lead
        self._pieces: list[Piece] = []

    def section(self, heading: str) -> Self:
        """Begin a section."""
        return self._add(self._heading(2, heading))

    def subsection(self, heading: str) -> Self:
        """Begin a part of a section."""
        return self._add(self._heading(3, heading))

    def text(self, paragraph: str) -> Self:
        """Add a paragraph."""
        return self._add(Text(paragraph))

    def table(self, frame: pl.DataFrame, *, best_first: bool = False, folded: str = "") -> Self:
        """Add a table; numbers, and texts that are a number in every row, are aligned to the right.

        A click on the name of a column sorts by it.

        Parameters
        ----------
        frame : DataFrame
        best_first : bool
            Whether the first row stands out.
        folded : str, optional
            Hide the table behind this line until somebody clicks on it, or prints the page.
        """
        return self._add(table_piece(frame, best_first=best_first, folded=folded))

    def chart(self, chart: Chart) -> Self:
        """Add a chart of ``plots``. Those that follow each other stand side by side where there is room."""
        last = self._pieces[-1] if self._pieces else None
        row = last if isinstance(last, Charts) else Charts()
        row.charts.append(chart)
        return self if row is last else self._add(row)

    def facts(self, facts: Mapping[str, object]) -> Self:
        """Add names and values, one pair a line."""
        return self._add(Facts({name: str(value) for name, value in facts.items()}))

    def figure(self, figure: Any, description: str) -> Self:  # noqa: ANN401
        """Add a matplotlib figure as an SVG image, with a description for those who cannot see it.

        Figures that follow each other stand side by side where there is room. One of ``figures.PANEL`` inches has the
        width of a phone.
        """
        last = self._pieces[-1] if self._pieces else None
        row = last if isinstance(last, Figures) else Figures()
        row.images.append(Image(_svg(figure), description))
        return self if row is last else self._add(row)

    def html(self) -> str:
        """Give the page."""
        now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        made = f"Made by cofactor {__version__}, Python {platform.python_version()}, {now}"
        templates = templates_of("cofactor.report")
        # Nothing else may run: neither a script that a name smuggled in, nor a request to anywhere.
        script = templates.get_template("charts.js").render()
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        sections = [piece for piece in self._pieces if isinstance(piece, Heading) and piece.level == 2]
        about = {"title": self.title, "lead": self.lead, "made": made, "digest": digest}
        page = templates.get_template("page.html.j2")
        return page.render(**about, pieces=self._pieces, contents=sections if len(sections) > 3 else [])

    def _repr_html_(self) -> str:
        """The page in a frame of its own, so that neither its style nor its script meets the notebook's."""
        return templates_of("cofactor.report").get_template("frame.html.j2").render(page=self.html(), title=self.title)

    def write(self, path: str | Path) -> None:
        """Write the page, as a whole or not at all.

        Raises
        ------
        ParameterError
            The name does not end in .html, or the file cannot be written.
        """
        with replacing(check_output(path, HTML_ENDINGS)) as beside:
            beside.write_text(self.html(), encoding="utf-8")

    def _heading(self, level: int, text: str) -> Heading:
        return Heading(level, text, f"s{len(self._pieces)}")

    def _add(self, piece: Piece) -> Self:
        self._pieces.append(piece)
        return self


def _svg(figure: Any) -> str:  # noqa: ANN401
    """A figure as SVG in base64, transparent so that it stands on a dark page too."""
    from matplotlib import rc_context

    image = io.BytesIO()
    with rc_context(_SVG):
        figure.savefig(image, format="svg", metadata={"Date": None}, transparent=True)
    return base64.b64encode(image.getvalue()).decode()
