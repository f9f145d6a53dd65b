"""Saved models: a folder of JSON, safetensors and Parquet, readable without cofactor and free of pickle.

``model.json`` holds class, parameters, versions and counts, and names the other files with their sha256: learned arrays
and the training interactions (safetensors), and the ids of users and of items in row order (Parquet). A save writes new
files beside those of the model that is there, then replaces ``model.json``, in one step, then deletes the old files:
whoever loads, and whatever crash comes, finds the old model or the new one.
"""

from __future__ import annotations

import json
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import polars as pl

from cofactor.data.ids import IdMap
from cofactor.errors import ArtifactError, DataError, ParameterError
from cofactor.kernels.csr import CSR
from cofactor.models.base.learned import check_csr, check_learned, is_name
from cofactor.models.base.model import Model
from cofactor.models.base.saved_folder import (
    ENDINGS,
    FORMAT,
    HEADER,
    check_writable,
    file_names,
    files_to_replace,
    place,
    read_header,
    sweep,
)
from cofactor.system.arrays import mapped_arrays, write_arrays
from cofactor.system.folders import locked, sha256, sync_folder, written
from cofactor.version import __version__

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path

    from cofactor.data.user_items import UserItems
    from cofactor.system.arrays import Arrays

__all__ = ["FORMAT", "check_writable", "read_header", "restore", "save"]

_CSR_PARTS, _N_COLUMNS = ("indptr", "indices", "values"), "n_columns of a sparse matrix"
_UNREADABLE = (
    *(OSError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError),
    *(pl.exceptions.PolarsError, pl.exceptions.PanicException),
)


def save(model: Model, folder: str | Path) -> None:
    """Write a fitted model; an existing model in the same folder is replaced at the very end, in one step.

    Of several that save to the same folder at once, the last one stays.

    Raises
    ------
    ArtifactError
        The folder holds something else than a saved model, or cannot be written.
    ParameterError
        A parameter, or an array that was learned, is of a type that the files cannot hold.
    """
    x = model._fitted()
    arrays: Arrays = {f"interactions.{part}": getattr(x.user_items, part) for part in _CSR_PARTS}
    description = _describe(model, "", arrays)
    check_writable(folder)
    target = place(folder).resolve()
    is_new = not target.exists()
    try:
        with locked(target) as alone:
            check_writable(target)  # another save may have come before
            try:
                _write(target, description, arrays, x, alone=alone)
                if is_new:
                    sync_folder(target.parent)
            finally:
                if is_new:
                    with suppress(OSError):
                        target.rmdir()  # unless there is a model in it now
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ArtifactError(f"the model could not be written to {target}: {error}") from error
    except TypeError as error:
        raise ParameterError(f"this {type(model).__name__} cannot be saved: {error}") from error


def _write(target: Path, description: dict[str, Any], arrays: Arrays, x: UserItems, *, alone: bool) -> None:
    """Put the files of a model into a folder, and away those that it replaces."""
    version = uuid4().hex[:16]
    names = {kind: f"{kind}-{version}{ending}" for kind, ending in ENDINGS.items()}
    beside = target / f".model-{version}.json"
    own, former = [*names.values(), beside.name], []
    with suppress(ArtifactError):
        former = list(file_names(read_header(target)).values())
    try:
        with written(target / names["arrays"]) as file:
            write_arrays(file, arrays)
        for kind, ids in (("users", x.users), ("items", x.items)):
            with written(target / names[kind]) as file:
                pl.DataFrame({"id": ids.ids}).write_parquet(file)
        header = {
            "format": FORMAT,
            "cofactor": __version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "model": description,
            "counts": {"users": x.n_users, "items": x.n_items, "interactions": x.nnz},
            "sha256": {name: sha256(target / name) for name in names.values()},
        }
        if replaced := files_to_replace(target):
            header["replaces"] = replaced
        with written(beside) as file:
            file.write((json.dumps(header, indent=2, default=_number) + "\n").encode())
        sync_folder(target)
        beside.replace(target / HEADER)
        own += former
        sync_folder(target)
    finally:
        sweep(target, own, alone=alone)


def restore(folder: str | Path, *, verify: bool = True) -> Model:
    """Read a saved model; its arrays are mapped from the file, not copied.

    Parameters
    ----------
    folder : path
    verify : bool
        Compare every file with its sha256 first, and look at every entry of every array: that rows of sparse matrices
        ascend and are in range, that learned numbers are finite (reads the files twice). Without it their types, shapes
        and ends are checked, and ids and weights, so that loading takes no pass over what was learned: for files that
        nobody else can write.

    Raises
    ------
    ArtifactError
        Not a saved model, damaged, of a newer format, or it cannot be read.
    """
    folder = place(folder)
    with ExitStack() as opened:
        header, files = _open(folder, opened)
        names, counts = file_names(header), header["counts"]
        try:
            for kind, file in files.items() if verify else ():
                if sha256(file) != header["sha256"][names[kind]]:
                    raise ArtifactError(
                        f"{folder / names[kind]} is damaged: its sha256 is not the one in {HEADER}; save the model "
                        "again"
                    )
            arrays = mapped_arrays(files["arrays"])
            users, items = (_read_ids(files[kind], counts[kind], names[kind]) for kind in ("users", "items"))
            parts = {part: arrays.pop(f"interactions.{part}") for part in _CSR_PARTS}
            if len(parts["indices"]) != counts["interactions"]:
                raise DataError(f"{len(parts['indices'])} interactions, but {HEADER} counts {counts['interactions']}")
            csr = check_csr("interactions", CSR(**parts, n_columns=len(items)), len(users), every_entry=verify)
            return _restore(header["model"], "", arrays, _data(header["model"], users, items, csr), verify)
        except _UNREADABLE as error:
            raise ArtifactError(f"{folder} is damaged: {type(error).__name__} {error}; save the model again") from error


