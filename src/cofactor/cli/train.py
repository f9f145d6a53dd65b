"""``cofactor train``: from events to a saved model."""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from cofactor.cli.features import FeatureFiles
from cofactor.cli.models import build_models, model_names
from cofactor.cli.options import Columns, EventFiles, Json, Params, Weighing
from cofactor.cli.output import print_facts, print_json
from cofactor.cluster import ClusterEvents, connect
from cofactor.data.events import Events
from cofactor.errors import ParameterError
from cofactor.models.base.saved import check_writable, save
from cofactor.retrieval.models import has_factors, indexed

__all__ = ["train"]


def train(
    *,
    events: EventFiles,
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder for the model.")],
    columns: Columns,
    weighing: Weighing,
    features: FeatureFiles,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help=f"One of {', '.join(model_names())}; a chain such as als+popular; or history-rerank and the models of "
            "its neighbours, as history-rerank:item-pairs-mf:co-visitation.",
        ),
    ] = "als",
    param: Params = None,
    min_user_count: Annotated[int, typer.Option(help="Least number of items of a user.")] = 0,
    min_item_count: Annotated[int, typer.Option(help="Least number of users of an item.")] = 0,
    index: Annotated[
        bool,
        typer.Option("--index", help="Save an index of the item vectors with the model: it ranks by it when loaded."),
    ] = False,
    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster",
            metavar="ADDRESS",
            help="Fit als or covisitation on a cluster of Ray: host:port of its head, auto, or local for this machine.",
        ),
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Of a cluster; default: one for each node.")] = None,
    checkpoint: Annotated[
        str | None, typer.Option("--checkpoint", help="Of a cluster: a folder to go on from after a crash.")
    ] = None,
    every: Annotated[int | None, typer.Option("--every", help="Iterations between checkpoints; default: 1.")] = None,
    threads: Annotated[int | None, typer.Option("--threads", help="Of each worker of a cluster; default: all.")] = None,
    wire: Annotated[
        str | None, typer.Option("--wire", help="Of a cluster: vectors travel as float32 or float16.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Fit a model on an event log and save it."""
    check_writable(output)
    made = build_models([model], param or [])[model]
    tables: dict[str, Any] = features.by_model({model: made})[model]
    least = min_user_count or min_item_count
    parts = _parts(cluster, least, workers=workers, threads=threads, checkpoint=checkpoint, every=every, wire=wire)
    if index and not has_factors(made):
        raise ParameterError(f"--index is for models of factors, and those made of such; {model} has none")
    weight = weighing.expression()
    started = time.perf_counter()
    with ExitStack() as ends:
        log: Events | ClusterEvents
        x: Any
        if cluster is None:
            log = columns.read(events)
            x = log.interactions(weight, min_user_count=min_user_count, min_item_count=min_item_count)
        else:
            connected = ends.enter_context(connect(None if cluster == "local" else cluster))
            log = connected.read_events(events, **columns.options())
            x = ends.enter_context(log.interactions(weight, **parts))
        read = time.perf_counter()
        made.fit(x, **tables)
        fitted = time.perf_counter()
    save(indexed(made) if index else made, output, log=_described(log))
    losses = [float(loss) for loss in getattr(made, "loss_history_", ())]
    summary: dict[str, Any] = {
        "model": repr(made),
        "events": log.n_events,
        "users": made.interactions_.n_users,
        "items": made.interactions_.n_items,
        "interactions": made.interactions_.nnz,
        "loss": losses,
        "read_seconds": read - started,
        "fit_seconds": fitted - read,
        "output": str(output),
    }
    _tell(summary, as_json)


def _tell(summary: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(summary)
        return
    losses, read, fitted = summary["loss"], summary["read_seconds"], summary["fit_seconds"]
    counts = {name: f"{summary[name]:,}" for name in ("events", "users", "items", "interactions")}
    loss = {"loss": f"{losses[0]:.6g} after the first iteration, {losses[-1]:.6g} after the last"} if losses else {}
    seconds = {"seconds": f"{read:.1f} reading, {fitted:.1f} fitting"}
    print_facts({"model": summary["model"], **counts, **loss, **seconds, "saved to": summary["output"]})


def _parts(cluster: str | None, least: int, **given: object) -> dict[str, Any]:
    """Those options of a cluster that are given; raises where options do not go together."""
    parts = {name: value for name, value in given.items() if value is not None}
    for name in parts:
        if cluster is None:
            raise ParameterError(f"--{name} is for --cluster; give --cluster ADDRESS, or --cluster local")
    if "every" in parts and "checkpoint" not in parts:
        raise ParameterError("--every is for --checkpoint; give the folder too")
    if cluster is not None and least:
        raise ParameterError("--min-user-count and --min-item-count are not for --cluster; filter the log before")
    return parts


def _described(log: Events | ClusterEvents) -> dict[str, Any]:
    """What a server asks of the log, to add what is newer: the time of its last event, and the last that was stored."""
    stored = None if isinstance(log, ClusterEvents) or log.source is None else log.source.stored
    newest = log.facts.newest
    told = {"newest": None if newest is None else newest.isoformat(), "stored": stored}
    return {name: value for name, value in told.items() if value is not None}
