"""Saved models: a folder of JSON, safetensors and Parquet, readable without cofactor and free of pickle.

``model.json`` (class, parameters, versions, counts, sha256 of the other files), ``arrays.safetensors`` (learned
arrays and the training interactions), ``users.parquet`` and ``items.parquet`` (ids in row order). The folder is
written beside its place and renamed into it, so that a crash leaves the old one.
"""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import polars as pl
from safetensors.numpy import save_file

from cofactor.data.ids import IdMap
from cofactor.data.interactions import Interactions
from cofactor.errors import ArtifactError, ParameterError
from cofactor.kernels.csr import CSR
from cofactor.models.base.model import Model
from cofactor.system.folders import mapped_arrays, sha256, swap
from cofactor.version import __version__

if TYPE_CHECKING:
    from cofactor.system.folders import Arrays

__all__ = ["FORMAT", "check_writable", "read_header", "restore", "save"]

FORMAT = 1
_HEADER, _ARRAYS, _USERS, _ITEMS = "model.json", "arrays.safetensors", "users.parquet", "items.parquet"
_FILES = {_HEADER, _ARRAYS, _USERS, _ITEMS}
_CSR_PARTS, _N_COLUMNS = ("indptr", "indices", "values"), "n_columns of a sparse matrix"


def save(model: Model, folder: str | Path) -> None:
    """Write a fitted model; an existing model in the same folder is replaced at the very end.

    Raises
    ------
    ArtifactError
        The folder holds something else than a saved model, or cannot be written.
    """
    target = Path(folder).resolve()
    x = model._fitted()
    check_writable(target)
    beside = target.with_name(f".{target.name}.new-{uuid4().hex}")
    try:
        beside.mkdir(parents=True)
        arrays: Arrays = {
            "interactions.indptr": x.user_items.indptr,
            "interactions.indices": x.user_items.indices,
            "interactions.values": x.user_items.values,
        }
        description = _describe(model, "", arrays)
        save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, beside / _ARRAYS)
        for ids, name in ((x.users, _USERS), (x.items, _ITEMS)):
            pl.DataFrame({"id": ids.ids}).write_parquet(beside / name)
        header = {
            "format": FORMAT,
            "cofactor": __version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "model": description,
            "counts": {"users": x.n_users, "items": x.n_items, "interactions": x.nnz},
            "sha256": {name: sha256(beside / name) for name in (_ARRAYS, _USERS, _ITEMS)},
        }
        (beside / _HEADER).write_text(json.dumps(header, indent=2, default=_number) + "\n")
        swap(beside, target)
    except OSError as error:
        raise ArtifactError(f"the model could not be written to {target}: {error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def restore(folder: str | Path, *, verify: bool = True) -> Model:
    """Read a saved model; its arrays are mapped from the file, not copied.

    Parameters
    ----------
    folder : path
    verify : bool
        Compare every file with its sha256 first (reads the files once).

    Raises
    ------
    ArtifactError
        Not a saved model, damaged, or written by a newer format.
    """
    folder = Path(folder)
    header = read_header(folder)
    for name in _FILES:
        if not (folder / name).is_file():
            raise ArtifactError(f"{folder} is incomplete: {name} is missing; save the model again")
    try:
        for name in _FILES - {_HEADER} if verify else ():
            if sha256(folder / name) != header["sha256"][name]:
                raise ArtifactError(
                    f"{folder / name} is damaged: its sha256 is not the one in {_HEADER}; save the model again"
                )
        arrays = mapped_arrays(folder / _ARRAYS)
        users, items = (IdMap(pl.read_parquet(folder / name)["id"]) for name in (_USERS, _ITEMS))
        indptr, indices, values = (arrays.pop(f"interactions.{part}") for part in ("indptr", "indices", "values"))
        csr = CSR(indptr, indices, values, len(items))
        return _restore(header["model"], "", arrays, Interactions(users=users, items=items, user_items=csr))
    except (OSError, KeyError, ValueError, TypeError, pl.exceptions.PolarsError) as error:
        raise ArtifactError(f"{folder} is damaged: {type(error).__name__} {error}; save the model again") from error


def read_header(folder: str | Path) -> dict[str, Any]:
    """What ``model.json`` says, after a check of its format."""
    path = Path(folder) / _HEADER
    if not path.is_file():
        left = sorted(path.parent.absolute().parent.glob(f".{path.parent.absolute().name}.old-*"))
        hint = f"; an interrupted save left the former model in {left[-1]}, rename it back" if left else ""
        raise ArtifactError(f"{folder} is not a saved model: it has no {_HEADER}{hint}")
    try:
        header = json.loads(path.read_text())
        number = header["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path} is damaged: {error}; save the model again") from error
    if number != FORMAT:
        raise ArtifactError(
            f"{folder} has format {number}, this cofactor reads {FORMAT}; upgrade cofactor or save the model again"
        )
    return dict(header)


def check_writable(folder: str | Path) -> None:
    """Raise ArtifactError unless a model can be saved there: asked before long work, not after it."""
    target = Path(folder).resolve()
    if target.exists() and not _is_replaceable(target):
        raise ArtifactError(
            f"{target} exists and is not just a saved model; choose another folder, nothing was overwritten"
        )
    parent = next(p for p in target.parents if p.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise ArtifactError(f"{target} cannot be written: {parent} is not a writable folder")


def _is_replaceable(target: Path) -> bool:
    """Whether a folder is empty or holds a saved model, even a damaged one, and nothing else."""
    if not target.is_dir() or not {path.name for path in target.iterdir()} <= _FILES:
        return False
    try:
        return not (target / _HEADER).exists() or "cofactor" in json.loads((target / _HEADER).read_text())
    except (ValueError, TypeError):
        return True


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
    return {"class": type(model).__name__, "params": params, "state": state}


def _describe_part(part: Model, whole: Model, prefix: str, arrays: Arrays) -> dict[str, Any]:
    """A model inside another, with its interactions where it was fitted on others (of the same users and items)."""
    x = part._fitted()
    if x is not whole.interactions_:
        arrays |= {f"{prefix}interactions.{name}": getattr(x.user_items, name) for name in _CSR_PARTS}
    return _describe(part, prefix, arrays)


def _restore(description: dict[str, Any], prefix: str, arrays: Arrays, x: Interactions) -> Model:
    if prefix and f"{prefix}interactions.indptr" in arrays:
        parts = {part: arrays.pop(f"{prefix}interactions.{part}") for part in _CSR_PARTS}
        x = Interactions(users=x.users, items=x.items, user_items=CSR(**parts, n_columns=x.n_items))
    name = description["class"]
    if name not in Model.registry:
        raise ArtifactError(f"the model is a {name}, which is not known here; import the module that defines it first")
    params = dict(description["params"])
    nested = [key for key, value in params.items() if isinstance(value, list) and value and isinstance(value[0], dict)]
    models = [_restore(d, f"{prefix}{key}.{i}.", arrays, x) for key in nested for i, d in enumerate(params.pop(key))]
    model = Model.registry[name](*models, **params)
    own = {
        k.removeprefix(prefix): a
        for k, a in arrays.items()
        if k.startswith(prefix) and "." not in k.removeprefix(prefix)
    }
    state = dict(description["state"])
    for name, value in state.items():
        if isinstance(value, dict) and _N_COLUMNS in value:
            state[name] = CSR(**{part: own.pop(f"{name}:{part}") for part in _CSR_PARTS}, n_columns=value[_N_COLUMNS])
    for attribute, value in {**state, **own, "interactions_": x}.items():
        setattr(model, attribute, value)
    return model


def _number(value: object) -> object:
    """What JSON does not know: the numbers of NumPy."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} is a {type(value).__name__}")


def _are_models(value: object) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(m, Model) for m in value)
