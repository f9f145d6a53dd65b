"""Saved models: a folder of JSON, safetensors and Parquet, readable without cofactor and free of pickle.

``model.json`` holds class, parameters, versions and counts, and names the other files with their sha256: learned
arrays, the training interactions and indexes that the model ranks by (safetensors), and the ids of users and of items
in row order (Parquet). A save writes new files beside those of the model that is there, then replaces ``model.json``,
in one step, then deletes the old files: whoever loads, and whatever crash comes, finds the old model or the new one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.checks import warn
from cofactor.data.features import Features
from cofactor.data.saved import PARTS, check_count, count, id_writer, read_ids
from cofactor.errors import ArtifactError, CofactorError, DataError, ParameterError
from cofactor.kernels import DEVICES, on
from cofactor.kernels.csr import CSR
from cofactor.models.base.learned import check_csr, check_learned, is_name
from cofactor.models.base.model import Model
from cofactor.system.arrays import mapped_arrays, write_arrays
from cofactor.system.saved_folder import FolderKind, as_json

if TYPE_CHECKING:
    from pathlib import Path

    from cofactor.data.ids import IdMap
    from cofactor.data.user_items import UserItems
    from cofactor.system.arrays import Arrays

__all__ = ["MODEL", "check_writable", "read_header", "restore", "save"]

_N_COLUMNS, _FEATURES = "n_columns of a sparse matrix", "features of a table"
_INDEX = "index."  # what the names of its arrays begin with


def _wrong(header: dict[str, Any]) -> str | None:
    if not isinstance(header.get("model"), dict):
        return f"model is {header.get('model')!r}, not a table"
    return _wrong_model(header["model"], "model")


def _wrong_model(model: dict[str, Any], where: str) -> str | None:
    for name, types in (("class", str), ("params", dict), ("state", dict)):
        if not isinstance(model.get(name), types):
            return f"{where}: {name} is {model.get(name)!r}, not {'text' if types is str else 'a table'}"
    if not isinstance(model.get("index", {}), dict):
        return f"{where}: index is {model['index']!r}, not a table"
    for name, value in model["params"].items():
        for i, part in enumerate(value if isinstance(value, list) else ()):
            if isinstance(part, dict) and (wrong := _wrong_model(part, f"{where}: {name} {i}")):
                return wrong
    return None


MODEL = FolderKind(
    told="a saved model",
    again="the model",
    header="model.json",
    endings={"arrays": ".safetensors", "users": ".parquet", "items": ".parquet"},
    counts=("users", "items", "interactions"),
    format=2,
    unversioned=1,
    wrong=_wrong,
    others={"interactions.json": "saved interactions, which cofactor.load_interactions reads"},
)
check_writable, read_header = MODEL.check_writable, MODEL.read_header


def save(model: Model, folder: str | Path, *, log: dict[str, Any] | None = None) -> None:
    """Write a fitted model; an existing model in the same folder is replaced at the very end, in one step.

    Of several that save to the same folder at once, the last one stays.

    Parameters
    ----------
    model : Model
    folder : path
    log : dict, optional
        What the header says of the events: ``newest``, the time of the last one, and ``stored``, the number of the last
        one that came from a server's store. Servers add what is newer.

    Raises
    ------
    ArtifactError
        The folder holds something else than a saved model, or cannot be written.
    ParameterError
        A parameter, or an array that was learned, is of a type that the files cannot hold.
    """
    x = model._fitted()
    arrays: Arrays = {f"interactions.{part}": getattr(x.user_items, part) for part in PARTS}
    description = _describe(model, "", arrays)
    files = {
        "arrays": lambda file: write_arrays(file, arrays),
        "users": id_writer(x.users),
        "items": id_writer(x.items),
    }
    try:
        facts = {"model": description, "counts": count(x.users, x.items, x.user_items)}
        MODEL.save(folder, files, facts if log is None else facts | {"log": log})
    except TypeError as error:
        raise ParameterError(f"this {type(model).__name__} cannot be saved: {error}") from error


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
    with MODEL.opened(folder, verify=verify) as (header, files):
        arrays = mapped_arrays(files["arrays"])
        users, items = (read_ids(files[kind], header["counts"], kind) for kind in ("users", "items"))
        parts = {part: arrays.pop(f"interactions.{part}") for part in PARTS}
        check_count(parts["indices"], header["counts"])
        csr = check_csr("interactions", CSR(**parts, n_columns=len(items)), len(users), every_entry=verify)
        return _restore(header["model"], "", arrays, _data(header["model"], users, items, csr), verify)


def _describe(model: Model, prefix: str, arrays: Arrays) -> dict[str, Any]:
    """Class, parameters and learned scalars of a model; its arrays go to ``arrays`` under ``prefix``."""
    state: dict[str, Any] = {}
    for name, value in vars(model).items():
        if not name.endswith("_") or name == "interactions_":
            continue
        if isinstance(value, np.ndarray):
            arrays[prefix + name] = value
        elif isinstance(value, CSR):
            arrays |= {f"{prefix}{name}:{part}": getattr(value, part) for part in PARTS}
            state[name] = {_N_COLUMNS: value.n_columns}
        elif isinstance(value, Features):
            arrays |= {f"{prefix}{name}:{part}": array for part, array in value.arrays().items()}
            state[name] = {_FEATURES: value.description()}
        else:
            state[name] = value
    params = {
        name: [_describe_part(m, model, f"{prefix}{name}.{i}.", arrays) for i, m in enumerate(value)]
        if _are_models(value)
        else value
        for name, value in model._params_to_save().items()
    }
    try:
        as_json([params, state])
    except TypeError as error:
        raise ParameterError(f"{type(model).__name__} holds a parameter that JSON cannot: {error}") from error
    facts, (index, parts) = model._fitted().facts(), model._index()
    arrays |= {f"{prefix}{_INDEX}{part}": array for part, array in parts.items()}
    besides = {"data": facts, "index": index}
    return {"class": type(model).__name__, "params": params, "state": state, **{k: v for k, v in besides.items() if v}}


def _describe_part(part: Model, whole: Model, prefix: str, arrays: Arrays) -> dict[str, Any]:
    """A model inside another, with its interactions where it was fitted on others (of the same users and items)."""
    x = part._fitted()
    if x is not whole.interactions_:
        arrays |= {f"{prefix}interactions.{name}": getattr(x.user_items, name) for name in PARTS}
    return _describe(part, prefix, arrays)


def _class_of(description: dict[str, Any]) -> type[Model]:
    name = description["class"]
    if name not in Model.registry:
        raise ArtifactError(f"the model is a {name}, which is not known here; import the module that defines it first")
    return Model.registry[name]


def _data(description: dict[str, Any], users: IdMap, items: IdMap, csr: CSR) -> UserItems:
    """What a model was fitted on."""
    return _class_of(description)._data_class(users, items, csr, **description.get("data", {}))


def _device_here(params: dict[str, Any]) -> dict[str, str]:
    """The CPU, told, in the place of a device that exists but not here: models hold nothing that is a device's own."""
    device = params.get("device", "cpu")
    if device not in DEVICES:
        return {}
    try:
        on(device)
    except CofactorError as error:
        warn(f"the model was saved with device={device!r}, which is not here ({error}); it computes with device='cpu'")
        return {"device": "cpu"}
    return {}


