"""The page in a real browser, against the real service."""

import json
import socket
import threading
import time
from contextlib import contextmanager
from urllib.parse import quote

import numpy as np
import polars as pl
import pytest

import cofactor as cf
from chromium import CONTRAST, DESKTOP, PHONE, started

uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'cofactor[serve]'")
settings = pytest.importorskip("cofactor.serve.settings")

pytestmark = pytest.mark.slow  # a browser and a server
NASTY = '<img src=x onerror="window.hacked = 1"><script>window.hacked = 1</script>'
IDS = ["a/b", "50%", "it's", '"q"', "ünï 牛乳", NASTY, "x?y=1#z", "12", "&amp;", "a b"]
IDS += [f"sku-{n:03}" for n in range(30)]
N_USERS = 40
KEY = "a-key-of-sixteen-letters-or-more"


@contextmanager
def serving(app):
    """A server in a thread; gives its address."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield f"http://127.0.0.1:{sock.getsockname()[1]}/"
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two models of a small shop, and a table of its items."""
    path = tmp_path_factory.mktemp("shop")
    rng = np.random.default_rng(0)
    users = rng.integers(0, N_USERS, 1200)
    items = (users % 4 * 9 + rng.geometric(0.15, 1200)) % len(IDS)
    log = pl.DataFrame({"user_id": [f"user {u}/%" for u in users], "item_id": [IDS[i] for i in items]})
    x = cf.read_events(log, user="user_id", item="item_id").interactions()
    cf.ImplicitALS(8, iterations=4, seed=0).fit(x).save(path / "als")
    cf.Popular().fit(x).save(path / "popular")
    table = pl.DataFrame(
        {
            "item_id": IDS,
            "name": [f"{NASTY} milk", "Goat's cheese", *[f"Kind of bread no {n}" for n in range(2, len(IDS))]],
            "category": [("dairy", "bakery", NASTY, "it's")[n % 4] for n in range(len(IDS))],
            "price": np.round(np.linspace(0.5, 9.5, len(IDS)), 2),
            "image": ["javascript:window.hacked=1", "not a url", *[None] * (len(IDS) - 2)],
        }
    )
    table.write_parquet(path / "items.parquet")
    return path


@pytest.fixture(scope="module")
def address(folder):
    chosen = settings.Settings(
        models={"als": str(folder / "als"), "popular": str(folder / "popular")}, items=str(folder / "items.parquet")
    )
    with serving(settings.make_app(chosen)) as at:
        yield at


@pytest.fixture(scope="module")
def browser():
    with started() as chromium:
        yield chromium


@pytest.fixture
def shown(browser, address):
    """Opens the page in a state; nothing goes wrong in any, and nothing is asked of elsewhere."""
    opened, wrong = [], []

    def show(viewport=DESKTOP, scheme="light", at=address, allowed=(), key=None, **state):
        context = browser.new_context(viewport=viewport, color_scheme=scheme)
        page = context.new_page()
        page.set_default_timeout(8000)
        page.on("console", lambda message: any(one in message.text for one in allowed) or wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: request.url.startswith(at) or wrong.append(request.url))
        page.goto(f"{at}#{quote(json.dumps(state))}" if state else at)
        opened.append(context)
        if key is not None:
            page.get_by_label("Key for reading").fill(key)
            page.keyboard.press("Enter")
        page.wait_for_selector("#lists .items li")
        settled(page)
        return page

    yield show
    for context in opened:
        context.close()
    assert wrong == []


def settled(page):
    """Wait until the lists are those of what is chosen now."""
    page.locator("#lists[aria-busy=false]").wait_for()


def names(page, at=0):
    return page.locator("#lists ol").nth(at).locator(".name").all_text_contents()


USER = "user 3/%"


def test_nobody_gets_what_is_popular_and_somebody_a_list(shown):
    page = shown()
    assert len(names(page)) == 10
    assert "Nobody yet" in page.locator("#who").text_content()
    assert "popular items" in page.locator("#lists .list-head").text_content()
    page.get_by_label("Somebody the model knows").fill("user 3")
    page.get_by_role("option", name="user 3/%").click()
    page.locator("#who", has_text="user 3/% has").wait_for()
    settled(page)
    assert "as learned in training" in page.locator("#lists .list-head").text_content()
    assert "ms in the server" in page.locator("#lists .list-head").text_content()
    had = set(page.locator("#history .name").all_text_contents())
    assert had
    assert not had & set(names(page))
    page.get_by_label("What they had before may come again").check()
    settled(page)
    assert had & set(names(page))


