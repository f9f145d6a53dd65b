"""The line about leaks that commands print."""

from pathlib import Path
from typing import Any

from cofactor.data.events import Events
from cofactor.evaluation.leaks import check_leaks
from cofactor.models.base.saved import read_header

__all__ = ["leaks_of_saved"]


def leaks_of_saved(model: Any, folder: Path, test: Events) -> str:  # noqa: ANN401
    """What events give away that a saved model is measured by.

    It keeps no times of single events; ``cofactor train`` notes that of the newest, which is the cut.
    """
    log = read_header(folder).get("log")
    newest = log.get("newest") if isinstance(log, dict) else None
    if newest is None or test.time is None:
        return check_leaks(model.interactions_, test).summary
    told = check_leaks(model.interactions_, test, cut=newest).summary
    return f"{told}; the cut is {newest}, of the newest event that it was trained on"
