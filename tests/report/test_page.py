import base64
import hashlib
import re
from html.parser import HTMLParser
from importlib.resources import files

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cofactor as cf
from cofactor.report.figures import new_figure, plain_axes
from cofactor.report.page import Report
from cofactor.report.plots import losses

STYLE = (files("cofactor.report") / "templates" / "style.css").read_text(encoding="utf-8")
NASTY = "<script>alert(1)</script>\"><img src=x onerror=alert(1)>'&amp;{{ 7 * 7 }}"


class Page(HTMLParser):
    """Reads a page, and checks that tags are closed in order."""

    VOID = ("meta", "img")

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []  # a tag comes with its attributes and the tags around it
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs), [tag for tag, _ in self.open]))
        self.around = [dict(attrs) for _, attrs in self.open]
        if tag == "table":
            assert self.around[-1]["class"] == "wide", "a table outside its box makes the page scroll sideways"
        if tag not in self.VOID:
            self.open.append((tag, attrs))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open and self.open[-1][0] != "style":
            self.texts.append((self.open[-1][0], data))

    def text_of(self, tag):
        return [text for name, text in self.texts if name == tag]

    def attributes_of(self, tag):
        return [attrs for name, attrs, _ in self.tags if name == tag]


def everything(text="harmless", alt="harmless"):
    """A report with all kinds of pieces, whose every text is the one given."""
    board = pl.DataFrame({text: [text, text], "ndcg": ["0.2500 (0.2400-0.2600)", "0.1250 (0.1000-0.1500)"]})
    report = Report(text, text).section(text).subsection(text).text(text).table(board, best_first=True)
    report.table(board, folded=text).facts({text: text}).chart(losses({text: [2.0, 1.0]}))
    return report.figure(figure(), alt)


def figure():
    """A figure of matplotlib with a line."""
    made = new_figure(3.65, 2.7)
    axes = made.add_subplot()
    axes.plot([1, 2], [2.0, 1.0])
    plain_axes(axes, "y")
    return made


def test_a_page_that_needs_nothing_else():
    html = everything().html()
    assert html.startswith("<!doctype html>\n")
    page = Page(html)
    assert {tag for tag, _, _ in page.tags}.isdisjoint({"link", "iframe", "object"})
    sources = [v for _, attrs, _ in page.tags for k, v in attrs.items() if k in ("src", "href", "srcset")]
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert not re.search(r"url\(|@import", html)


def test_nothing_but_its_own_script_may_run():
    html = everything().html()
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', html)
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src 'sha256-{digest}'" in policy
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|eval\(|fetch\(|XMLHttp|https?:", script)


def test_images_are_part_of_the_page():
    page = Page(everything().html())
    sources = [attrs["src"] for attrs in page.attributes_of("img")]
    assert len(sources) == 1
    assert b"<svg" in base64.b64decode(sources[0].partition(",")[2])


def test_nothing_given_is_markup():
    html = everything(NASTY, NASTY).html()
    page, harmless = Page(html), Page(everything().html())
    assert [tag for tag, _, _ in page.tags] == [tag for tag, _, _ in harmless.tags]
    assert "49" not in "".join(page.text_of("td"))
    for tag in ("title", "h1", "h2", "h3", "p", "dt", "dd", "td", "button"):
        assert NASTY in page.text_of(tag), tag
    assert page.attributes_of("img")[0]["alt"] == NASTY


@given(st.text(st.sampled_from("<>&\"'`/!-= \n{}%#ab1(é"), min_size=1))
def test_any_text_is_shown_as_it_is(text):
    report = Report(text, text).section(text).text(text).facts({text: text}).table(pl.DataFrame({text: [text]}))
    page = Page(report.html())
    assert [tag for tag, _, _ in page.tags].count("td") == 1
    for tag in ("h1", "h2", "p", "dt", "dd", "th"):
        assert text in page.text_of(tag), tag
    assert "".join(t for tag, t in page.texts if tag in ("td", "span")).replace(" ", "") == text.replace(" ", "")


def test_numbers_are_aligned_and_the_best_row_stands_out():
    page = Page(everything().html())
    rows = page.attributes_of("tr")
    assert [row.get("class") for row in rows] == [None, "best", None, None, None, None]
    cells = page.attributes_of("td")
    assert [cell.get("class") for cell in cells] == [None, "number"] * 4
    assert page.text_of("span")[0] == "(0.2400-0.2600)"
    assert page.text_of("td")[1].strip() == "0.2500"
    texts = Page(Report("A").table(pl.DataFrame({"name": ["kind (of) milk", "x (y)"]})).html())
    assert texts.text_of("td") == ["kind (of) milk", "x (y)"]


def test_facts_keep_every_digit():
    page = Page(Report("A").facts({"alpha": 1e-6, "seed": None, "factors": 4}).html())
    assert page.text_of("dd") == ["1e-06", "None", "4"]


def test_figures_that_follow_each_other_stand_side_by_side():
    made = figure()
    report = Report("A").figure(made, "one").figure(made, "two").text("between").figure(made, "three")
    page = Page(report.html())
    classes = [attrs.get("class") for tag, attrs, _ in page.tags if tag in ("div", "p", "img")]
    assert classes == ["figures", None, None, None, "figures", None]
    assert [image["alt"] for image in page.attributes_of("img")] == ["one", "two", "three"]
    assert all(around[-1] == "figure" for tag, _, around in page.tags if tag == "img")


def test_the_page_fits_a_phone():
    page = Page(everything().html())
    viewport = [meta["content"] for meta in page.attributes_of("meta") if meta.get("name") == "viewport"]
    assert viewport == ["width=device-width, initial-scale=1"]
    assert all(box["tabindex"] == "0" for box in page.attributes_of("div") if box.get("class") == "wide")
    assert re.search(r"\.wide \{[^}]*overflow-x: auto", STYLE)
    assert "overflow-wrap: break-word" in STYLE
    fixed = re.findall(r"(?<![\w-])(?:min-)?width: ([\d.]+)(rem|px|em)", STYLE)
    assert fixed, "the first column has a least width"
    assert all(float(number) * (1 if unit == "px" else 16) <= 390 for number, unit in fixed)
    least = re.findall(r"minmax\(([^)]*\)|[\w.]+),", STYLE)  # of columns: nothing, or never more than there is
    assert set(least) == {"0", "min(100%, 20rem)"}


def test_dark_and_printed_pages_have_their_style():
    assert "@media screen and (prefers-color-scheme: dark)" in STYLE
    assert re.search(r"@media print \{.*\.wide \{ overflow: visible; \}", STYLE, re.DOTALL)


def test_the_same_figure_gives_the_same_image():
    first, second = (Page(Report("A").figure(figure(), "x").html()) for _ in range(2))
    assert first.attributes_of("img") == second.attributes_of("img")


def test_writes_as_a_whole(tmp_path):
    Report("Ünïcødé").write(tmp_path / "r.html")
    assert "<h1>Ünïcødé</h1>" in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [tmp_path / "r.html"]
    with pytest.raises(cf.ParameterError, match=r"\.html"):
        Report("A").write(tmp_path / "r.pdf")
