"""Folders of saved things: which files are theirs, who may replace them, and what goes when they are replaced.

A header (``model.json``) names the other files, whose names hold a number that no other save has. Whoever puts another
header in its place has replaced the whole in one step. See ``docs/decisions/0009``.
"""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import polars as pl

from cofactor.checks import check_path
from cofactor.errors import ArtifactError
from cofactor.system.folders import locked, sha256, sync_folder, written
from cofactor.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterator, Mapping
    from io import BufferedReader, BufferedWriter

__all__ = ["FolderKind", "as_json"]

_ABANDONED = 24 * 3600  # seconds after which a file that nobody names is nobody's, where there are no locks
_UNREADABLE = (
    *(OSError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError),
    *(pl.exceptions.PolarsError, pl.exceptions.PanicException),
)


def as_json(value: Any) -> str:  # noqa: ANN401
    """A value as JSON, numbers of NumPy among it; TypeError where it holds something else."""
    return json.dumps(value, indent=2, default=_number)


def _number(value: object) -> object:
    """What JSON does not know: the numbers of NumPy."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} is a {type(value).__name__}")


@dataclass(frozen=True)
class FolderKind:
    """A kind of thing that is saved as a folder.

    Parameters
    ----------
    told : str
        What it is, in messages: ``"a saved model"``.
    again : str
        What is to be saved again where it is damaged: ``"the model"``.
    header : str
        Name of the file that names the others.
    endings : mapping
        Of the names of the other files, by what they hold.
    counts : tuple of str
        What the header counts.
    format : int
        The newest one, which is written.
    optional : set of str
        Files that there may not be.
    unversioned : int
        The last format whose files had no number in their names.
    wrong : callable
        What a header says wrongly besides, in words, or None.
    others : mapping
        What a folder holds that has another header, and who reads it.
    """

    told: str
    again: str
    header: str
    endings: Mapping[str, str]
    counts: tuple[str, ...]
    format: int
    optional: frozenset[str] = frozenset()
    unversioned: int = 0
    wrong: Callable[[dict[str, Any]], str | None] = lambda header: None
    others: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def _ours(self) -> re.Pattern[str]:
        version = "[0-9a-f]{16}"
        files = [f"{kind}-{version}{re.escape(ending)}" for kind, ending in self.endings.items()]
        return re.compile("|".join([*files, re.escape(f".{Path(self.header).stem}-") + version + r"\.json"]))

    @cached_property
    def _unversioned_names(self) -> frozenset[str]:
        return frozenset(f"{kind}{ending}" for kind, ending in self.endings.items() if self.unversioned)

    # Reading.

    def read_header(self, folder: str | Path) -> dict[str, Any]:
        """What the header says, after a check of its format and of the types of what it says.

        Raises
        ------
        ArtifactError
            There is no such file, it cannot be read, is damaged, or of a newer format.
        """
        folder = check_path("folder", folder)
        path = folder / self.header
        try:
            there = path.is_file()
            data = path.read_bytes() if there else b""
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{folder} cannot be read: {error}") from error
        if not there:
            raise ArtifactError(f"{folder} is not {self.told}: it has no {self.header}{self._hint(folder)}")
        try:
            header = json.loads(data)
            number = header["format"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._damaged(path, error) from error
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= self.format:
            raise ArtifactError(
                f"{folder} has format {number}, this cofactor reads {'1 to ' * (self.format > 1)}{self.format}; "
                f"upgrade cofactor or save {self.again} again"
            )
        if wrong := self._wrong(header):
            raise self._damaged(path, wrong)
        return dict(header)

    def _hint(self, folder: Path) -> str:
        """What else there is where a header is missing."""
        left = sorted(folder.absolute().parent.glob(f".{folder.absolute().name}.old-*")) if self.unversioned else []
        if left:
            return f"; an interrupted save left {self.again.replace('the', 'the former')} in {left[-1]}, rename it back"
        return "".join(f"; it holds {other}" for header, other in self.others.items() if (folder / header).is_file())

    def _damaged(self, path: Path, why: object) -> ArtifactError:
        return ArtifactError(f"{path} is damaged: {why}; save {self.again} again")

    def _wrong(self, header: dict[str, Any]) -> str | None:
        """What a header lacks or has of another type than it must; it may say more than is known here."""
        for name, types in (("counts", dict), ("sha256", dict), ("created", str), ("cofactor", str)):
            if not isinstance(header.get(name), types):
                return f"{name} is {header.get(name)!r}, not {'text' if types is str else 'a table'}"
        for name in self.counts:
            count = header["counts"].get(name)
            if not isinstance(count, int) or isinstance(count, bool) or count < 0:
                return f"counts: {name} is {count!r}, not a whole number of at least 0"
        for name, digest in header["sha256"].items():
            if not isinstance(digest, str):
                return f"sha256 of {name} is {digest!r}, not text"
        if missing := sorted(self.endings.keys() - self.file_names(header).keys() - self.optional):
            return f"sha256 names no file of {missing[0]}"
        return self.wrong(header)

    def file_names(self, header: dict[str, Any]) -> dict[str, str]:
        """The files that a header names, by what they hold.

        Names that no save gives, such as those of files elsewhere, are passed over.
        """
        old = header["format"] <= self.unversioned
        named = {re.split(r"[-.]", name)[0]: name for name in header["sha256"] if old or self._ours.fullmatch(name)}
        return {
            kind: named[kind]
            for kind in self.endings
            if kind in named and (not old or named[kind] in self._unversioned_names)
        }

    @contextmanager
    def opened(self, folder: str | Path, *, verify: bool) -> Iterator[tuple[dict[str, Any], dict[str, BufferedReader]]]:
        """The header and its files, open: whoever replaces them takes nothing away from here on.

        Whatever an unreadable file leads to inside the block becomes an ArtifactError.

        Parameters
        ----------
        folder : path
        verify : bool
            Compare every file with its sha256 first.
        """
        folder = check_path("folder", folder)
        with ExitStack() as stack:
            header, files = self._open(folder, stack)
            names = self.file_names(header)
            try:
                for kind, file in files.items() if verify else ():
                    if sha256(file) != header["sha256"][names[kind]]:
                        raise self._damaged(folder / names[kind], f"its sha256 is not the one in {self.header}")
                yield header, files
            except _UNREADABLE as error:
                raise self._damaged(folder, f"{type(error).__name__} {error}") from error

    def _open(self, folder: Path, opened: ExitStack) -> tuple[dict[str, Any], dict[str, BufferedReader]]:
        former = None
        while True:
            header = self.read_header(folder)
            files = {}
            with ExitStack() as some:
                try:
                    for kind, name in self.file_names(header).items():
                        if not (folder / name).is_file():
                            raise FileNotFoundError
                        files[kind] = some.enter_context((folder / name).open("rb"))
                except FileNotFoundError:
                    if header == former:
                        raise ArtifactError(
                            f"{folder} is incomplete: {name} is missing; save {self.again} again"
                        ) from None
                    former = header  # another save came between: its header names other files
                    continue
                except OSError as error:
                    raise ArtifactError(f"{folder} cannot be read: {error}") from error
                opened.push(some.pop_all())
                return header, files

    # Writing.

    def save(
        self,
        folder: str | Path,
        files: Mapping[str, Callable[[BufferedWriter], object]],
        facts: Mapping[str, Any],
    ) -> None:
        """Write all files and the header; what is there is replaced at the very end, in one step.

        Of several that save to the same folder at once, the last one stays.

        Parameters
        ----------
        folder : path
        files : mapping
            What writes each file.
        facts : mapping
            What the header says besides, in the types of JSON and of NumPy's numbers; ``counts`` among it.

        Raises
        ------
        ArtifactError
            The folder holds something else, or cannot be written.
        """
        self.check_writable(folder)
        target = check_path("folder", folder).resolve()
        is_new = not target.exists()
        try:
            with locked(target) as alone:
                self.check_writable(target)  # another save may have come before
                try:
                    self._write(target, files, facts, alone=alone)
                    if is_new:
                        sync_folder(target.parent)
                finally:
                    if is_new:
                        with suppress(OSError):
                            target.rmdir()  # unless there is something in it now
        except (OSError, pl.exceptions.PolarsError) as error:
            raise ArtifactError(f"{self.again} could not be written to {target}: {error}") from error

    def _write(
        self,
        target: Path,
        files: Mapping[str, Callable[[BufferedWriter], object]],
        facts: Mapping[str, Any],
        *,
        alone: bool,
    ) -> None:
        """Put files into a folder, and away those that they replace."""
        version = uuid4().hex[:16]
        names = {kind: f"{kind}-{version}{self.endings[kind]}" for kind in files}
        beside = target / f".{Path(self.header).stem}-{version}.json"
        own, former = [*names.values(), beside.name], []
        with suppress(ArtifactError):
            former = list(self.file_names(self.read_header(target)).values())
        try:
            for kind, write in files.items():
                with written(target / names[kind]) as file:
                    write(file)
            header = {
                "format": self.format,
                "cofactor": __version__,
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                **facts,
                "sha256": {name: sha256(target / name) for name in names.values()},
            }
            if replaced := self.files_to_replace(target):
                header["replaces"] = replaced
            with written(beside) as file:
                file.write((as_json(header) + "\n").encode())
            sync_folder(target)
            beside.replace(target / self.header)
            own += former
            sync_folder(target)
        finally:
            self.sweep(target, own, alone=alone)

    def check_writable(self, folder: str | Path) -> None:
        """Raise ArtifactError unless this can be saved there: asked before long work, not after it."""
        named = check_path("folder", folder)
        try:
            target = named.resolve()
            if target.exists():
                if not self._is_replaceable(target):
                    raise ArtifactError(
                        f"{target} exists and is not just {self.told}; choose another folder, nothing was overwritten"
                    )
                inside = target
            else:
                inside = next(p for p in target.parents if p.exists())
            if not inside.is_dir() or not os.access(inside, os.W_OK):
                raise ArtifactError(f"{target} cannot be written: {inside} is not a writable folder")
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{folder} cannot be written: {error}") from error

    def _is_replaceable(self, target: Path) -> bool:
        """Whether a folder holds nothing but such a thing, even damaged, or what an interrupted save has left."""
        if not target.is_dir():
            return False
        others = {path.name for path in target.iterdir()}
        ours = {name for name in others if self._ours.fullmatch(name)}
        others -= ours
        if self.header in others:
            data = (target / self.header).read_bytes()
            try:
                header = json.loads(data)
            except (ValueError, RecursionError):
                if not ours and b'"cofactor"' not in data:
                    return False
                header = {} if ours else {"format": 1}
            else:
                if not isinstance(header, dict) or "cofactor" not in header:
                    return False
            others -= {self.header, *self._unversioned_files(target, header)}
        return not others

    def _unversioned_files(self, folder: Path, header: dict[str, Any]) -> Collection[str]:
        """Files whose names tell not whose they are: those of an old format, and what a save over one has left."""
        if header.get("format") == 1:
            return self._unversioned_names
        replaced = header.get("replaces")
        if not isinstance(replaced, dict):
            return []
        return [name for name, digest in replaced.items() if self._is_the_same(folder, name, digest)]

    def _is_the_same(self, folder: Path, name: str, digest: object) -> bool:
        return name in self._unversioned_names and (folder / name).is_file() and sha256(folder / name) == digest

    def files_to_replace(self, folder: Path) -> dict[str, str]:
        """Files of an old format with their hashes: what the next header says that it replaces.

        Their names do not tell whose they are. Files of just this content go with the rest, now or, where a save is
        interrupted, with the next one.
        """
        return {n: sha256(folder / n) for n in sorted(self._unversioned_names) if (folder / n).is_file()}

    def sweep(self, folder: Path, own: Container[str], *, alone: bool) -> None:
        """Delete the files of earlier saves that the header does not name (any more).

        Parameters
        ----------
        folder : Path
        own : names
            What the caller has written or replaced.
        alone : bool
            Nobody else is writing here: what nobody names has been left by a process that died.
        """
        there = (folder / self.header).exists()
        try:
            header = self.read_header(folder) if there else None
        except ArtifactError:
            return  # what a damaged header names may still be of use
        named = self.file_names(header).values() if header else ()
        replaced = [folder / name for name in self._unversioned_files(folder, header)] if header else []
        for path in [*replaced, *(path for path in folder.iterdir() if self._ours.fullmatch(path.name))]:
            with suppress(OSError):  # gone already; or in use, on Windows: then a later save deletes it
                if path.name not in named and (alone or path.name in own or path in replaced or _is_abandoned(path)):
                    path.unlink()


def _is_abandoned(path: Path) -> bool:
    return path.stat().st_mtime < time.time() - _ABANDONED