def _restore(description: dict[str, Any], prefix: str, arrays: Arrays, x: UserItems, verify: bool) -> Model:
    if prefix and f"{prefix}interactions.indptr" in arrays:
        csr = CSR(**{part: arrays.pop(f"{prefix}interactions.{part}") for part in PARTS}, n_columns=x.n_items)
        csr = check_csr(f"{prefix}interactions", csr, x.n_users, every_entry=verify)
        x = _data(description, x.users, x.items, csr)
    cls = _class_of(description)
    params = dict(description["params"])
    nested = [key for key, value in params.items() if isinstance(value, list) and value and isinstance(value[0], dict)]
    models = [
        _restore(d, f"{prefix}{key}.{i}.", arrays, x, verify) for key in nested for i, d in enumerate(params.pop(key))
    ]
    model = cls(*models, **params | _device_here(params))
    model._check()
    own = {
        k.removeprefix(prefix): a
        for k, a in arrays.items()
        if k.startswith(prefix) and "." not in k.removeprefix(prefix)
    }
    state = dict(description["state"])
    for name, value in state.items():
        if isinstance(value, dict) and _N_COLUMNS in value:
            state[name] = CSR(**{part: own.pop(f"{name}:{part}") for part in PARTS}, n_columns=value[_N_COLUMNS])
        elif isinstance(value, dict) and _FEATURES in value:
            parts = {part: own.pop(f"{name}:{part}") for part in Features.PARTS}
            state[name] = Features.restored(value[_FEATURES], parts)
    for attribute, value in {**state, **own}.items():
        if not is_name(type(model), attribute):
            raise DataError(f"{attribute!r} is not the name of something learned")
        setattr(model, attribute, value)
    model.interactions_ = x
    model._fitted_params = model.params()
    check_learned(model, every_entry=verify)
    if "index" in description:
        start = f"{prefix}{_INDEX}"
        parts = {k.removeprefix(start): a for k, a in arrays.items() if k.startswith(start)}
        model._take_index(description["index"], parts, every_entry=verify)
    return model


def _are_models(value: object) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(m, Model) for m in value)
