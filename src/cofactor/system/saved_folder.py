"""The folder of a saved model: which files are the model's, who may replace them, and what goes when they are replaced.

``model.json`` names the other files, whose names hold a number that no other save has. Whoever puts another
``model.json`` in its place has replaced the whole model in one step. See ``docs/decisions/0009``.
"""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cofactor.errors import ArtifactError
from cofactor.system.folders import sha256

if TYPE_CHECKING:
    from collections.abc import Collection, Container

__all__ = [
    "ENDINGS", "FORMAT", "HEADER", "check_writable", "file_names", "files_to_replace", "place", "read_header", "sweep",
]  # fmt: skip

FORMAT = 2
HEADER = "model.json"
ENDINGS = {"arrays": ".safetensors", "users": ".parquet", "items": ".parquet"}
_OURS = re.compile(r"(arrays-[0-9a-f]{16}\.safetensors|(users|items)-[0-9a-f]{16}\.parquet|\.model-[0-9a-f]{16}\.json)")
_FORMAT_1 = {f"{kind}{ending}" for kind, ending in ENDINGS.items()}
_ABANDONED = 24 * 3600  # seconds after which a file that nobody names is nobody's, where there are no locks
_DAMAGED = "is damaged: {}; save the model again"
_NOT_A_MODEL = "{} exists and is not just a saved model; choose another folder, nothing was overwritten"


def place(folder: str | Path) -> Path:
    """A folder as the user named it, ``~`` understood."""
    try:
        return Path(folder).expanduser()
    except RuntimeError as error:
        raise ArtifactError(f"{folder} is no folder: {error}") from error