def _open(folder: Path, opened: ExitStack) -> tuple[dict[str, Any], dict[str, BufferedReader]]:
    """The header of a model and its files, open: whoever replaces the model takes nothing away from here on."""
    former = None
    while True:
        header = read_header(folder)
        files = {}
        with ExitStack() as some:
            try:
                for kind, name in file_names(header).items():
                    if not (folder / name).is_file():
                        raise FileNotFoundError
                    files[kind] = some.enter_context((folder / name).open("rb"))
            except FileNotFoundError:
                if header == former:
                    raise ArtifactError(f"{folder} is incomplete: {name} is missing; save the model again") from None
                former = header  # another save came between: its header names other files
                continue
            except OSError as error:
                raise ArtifactError(f"{folder} cannot be read: {error}") from error
            opened.push(some.pop_all())
            return header, files


def _read_ids(file: BufferedReader, n: int, name: str) -> IdMap:
    file.seek(0)
    ids = IdMap(pl.read_parquet(file)["id"])
    if len(ids) != n:
        raise DataError(f"{name} holds {len(ids)} ids, but {HEADER} counts {n}")
    return ids


def _describe(model: Model, prefix: str, arrays: Arrays) -> dict[str, Any]:
    """Class, parameters and learned scalars of a model; its arrays go to ``arrays`` under ``prefix``."""
    state: dict[str, Any] = {}
    for name, value in vars(model).items():
        if not name.endswith("_") or name == "interactions_":
            continue
        if isinstance(value, np.ndarray):
            arrays[prefix + name] = value
        elif isinstance(value, CSR):
            arrays |= {f"{prefix}{name}:{part}": getattr(value, part) for part in _CSR_PARTS}
            state[name] = {_N_COLUMNS: value.n_columns}
        else:
            state[name] = value
    params = {
        name: [_describe_part(m, model, f"{prefix}{name}.{i}.", arrays) for i, m in enumerate(value)]
        if _are_models(value)
        else value
        for name, value in model.params().items()
    }
    try:
        json.dumps([params, state], default=_number)
    except TypeError as error:
        raise ParameterError(f"{type(model).__name__} holds a parameter that JSON cannot: {error}") from error
    facts = model._fitted().facts()
    return {"class": type(model).__name__, "params": params, "state": state, **({"data": facts} if facts else {})}


def _describe_part(part: Model, whole: Model, prefix: str, arrays: Arrays) -> dict[str, Any]:
    """A model inside another, with its interactions where it was fitted on others (of the same users and items)."""
    x = part._fitted()
    if x is not whole.interactions_:
        arrays |= {f"{prefix}interactions.{name}": getattr(x.user_items, name) for name in _CSR_PARTS}
    return _describe(part, prefix, arrays)


def _class_of(description: dict[str, Any]) -> type[Model]:
    name = description["class"]
    if name not in Model.registry:
        raise ArtifactError(f"the model is a {name}, which is not known here; import the module that defines it first")
    return Model.registry[name]


def _data(description: dict[str, Any], users: IdMap, items: IdMap, csr: CSR) -> UserItems:
    """What a model was fitted on."""
    return _class_of(description)._data_class(users, items, csr, **description.get("data", {}))


def _restore(description: dict[str, Any], prefix: str, arrays: Arrays, x: UserItems, verify: bool) -> Model:
    if prefix and f"{prefix}interactions.indptr" in arrays:
        csr = CSR(**{part: arrays.pop(f"{prefix}interactions.{part}") for part in _CSR_PARTS}, n_columns=x.n_items)
        csr = check_csr(f"{prefix}interactions", csr, x.n_users, every_entry=verify)
        x = _data(description, x.users, x.items, csr)
    cls = _class_of(description)
    params = dict(description["params"])
    nested = [key for key, value in params.items() if isinstance(value, list) and value and isinstance(value[0], dict)]
    models = [
        _restore(d, f"{prefix}{key}.{i}.", arrays, x, verify) for key in nested for i, d in enumerate(params.pop(key))
    ]
    model = cls(*models, **params)
    model._check()
    own = {
        k.removeprefix(prefix): a
        for k, a in arrays.items()
        if k.startswith(prefix) and "." not in k.removeprefix(prefix)
    }
    state = dict(description["state"])
    for name, value in state.items():
        if isinstance(value, dict) and _N_COLUMNS in value:
            state[name] = CSR(**{part: own.pop(f"{name}:{part}") for part in _CSR_PARTS}, n_columns=value[_N_COLUMNS])
    for attribute, value in {**state, **own}.items():
        if not is_name(type(model), attribute):
            raise DataError(f"{attribute!r} is not the name of something learned")
        setattr(model, attribute, value)
    model.interactions_ = x
    check_learned(model, every_entry=verify)
    return model


def _number(value: object) -> object:
    """What JSON does not know: the numbers of NumPy."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} is a {type(value).__name__}")


def _are_models(value: object) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(m, Model) for m in value)
