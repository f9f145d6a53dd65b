"""A real headless browser for the tests of pages; where there is none, they are left out and say so."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}

# The least contrast of texts that are seen, with what they say. Opacity of an element counts for all inside it.
CONTRAST = r"""() => {
  const parse = (text) => { const v = text.match(/[\d.]+/g).map(Number); return [v[0], v[1], v[2], v[3] ?? 1]; };
  const over = (top, under) => [0, 1, 2].map((n) => top[n] * top[3] + under[n] * (1 - top[3]));
  const light = (color) => {
    const [r, g, b] = color.map((v) => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const ground = (one) => {
    const layers = [];
    for (let at = one; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
  };
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode.textContent.trim(), one = texts.currentNode.parentElement;
    if (!text || !one.checkVisibility() || one.matches("script, style, .chart-inside")) continue;
    const style = getComputedStyle(one), drawn = one instanceof SVGElement;
    const color = parse(drawn ? style.fill : style.color);
    if (drawn) color[3] *= Number(style.fillOpacity);
    for (let at = one; at; at = at.parentElement) color[3] *= Number(getComputedStyle(at).opacity);
    const under = ground(drawn ? one.closest("figure") : one);
    const [a, b] = [light(over(color, under)), light(under)].sort((x, y) => y - x);
    found.push([(a + .05) / (b + .05), text.slice(0, 60)]);
  }
  return [found.length, found.sort((a, b) => a[0] - b[0])[0]];
}"""


@contextmanager
def started():
    """Chromium of the machine, or of playwright."""
    hint = "playwright is not installed: pip install 'cofactor[browser]'"
    api = pytest.importorskip("playwright.sync_api", reason=hint)
    path = next(filter(None, map(shutil.which, NAMES)), None)
    with api.sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        if path is None and not Path(own).exists():
            pytest.skip("no Chromium: apt-get install chromium, or playwright install chromium")
        rooted = hasattr(os, "geteuid") and os.geteuid() == 0
        args = ["--no-sandbox"] if rooted else []  # which Chromium needs of root, as in a container
        try:
            launched = playwright.chromium.launch(executable_path=path, args=args)
        except api.Error as error:
            pytest.skip(f"the browser does not start: {str(error).splitlines()[0]}")
        yield launched
        launched.close()