def read_header(folder: str | Path) -> dict[str, Any]:
    """What ``model.json`` says, after a check of its format and of the types of what it says.

    Raises
    ------
    ArtifactError
        There is no such file, it cannot be read, is damaged, or of a newer format.
    """
    folder = place(folder)
    path = folder / HEADER
    try:
        there = path.is_file()
        data = path.read_bytes() if there else b""
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{folder} cannot be read: {error}") from error
    if not there:
        left = sorted(folder.absolute().parent.glob(f".{folder.absolute().name}.old-*"))
        hint = f"; an interrupted save left the former model in {left[-1]}, rename it back" if left else ""
        raise ArtifactError(f"{folder} is not a saved model: it has no {HEADER}{hint}")
    try:
        header = json.loads(data)
        number = header["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(f"{path} {_DAMAGED.format(error)}") from error
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= FORMAT:
        raise ArtifactError(
            f"{folder} has format {number}, this cofactor reads 1 to {FORMAT}; upgrade cofactor or save the model again"
        )
    if wrong := _wrong(header):
        raise ArtifactError(f"{path} {_DAMAGED.format(wrong)}")
    return dict(header)


def _wrong(header: dict[str, Any]) -> str | None:
    """What a header lacks or has of another type than it must; it may say more than is known here."""
    for name, types in (("model", dict), ("counts", dict), ("sha256", dict), ("created", str), ("cofactor", str)):
        if not isinstance(header.get(name), types):
            return f"{name} is {header.get(name)!r}, not {'text' if types is str else 'a table'}"
    counts = header["counts"]
    for name in ("users", "items", "interactions"):
        if not _is_count(counts.get(name)):
            return f"counts: {name} is {counts.get(name)!r}, not a whole number of at least 0"
    for name, digest in header["sha256"].items():
        if not isinstance(digest, str):
            return f"sha256 of {name} is {digest!r}, not text"
    if missing := sorted(ENDINGS.keys() - file_names(header).keys()):
        return f"sha256 names no file of {missing[0]}"
    return _wrong_model(header["model"], "model")


def _wrong_model(model: dict[str, Any], where: str) -> str | None:
    for name, types in (("class", str), ("params", dict), ("state", dict)):
        if not isinstance(model.get(name), types):
            return f"{where}: {name} is {model.get(name)!r}, not {'text' if types is str else 'a table'}"
    for name, value in model["params"].items():
        for i, part in enumerate(value if isinstance(value, list) else ()):
            if isinstance(part, dict) and (wrong := _wrong_model(part, f"{where}: {name} {i}")):
                return wrong
    return None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def file_names(header: dict[str, Any]) -> dict[str, str]:
    """The files that a header names, by what they hold: arrays, users and items.

    Names that no save gives, such as those of files elsewhere, are passed over.
    """
    first = header["format"] == 1
    kinds = {re.split(r"[-.]", name)[0]: name for name in header["sha256"] if first or _OURS.fullmatch(name)}
    return {kind: kinds[kind] for kind in ENDINGS if kind in kinds and (not first or kinds[kind] in _FORMAT_1)}


def check_writable(folder: str | Path) -> None:
    """Raise ArtifactError unless a model can be saved there: asked before long work, not after it."""
    try:
        target = place(folder).resolve()
        if target.exists():
            if not _is_replaceable(target):
                raise ArtifactError(_NOT_A_MODEL.format(target))
            inside = target
        else:
            inside = next(p for p in target.parents if p.exists())
        if not inside.is_dir() or not os.access(inside, os.W_OK):
            raise ArtifactError(f"{target} cannot be written: {inside} is not a writable folder")
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{folder} cannot be written: {error}") from error


def _is_replaceable(target: Path) -> bool:
    """Whether a folder holds nothing but a saved model, even a damaged one, or what an interrupted save has left."""
    if not target.is_dir():
        return False
    others = {path.name for path in target.iterdir()}
    ours = {name for name in others if _OURS.fullmatch(name)}
    others -= ours
    if HEADER in others:
        data = (target / HEADER).read_bytes()
        try:
            header = json.loads(data)
        except (ValueError, RecursionError):
            if not ours and b'"cofactor"' not in data:
                return False
            header = {} if ours else {"format": 1}
        else:
            if not isinstance(header, dict) or "cofactor" not in header:
                return False
        others -= {HEADER, *_of_format_1(target, header)}
    return not others


def _of_format_1(folder: Path, header: dict[str, Any]) -> Collection[str]:
    """Files whose names are not a model's alone: those of a first format, and what an interrupted save left of them."""
    if header.get("format") == 1:
        return _FORMAT_1
    replaced = header.get("replaces")
    if not isinstance(replaced, dict):
        return []
    return [name for name, digest in replaced.items() if _is_the_same(folder, name, digest)]


def _is_the_same(folder: Path, name: str, digest: object) -> bool:
    return name in _FORMAT_1 and (folder / name).is_file() and sha256(folder / name) == digest


def files_to_replace(folder: Path) -> dict[str, str]:
    """Files of a model of the first format with their hashes: what the next header says that it replaces.

    Their names do not tell whose they are. Files of just this content go with the model, now or, where a save is
    interrupted, with the next one.
    """
    return {name: sha256(folder / name) for name in sorted(_FORMAT_1) if (folder / name).is_file()}


def sweep(folder: Path, own: Container[str], *, alone: bool) -> None:
    """Delete the files of models that ``model.json`` does not name (any more).

    Parameters
    ----------
    folder : Path
    own : names
        What the caller has written or replaced.
    alone : bool
        Nobody else is writing here: what nobody names has been left by a process that died.
    """
    there = (folder / HEADER).exists()
    try:
        header = read_header(folder) if there else None
    except ArtifactError:
        return  # what a damaged header names may still be of use
    named = file_names(header).values() if header else ()
    replaced = [folder / name for name in _of_format_1(folder, header)] if header else []
    for path in [*replaced, *(path for path in folder.iterdir() if _OURS.fullmatch(path.name))]:
        with suppress(OSError):  # gone already; or in use, on Windows: then a later save deletes it
            if path.name not in named and (alone or path.name in own or path in replaced or _is_abandoned(path)):
                path.unlink()


def _is_abandoned(path: Path) -> bool:
    return path.stat().st_mtime < time.time() - _ABANDONED
