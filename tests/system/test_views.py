"""What notebooks show: escaped, whole, and never an error."""

from html.parser import HTMLParser

import pytest

from cofactor.system.views import Row, View, Viewed, ViewTable, brief

NASTY = "<script>alert(1)</script>\"'&amp;{{ 7 * 7 }}"


class Balanced(HTMLParser):
    """Reads a view, and checks that tags are closed in order."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.text = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data.strip())


class Shown(Viewed):
    def __init__(self, text):
        self.text = text

    def _view(self):
        t = self.text
        inner = View(t, t, {t: t})
        return View(t, t, {t: t}, [ViewTable(t, (t, t), [Row((t, t), strong=True)], folded=True)], [t], [inner])


def test_every_text_is_escaped():
    harmless, nasty = Balanced(Shown("x")._repr_html_()), Balanced(Shown(NASTY)._repr_html_())
    assert nasty.tags == harmless.tags
    assert nasty.text.count(NASTY) == harmless.text.count("x") == 14


class Broken(Viewed):
    def _view(self):
        raise ValueError

    def __repr__(self):
        return "Broken(<b>)"


class Ruined(Broken):
    def __repr__(self):
        raise ValueError


def test_a_view_never_raises():
    assert Broken()._repr_html_() == "<pre>Broken(&lt;b&gt;)</pre>"
    assert "Ruined object at" in Ruined()._repr_html_()


@pytest.mark.parametrize("value", ["a" * 10_000, list(range(10_000)), dict.fromkeys(range(100), "x" * 50)])
def test_values_are_brief(value):
    assert len(brief(value)) <= 200
    assert "\n" not in brief(value)
