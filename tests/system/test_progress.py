"""Bars of terminals, of notebooks with widgets, and of notebooks without."""

import sys
from types import SimpleNamespace

import pytest
from tqdm import tqdm

from cofactor.system import progress
from cofactor.system.progress import at_every_step, in_notebook, progress_bar


def shell(monkeypatch, config):
    """IPython as it was imported by whoever runs it."""
    ipython = SimpleNamespace(get_ipython=lambda: None if config is None else SimpleNamespace(config=config))
    monkeypatch.setitem(sys.modules, "IPython", ipython)


@pytest.mark.parametrize(
    ("config", "expected"), [(None, False), ({"TerminalIPythonApp": {}}, False), ({"IPKernelApp": {}}, True)]
)
def test_a_notebook_is_told_by_its_kernel(monkeypatch, config, expected):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not in_notebook()
    shell(monkeypatch, config)
    assert in_notebook() == expected


@pytest.mark.parametrize(("asked", "shown"), [(None, False), (True, True), (False, False)])
def test_where_stderr_is_no_terminal_a_bar_is_shown_on_request(monkeypatch, asked, shown):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    with progress_bar("x", asked, total=3) as bar:
        assert bar.disable != shown


@pytest.mark.parametrize(("asked", "shown"), [(None, True), (True, True), (False, False)])
def test_a_notebook_shows_bars_by_default(monkeypatch, asked, shown):
    shell(monkeypatch, {"IPKernelApp": {}})
    monkeypatch.setattr(progress, "find_spec", lambda name: None)  # no widgets: the bar is text
    with progress_bar("x", asked, total=3) as bar:
        assert type(bar) is tqdm
        assert bar.disable != shown


def test_a_notebook_with_widgets_has_its_own_bar(monkeypatch):
    from tqdm.notebook import tqdm as widget

    shell(monkeypatch, {"IPKernelApp": {}})
    monkeypatch.setattr(progress, "find_spec", lambda name: name)
    with progress_bar("x", False, total=3) as bar:  # hidden: widgets themselves need not be installed
        assert type(bar) is widget


@pytest.mark.parametrize("asked", [True, False])
def test_somebody_hears_of_every_step_and_may_end_the_work(asked):
    heard = []

    def call():
        heard.append(1)
        if len(heard) == 3:
            raise TimeoutError

    with at_every_step(call), progress_bar("x", asked, total=9) as bar:
        bar.update()
        bar.update()
        with pytest.raises(TimeoutError):
            bar.update()
    with progress_bar("x", asked, total=9) as bar:
        bar.update()
    assert len(heard) == 3