def test_a_history_is_put_together_by_the_keyboard_alone(shown):
    page = shown()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "add"
    page.keyboard.type("chese")  # an error is forgiven
    page.get_by_role("option", name="Goat's cheese").wait_for()
    assert page.locator("#add").get_attribute("aria-expanded") == "true"
    page.keyboard.press("Enter")
    page.locator("#history li").wait_for()
    settled(page)
    assert "worked out from this history" in page.locator("#lists .list-head").text_content()
    page.keyboard.type("bread")
    page.locator("#add-1").wait_for()
    first = page.locator("#add-1").text_content()
    page.keyboard.press("ArrowDown")
    assert page.locator("#add").get_attribute("aria-activedescendant") == "add-1"
    page.keyboard.press("Enter")
    page.locator("#history li").nth(1).wait_for()
    assert page.locator("#history .name").first.text_content() in first
    page.keyboard.type("b")
    page.locator("#add-found").wait_for()
    page.keyboard.press("Escape")
    assert not page.locator("#add-found").is_visible()
    page.get_by_role("button", name="Take Goat's cheese out of the history").focus()
    page.keyboard.press("Enter")
    settled(page)
    assert page.locator("#history li").count() == 1
    page.get_by_role("button", name="Start again").click()
    settled(page)
    assert page.locator("#history li").count() == 0


def test_a_known_person_is_copied_and_changed(shown):
    page = shown(user=USER)
    known = page.locator("#history li").count()
    page.get_by_role("button", name="Copy as a new person").click()
    settled(page)
    assert "A new person" in page.locator("#who").text_content()
    assert page.locator("#history li").count() >= known
    before = names(page)
    page.locator("#history .icon").first.click()
    settled(page)
    assert names(page) != before


def test_an_item_shows_what_is_similar_and_can_be_added(shown):
    page = shown(user=USER)
    button = page.locator("#lists .item").first
    name = button.locator(".name").text_content()
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name=name)
    dialog.locator("ol li").nth(9).wait_for()
    assert dialog.locator("dt").all_text_contents()[0] == "id"
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert page.evaluate("document.activeElement.className") == "item"  # where one was
    button.click()
    similar = dialog.locator("ol .name").first.text_content()
    dialog.locator("ol .item").first.click()
    page.get_by_role("dialog", name=similar).wait_for()
    page.get_by_role("button", name="Close").click()
    button.click()
    page.get_by_role("button", name="Add to the history").click()
    settled(page)
    assert page.locator("#history .name").first.text_content() == name
    assert name not in names(page)


def test_ids_of_all_kinds_lead_to_their_item(shown):
    """By path, by body and back."""
    page = shown(added=[{"item": item} for item in IDS[:10]])
    for n, item in enumerate(IDS[:10]):
        page.locator("#history .item").nth(n).click()
        page.locator("dialog ol li").nth(9).wait_for()
        assert page.locator("dialog dd").first.text_content() == item
        page.keyboard.press("Escape")
    assert page.evaluate("window.hacked") is None


def test_why_is_told_on_hover_and_on_a_click(shown):
    page = shown(user=USER)
    row = page.locator("#lists li").nth(1)
    row.hover()
    tip = page.get_by_role("tooltip")
    tip.wait_for()
    assert tip.text_content().startswith("Because of\n")
    assert page.locator("#history li.because").count() > 0
    page.locator("h1").hover()
    assert not tip.is_visible()
    why = row.get_by_role("button", name="Why")
    why.focus()
    page.keyboard.press("Enter")
    row.locator(".why li").first.wait_for()
    assert why.get_attribute("aria-expanded") == "true"
    shares = [int(text.split()[0].replace("\N{MINUS SIGN}", "-")) for text in row.locator(".share").all_text_contents()]
    assert 0 < sum(shares) <= 101
    page.keyboard.press("Enter")
    assert row.locator(".why").count() == 0


def test_sliders_and_filters_change_the_list(shown):
    page = shown(user=USER, allowed=["422"])
    page.get_by_label("Length of the list").fill("3")
    settled(page)
    assert len(names(page)) == 3
    page.locator("summary").click()
    page.get_by_label("category").select_option("it's")
    settled(page)
    assert set(page.locator("#lists .more").all_text_contents())
    assert all(text.startswith("it's") for text in page.locator("#lists .more").all_text_contents())
    assert page.locator("#n-filters").text_content() == ": category = 'it''s'"
    slider = page.get_by_role("slider", name="price")
    slider.fill("16")
    settled(page)
    prices = [float(text.rsplit(" ", 1)[1]) for text in page.locator("#lists .more").all_text_contents()]
    assert prices
    most = slider.get_attribute("aria-valuetext")
    assert most.startswith("at most ")
    assert max(prices) <= float(most.rsplit(" ", 1)[1]) < 6
    page.get_by_label("In words").fill("prise < 5")
    page.locator("#filter-wrong:not(:empty)").wait_for()
    assert "no column 'prise'" in page.locator("#filter-wrong").text_content()
    assert page.locator("#filter").get_attribute("aria-describedby") == "filter-help filter-wrong"
    page.get_by_label("In words").fill("name = nothing")
    page.get_by_text("No item is left by this filter.").wait_for()
    assert page.locator("#filter-wrong").text_content() == ""


