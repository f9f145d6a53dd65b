"""The report in a real browser: what nobody sees in its source."""

import json
import re

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from chromium import CONTRAST, DESKTOP, PHONE, started
from cofactor.evaluation.measure import measure
from cofactor.evaluation.unseen import unseen

NASTY = '<img src=x onerror="window.hacked = 1"><script>window.hacked = 1</script>'
pytestmark = pytest.mark.slow  # a browser and many pages: half a minute

SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])


@pytest.fixture(scope="module")
def browser():
    with started() as chromium:
        yield chromium


def made():
    """A report with every section, of items with nasty and with long names."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 80, 2400), np.minimum(rng.geometric(0.05, 2400), 60)
    log = pl.DataFrame({"u": users, "i": items, "t": rng.integers(1_700_000_000, 1_710_000_000, 2400)})
    train, test = cf.split.random(cf.read_events(log, user="u", item="i", time="t"), 0.3)
    long_name = "a-model-with-quite-a-long-name-that-goes-on-and-on+popular"
    models = {"als": cf.ImplicitALS(4, iterations=3), long_name: cf.ItemKNN(), "popular": cf.Popular()}
    x = train.interactions()
    pairs = unseen(test.pairs(), x)
    board = cf.compare(models, x, pairs, ["ndcg@10", "recall@10", "coverage@10"], intervals=True)
    broken = {name: ["broken" if name == "model" else None] for name in board.columns}
    board = pl.concat([board, pl.DataFrame(broken, schema=board.schema)])
    measured = {name: measure(model, pairs, "ndcg@10") for name, model in models.items()}
    tests = cf.paired_tests({name: found.per_user() for name, found in measured.items()})
    grid = [(factors, alpha) for factors in (4, 8, 16) for alpha in (0.01, 1.0, 100.0)]
    trials = pl.DataFrame(grid, schema=["factors", "alpha"], orient="row").with_columns(value=pl.Series(rng.random(9)))
    names = {item: f"{NASTY} {'W' * 60 if item % 2 else 'a kind of milk'} {item}" for item in range(61)}
    known = {"models": models, "train": train, "test": pairs, "measured": measured, "tests": tests, "names": names}
    return cf.make_report(board, **known, trials=trials, title=f"Shop {NASTY}", lead="What will they buy?")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "r.html"
    made().write(path)
    return path


@pytest.fixture
def shown(browser, file):
    """Opens the report; every context is closed, and nothing went wrong in any of them."""
    opened, wrong = [], []

    def show(path=file, viewport=DESKTOP, scheme="light", **options):
        context = browser.new_context(viewport=viewport, color_scheme=scheme, **options)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: request.url == path.as_uri() or wrong.append(request.url))
        page.goto(path.as_uri())
        opened.append(context)
        return page

    yield show
    for context in opened:
        context.close()
    assert wrong == []


@SCHEMES
@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_the_page_never_scrolls_sideways(shown, width, scheme):
    page = shown(viewport={"width": width, "height": 800}, scheme=scheme)
    page.eval_on_selector_all("details", "all => all.forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = """all => all.filter((one) => !one.closest(".wide") && one.getBoundingClientRect().right > innerWidth + 1)
                        .map((one) => one.outerHTML.slice(0, 200))"""
    assert page.eval_on_selector_all("main *, header *", wide) == []


@SCHEMES
def test_texts_can_be_read(shown, scheme):
    page = shown(scheme=scheme)
    page.eval_on_selector_all("details", "all => all.forEach((one) => { one.open = true; })")
    n, (least, text) = page.evaluate(CONTRAST)
    assert n > 300
    assert least >= 4.5, text
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")


def test_texts_and_buttons_are_large_enough_for_a_phone(shown):
    page = shown(viewport=PHONE)
    sizes = """all => all.map((one) => parseFloat(getComputedStyle(one).fontSize) * one.getScreenCTM().a)"""
    assert min(page.eval_on_selector_all(".chart-plot text:not(.chart-inside)", sizes)) >= 11
    heights = page.eval_on_selector_all(
        "nav a, .chart-legend button, summary, th button", "all => all.map((one) => one.getBoundingClientRect().height)"
    )
    assert min(heights) >= 24
    heads = "all => all.map((one) => new Set([...one.querySelectorAll('th button')].map((h) => h.offsetHeight)).size)"
    assert max(page.eval_on_selector_all("thead tr", heads)) == 1  # the arrow of a narrow column takes no second line
    labels = """all => all.map((one) => { const a = one.getBoundingClientRect();
                  return [a.left, a.right, a.top, a.bottom]; })"""
    for plot in page.query_selector_all(".chart-plot"):
        boxes = plot.eval_on_selector_all("text:not(.chart-inside)", labels)
        for n, (left, right, top, bottom) in enumerate(boxes):
            for other in boxes[:n]:
                apart = right <= other[0] or other[1] <= left or bottom <= other[2] + 3 or other[3] <= top + 3
                assert apart, plot.text_content()


def test_nothing_given_runs(shown):
    page = shown()
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    assert page.locator("h1").text_content() == f"Shop {NASTY}"
    assert page.locator(f"td:has-text('{'W' * 60}')").count() > 0


def test_a_script_that_was_smuggled_in_does_not_run(browser, file, tmp_path):
    smuggled = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'></main>"
    path = tmp_path / "smuggled.html"
    path.write_text(file.read_text(encoding="utf-8").replace("</main>", smuggled), encoding="utf-8")
    page = browser.new_page()
    told = []
    page.on("console", lambda message: told.append(message.text))
    page.goto(path.as_uri())
    assert page.evaluate("window.hacked") is None
    assert sum("Content Security Policy" in text for text in told) >= 3  # the script, the image, its handler
    page.close()


def tip(page):
    box = page.locator(".chart-tip")
    return box.text_content() if box.is_visible() else None


def inside(page):
    box, size = page.locator(".chart-tip").bounding_box(), page.viewport_size
    right, bottom = box["x"] + box["width"], box["y"] + box["height"]
    return min(box["x"], box["y"]) >= 0 and right <= size["width"] and bottom <= size["height"]


def look_at(page, locator):
    """Scroll there; the scrolling, which hides what is told, is over then."""
    locator.scroll_into_view_if_needed()
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_charts_tell_what_is_pointed_at(shown, viewport):
    page = shown(viewport=viewport)
    bar = page.locator(".chart-bars li[data-tip]").first
    look_at(page, bar)
    bar.hover()
    assert tip(page) == bar.get_attribute("data-tip")
    assert inside(page)
    for plot in page.locator(".chart-plot").all():
        look_at(page, plot)
        box = plot.bounding_box()
        for share in (0.15, 0.6, 0.97):
            page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
            assert tip(page) in [text for _, _, text, _ in json.loads(plot.get_attribute("data-tips"))]
            assert inside(page)
            assert plot.locator(".chart-spot").get_attribute("visibility") == "visible"
    look_at(page, page.locator("h1"))
    page.locator("h1").hover()
    assert tip(page) is None
    assert page.locator(".chart-spot[visibility=visible]").count() == 0
    cell = page.locator(".chart-grid td[data-tip]").first
    look_at(page, cell)
    cell.hover()
    assert tip(page) == cell.get_attribute("data-tip")


PLACE = """(plot, [x, y]) => {
  const { x: left, y: top } = new DOMPoint(x, y).matrixTransform(plot.getScreenCTM());
  return [left, top];
}"""


def test_the_nearest_point_is_told(shown):
    page = shown()
    plot = page.locator(".chart-plot").first
    look_at(page, plot)
    for x, y, text, _ in json.loads(plot.get_attribute("data-tips")):
        at = plot.evaluate(PLACE, [x, y])
        page.mouse.move(*at)
        assert tip(page) == text


def test_a_finger_is_answered(shown):
    page = shown(viewport=PHONE, has_touch=True)
    bar = page.locator(".chart-bars li[data-tip]").nth(1)
    look_at(page, bar)
    bar.tap()
    assert tip(page) == bar.get_attribute("data-tip")
    look_at(page, page.locator(".chart-plot").first)
    page.locator(".chart-plot").first.tap()
    assert tip(page) != bar.get_attribute("data-tip")
    page.locator("h1").tap()
    assert tip(page) is None


def test_the_keyboard_goes_from_point_to_point(shown):
    page = shown()
    plot = page.locator(".chart-plot").first
    tips = [text for _, _, text, _ in json.loads(plot.get_attribute("data-tips"))]
    plot.focus()
    for expected in (tips[0], tips[1], tips[2 % len(tips)]):
        page.keyboard.press("ArrowRight")
        assert tip(page) == expected
    page.keyboard.press("ArrowLeft")
    assert tip(page) == tips[1]
    box = page.locator(".chart-tip")
    before = box.bounding_box()["y"]
    page.evaluate("window.scrollBy(0, 10)")
    look_at(page, plot)
    assert tip(page) == tips[1]
    assert box.bounding_box()["y"] == pytest.approx(before - 10, abs=1)
    page.keyboard.press("Escape")
    assert tip(page) is None


def test_a_name_under_a_chart_hides_and_shows_its_line(shown):
    page = shown()
    figure = page.locator("figure", has=page.locator(".chart-legend")).nth(2)
    plot, button = figure.locator(".chart-plot"), figure.locator(".chart-legend button").first
    line = plot.locator("g[data-series='0']")
    first = [text for _, _, text, series in json.loads(plot.get_attribute("data-tips")) if series == 0]
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert not line.is_visible()
    plot.focus()
    page.keyboard.press("ArrowRight")
    assert tip(page) not in first
    button.click()
    assert line.is_visible()


def test_a_click_sorts(shown):
    page = shown()
    table = page.locator("table").first
    names = ["td:first-child", "td:nth-child(2)"]

    def column(n):
        return [text.strip() for text in table.locator(f"tbody {names[n]}").all_text_contents()]

    model, metric = table.locator("th button").nth(0), table.locator("th button").nth(1)
    models, values = column(0), column(1)
    assert values[-1] == ""  # the model that failed
    model.click()
    assert column(0) == sorted(models)
    assert table.locator("th").first.get_attribute("aria-sort") == "ascending"
    metric.click()
    assert column(1) == values
    metric.click()
    assert column(1) == [*values[-2::-1], ""]
    assert table.locator("[aria-sort]").count() == 1
    assert table.locator("th").nth(1).get_attribute("aria-sort") == "ascending"


@SCHEMES
def test_a_printed_page_is_whole_and_light(shown, scheme):
    page = shown(scheme=scheme)
    folded = page.locator("details:not([open])").count()
    assert folded == 2
    page.locator(".chart-bars li").first.hover()
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    assert tip(page) is None
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() == folded
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(31, 41, 51)"
    page.set_viewport_size({"width": 672, "height": 1000})  # A4 without its margins
    page.eval_on_selector_all("details", "all => all.forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= 672
    pdf = page.pdf(format="A4", margin=dict.fromkeys(("top", "bottom", "left", "right"), "16mm"))
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 3


def test_the_page_is_there_without_scripts(shown):
    page = shown(java_script_enabled=False)
    assert page.locator(".chart-line").first.is_visible()
    assert page.locator(".chart-bars li").first.is_visible()
    assert page.locator("table").first.is_visible()


def test_links_lead_to_their_sections(shown):
    page = shown()
    links = page.locator("nav a")
    assert links.count() == 7
    for link in links.all():
        assert page.locator(link.get_attribute("href")).text_content() == link.text_content()


@SCHEMES
def test_a_notebook_shows_charts_and_reports(shown, tmp_path, scheme):
    board = pl.DataFrame({"model": ["a", "b"], "ndcg@10": [0.2, 0.1], "fit_seconds": [2.0, 1.0]})
    charts = [cf.plots.leaderboard(board), cf.plots.pareto(board)]
    cells = "".join(chart._repr_html_() for chart in charts) + cf.Report("Inner").chart(charts[1])._repr_html_()
    dark = "body { background: #14191f; color: #e4e7eb; }" if scheme == "dark" else ""
    path = tmp_path / "notebook.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><style>{dark}</style><body>{cells}", encoding="utf-8")
    page = shown(path)
    assert page.locator(".chart-tip").count() == 1
    page.locator(".chart-bars li").nth(1).hover()
    assert tip(page) == "b\nndcg@10 0.1000"
    assert page.evaluate(CONTRAST)[1][0] >= 4.5
    inner = page.frame_locator("iframe")
    inner.locator(".chart-plot").hover()
    assert inner.locator(".chart-tip").is_visible()
