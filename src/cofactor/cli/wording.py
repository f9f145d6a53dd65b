"""The library's messages in the words of the command line: ``time=`` becomes ``--time``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["in_options"]

# What a message about a call says, and what stays of it where there are no calls.
_CALLS = (
    (r"read_events\(\.\.\., (\w+=)(?:\.\.\.)?\)", r"\1"),
    (r"; make the interactions of (\w+=)", r"; give \1"),
    (r", or in the weight$", ""),
)
# Options that the library calls otherwise. Its half_life= is a parameter of models, which --param gives.
_CALLED = {"--half-life": "life", "--cap": "maximum"}
_ASSIGNMENT = r"\b(?P<name>[a-z_]+)=(?:(?P<quote>['\"])(?P<text>[^'\"]*)(?P=quote)|(?P<word>[\w.-]*))"


def in_options(message: str, options: Iterable[str]) -> str:
    """Write parameters as the options of a command.

    Parameters
    ----------
    message : str
        As the library words it.
    options : iterable of str
        Options of the command, such as ``--time-unit``; other names are left as they are.

    Examples
    --------
    >>> in_options("pass time_unit= if they are of one unit", ["--time-unit"])
    'pass --time-unit if they are of one unit'
    >>> in_options("anonymous='drop' leaves them out", ["--anonymous"])
    '--anonymous drop leaves them out'
    """
    for pattern, replacement in _CALLS:
        message = re.sub(pattern, replacement, message)
    if "--repeats" in (options := list(options)):  # a file calls it exclude_seen, too
        message = re.sub(r"\bexclude_seen=False\b", "repeats=", message)
    names = {
        _CALLED.get(option, option.removeprefix("--").replace("-", "_")): option
        for option in options
        if option.startswith("--")
    }

    def as_option(found: re.Match[str]) -> str:
        if found["name"] not in names:
            return found[0]
        value = found["text"] if found["text"] is not None else found["word"]
        return names[found["name"]] + (f" {value}" if value else "")

    return re.sub(_ASSIGNMENT, as_option, message)