def test_two_models_side_by_side(shown):
    page = shown(user=USER)
    page.get_by_label("Compare with").select_option("popular")
    page.locator("#lists ol").nth(1).wait_for()
    settled(page)
    assert page.get_by_role("list", name="Recommended by popular").count() == 1
    one, two = names(page), names(page, 1)
    assert f"{len(set(one) & set(two))} of 10 in both lists" in page.locator(".list-head").first.text_content()
    assert page.locator(".only").count() == 2 * (10 - len(set(one) & set(two)))
    boxes = [page.locator("#lists ol").nth(n).bounding_box() for n in (0, 1)]
    assert boxes[0]["y"] == boxes[1]["y"]


def test_what_the_server_refuses_is_told_and_the_rest_stays(shown):
    page = shown(user=USER, allowed=["404", "422"])
    page.get_by_label("Compare with").select_option("previous")
    page.locator("#lists .wrong").wait_for()
    assert len(names(page)) == 10
    page = shown(user="nobody", allowed=["404"])
    assert page.get_by_role("alert").text_content() == "user 'nobody' is not known"


def test_the_address_brings_the_same_page_back(shown):
    page = shown(user=USER, k=4, second="popular", parts=["category = dairy"], words="price > 1")
    assert len(names(page)) == len(names(page, 1)) == 4
    assert all(text.startswith("dairy") for text in page.locator("#lists .more").all_text_contents())
    before = names(page)
    page.reload()
    page.wait_for_selector("#lists .items li")
    settled(page)
    assert names(page) == before
    assert page.locator("#filter-category").input_value() == "dairy"
    assert page.locator("#filter").input_value() == "price > 1"


def test_nothing_given_runs(shown):
    page = shown(user=USER, k=40, repeats=True)
    assert any(NASTY in name for name in names(page))
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img").count() == 0


def test_numbers_beyond_those_of_javascript_stay_themselves(shown):
    page = shown()
    there_and_back = """async () => { const { parse, write } = await import("./page/calls.js");
                          return write(parse('{"item": 9007199254740993, "n": 12, "s": "12", "x": 0.5}')); }"""
    assert page.evaluate(there_and_back) == '{"item":9007199254740993,"n":12,"s":"12","x":0.5}'


@pytest.mark.parametrize(
    ("width", "scheme"), [(320, "light"), (390, "dark"), (768, "light"), (1280, "light"), (1280, "dark")]
)
def test_the_page_never_scrolls_sideways_and_can_be_read(shown, width, scheme):
    page = shown({"width": width, "height": 800}, scheme, user=USER, second="popular", parts=["category = dairy"])
    page.locator("summary").click()
    page.locator("#lists .icon").first.click()
    page.locator(".why li").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = """all => all.filter((one) => one.checkVisibility() && one.getBoundingClientRect().right > innerWidth + 1)
                        .map((one) => one.outerHTML.slice(0, 200))"""
    assert page.eval_on_selector_all("main *, header *", wide) == []
    n, (least, text) = page.evaluate(CONTRAST)
    assert n > 60
    assert least >= 4.5, text
    page.locator("#lists .item").first.click()
    page.locator("dialog ol li").nth(5).wait_for()
    box = page.locator("dialog[open]").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    assert page.evaluate(CONTRAST)[1][0] >= 4.5


NAMELESS = """() => [...document.querySelectorAll("button, input, select, summary, [role=listbox], ol, ul")]
  .filter((one) => one.checkVisibility())
  .filter((one) => !(one.ariaLabel || one.labels?.length || one.textContent.trim()))
  .map((one) => one.outerHTML.slice(0, 100))"""


def test_everything_has_a_name_and_is_large_enough_for_a_finger(shown):
    page = shown(PHONE, user=USER, added=[{"item": IDS[0]}])
    page.locator("summary").click()
    assert page.evaluate(NAMELESS) == []
    sizes = "all => all.filter((one) => one.checkVisibility()).map((one) => one.getBoundingClientRect().height)"
    assert min(page.eval_on_selector_all("button, select, summary, .check, input:not([type=checkbox])", sizes)) >= 24
    ids = page.eval_on_selector_all("[id]", "all => all.map((one) => one.id)")
    assert len(ids) == len(set(ids))


def test_a_key_is_asked_for(shown, folder, tmp_path):
    keys = tmp_path / "keys.toml"
    keys.write_text(f'[page]\nkey = "{KEY}"\nrole = "read"\n')
    app = settings.make_app(settings.Settings(models={"als": str(folder / "als")}, keys=str(keys)))
    with serving(app) as at:
        page = shown(at=at, allowed=["401"], key=KEY)
        assert len(names(page)) == 10
        assert names(page)[0] in IDS  # there is no table of items
        assert not page.locator("#filters").is_visible()
        page.reload()
        page.wait_for_selector("#lists .items li")  # it is asked once
        page.get_by_label("Add something they liked").fill("sku-00")
        page.get_by_role("option", name="sku-007").click()
        page.locator("#history li").wait_for()
