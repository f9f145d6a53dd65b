"""Reports as one HTML file that needs nothing else: tables, and plots inside it."""

from __future__ import annotations

import base64
import io
import platform
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any

from cofactor.report.tables import is_numeric, readable
from cofactor.system.files import check_output, replacing
from cofactor.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Self

    import polars as pl

__all__ = ["HTML_ENDINGS", "Report"]

HTML_ENDINGS = (".html", ".htm")

_STYLE = """
body { font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: #1f2933; background: #fff;
       max-width: 72rem; margin: 2.5rem auto 4rem; padding: 0 1.25rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .4rem; padding-top: 1.2rem; border-top: 1px solid #e4e7eb; }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .2rem; }
p { margin: .4rem 0 .8rem; max-width: 46rem; }
p.lead { color: #52606d; font-size: 1.1rem; }
img { display: block; max-width: 100%; height: auto; margin: 1rem 0; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .6rem 0 1.2rem; font-size: .9rem; font-variant-numeric: tabular-nums; }
th { text-align: left; color: #52606d; font-weight: 600; border-bottom: 2px solid #cbd2d9; }
th, td { padding: .3rem .9rem .3rem 0; vertical-align: top; }
td, tbody th { border-bottom: 1px solid #eef0f2; }
td:first-child { white-space: nowrap; }
.number { text-align: right; white-space: nowrap; }
tr.best td { font-weight: 600; }
footer { margin-top: 3rem; color: #7b8794; font-size: .85rem; }
"""


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
        self._pieces: list[str] = []

    def section(self, heading: str) -> Self:
        """Begin a section."""
        return self._add(f"<h2>{escape(heading)}</h2>")

    def subsection(self, heading: str) -> Self:
        """Begin a part of a section."""
        return self._add(f"<h3>{escape(heading)}</h3>")

    def text(self, paragraph: str) -> Self:
        """Add a paragraph."""
        return self._add(f"<p>{escape(paragraph)}</p>")

    def table(self, frame: pl.DataFrame, *, best_first: bool = False) -> Self:
        """Add a table; numbers, and texts that begin with a digit in every row, are aligned to the right.

        Parameters
        ----------
        frame : DataFrame
        best_first : bool
            Whether the first row stands out.
        """
        classes = [' class="number"' if is_numeric(column) else "" for column in frame.iter_columns()]
        head = "".join(f"<th{c}>{escape(name)}</th>" for c, name in zip(classes, frame.columns, strict=True))
        rows = []
        for number, row in enumerate(frame.iter_rows()):
            cells = "".join(f"<td{c}>{escape(readable(value))}</td>" for c, value in zip(classes, row, strict=True))
            rows.append(f"<tr class='best'>{cells}</tr>" if best_first and number == 0 else f"<tr>{cells}</tr>")
        return self._add(
            f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
        )

    def facts(self, facts: Mapping[str, object]) -> Self:
        """Add names and values as a table of two columns."""
        rows = "".join(f"<tr><th>{escape(k)}</th><td>{escape(str(v))}</td></tr>" for k, v in facts.items())
        return self._add(f"<table><tbody>{rows}</tbody></table>")

    def figure(self, figure: Any, description: str) -> Self:  # noqa: ANN401
        """Add a matplotlib figure as an SVG image, with a description for those who cannot see it."""
        image = io.BytesIO()
        figure.savefig(image, format="svg", metadata={"Date": None})
        data = base64.b64encode(image.getvalue()).decode()
        return self._add(f'<img alt="{escape(description)}" src="data:image/svg+xml;base64,{data}">')

    def html(self) -> str:
        """Give the page."""
        now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        made = f"Made by cofactor {__version__}, Python {platform.python_version()}, {now}"
        lead = f'<p class="lead">{escape(self.lead)}</p>' if self.lead else ""
        body = "\n".join(self._pieces)
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(self.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
            f"<h1>{escape(self.title)}</h1>\n{lead}\n{body}\n<footer>{made}</footer>\n</body>\n</html>\n"
        )

    def write(self, path: str | Path) -> None:
        """Write the page, as a whole or not at all.

        Raises
        ------
        ParameterError
            The name does not end in .html, or the file cannot be written.
        """
        with replacing(check_output(path, HTML_ENDINGS)) as beside:
            beside.write_text(self.html(), encoding="utf-8")

    def _add(self, piece: str) -> Self:
        self._pieces.append(piece)
        return self
