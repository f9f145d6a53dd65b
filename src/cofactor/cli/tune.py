"""``cofactor tune``: search for the parameters of a model."""

import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cofactor.cli.compare import held_out
from cofactor.cli.features import FeatureFiles
from cofactor.cli.models import build_models, read_space
from cofactor.cli.options import Columns, EventFiles, Json, Params, Repeats, Weighing
from cofactor.cli.output import note, print_facts, print_json, print_table, say
from cofactor.evaluation.leaks import check_leaks
from cofactor.evaluation.tune import tune as tune_model
from cofactor.models.base.saved import check_writable

__all__ = ["Budget", "tune"]


class _Method(StrEnum):
    TPE = "tpe"
    RANDOM = "random"
    GRID = "grid"


Budget = Annotated[str | None, typer.Option("--budget", help="Time for the search, as 90s or 10m.")]


def tune(
    *,
    events: EventFiles,
    columns: Columns,
    weighing: Weighing,
    features: FeatureFiles,
    model: Annotated[str, typer.Option("--model", "-m", help="As of train.")] = "als",
    param: Params = None,
    space: Annotated[
        list[str] | None,
        typer.Option(
            "--space",
            metavar="NAME=VALUES",
            help="What to try, as factors=32,64,128 or regularization=0.001..0.1; repeatable. Or a TOML file of them. "
            "Without it, what is worth trying of the model.",
        ),
    ] = None,
    method: Annotated[_Method, typer.Option("--method", help="Of the search.")] = _Method.TPE,
    trials: Annotated[int | None, typer.Option("--trials", help="At most.")] = None,
    budget: Budget = None,
    metric: Annotated[str | None, typer.Option("--metric", help="What to choose by, as ndcg@10.")] = None,
    valid: Annotated[
        str | None,
        typer.Option("--valid", help="What to choose on: 28d (the last days), a date, or 10% of every user's items."),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option("--test", help="What is kept apart, for one score at the end: as of compare."),
    ] = None,
    repeats: Repeats = False,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Keeps the trials; a search that was stopped goes on from there.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", help="Folder for the best model, fitted on all events.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the search.")] = 0,
    as_json: Json = False,
) -> None:
    """Search for the parameters of a model, on a part held out of its training data."""
    if save is not None:
        check_writable(save)
    made = build_models([model], param or [])[model]
    wanted = None if space is None else _space(model, space)
    fit_options = features.by_model({model: made})[model]
    options: dict[str, Any] = {"weight": weighing.expression(), "exclude_seen": not repeats}
    log = columns.read(events)
    train, later = (log, None) if test is None else held_out(columns, log, test)
    if later is not None:
        note(check_leaks(train, later).summary)
    study = tune_model(
        made,
        train,
        metric=metric,
        space=wanted,
        method=method.value,
        trials=trials,
        budget=budget,
        valid=_share(valid),
        fit_options=fit_options,
        folder=folder,
        seed=seed,
        **options,
    )
    best: dict[str, Any] = {"metric": study.metric, "value": study.best_value, "parameters": study.best_params}
    scored = None if later is None else study.score(later.pairs())
    if save is not None:
        study.refit(None if test is None else log).save(save)
    if as_json:
        told = {"validation": study.validation, "trials": study.trials, "test": scored, "output": save and str(save)}
        print_json({"model": repr(made), "best": best, **told})
        return
    higher = study.higher_is_better
    print_table(study.trials.sort("value", descending=higher, nulls_last=True).head(10), "The best trials")
    parameters = ", ".join(f"{name}={value}" for name, value in study.best_params.items())
    print_facts({f"best {study.metric}": study.best_value, "with": parameters, "validation": study.validation})
    if scored is not None:
        print_table(scored, f"On the test ({test}), fitted on all that is not in it")
    if save is not None:
        say(f"Model written to {save}")


def _space(model: str, texts: list[str]) -> dict[str, Any]:
    """What ``--space`` says: values, or the name of a file that does."""
    if len(texts) > 1 or not texts[0].endswith(".toml"):
        return read_space(model, texts)
    try:
        return tomllib.loads(Path(texts[0]).expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"--space {texts[0]}: {error}") from error


def _share(valid: str | None) -> str | float | None:
    """A share as 10% or 0.1; all else is for the library to read."""
    if valid is None or not valid.endswith("%"):
        is_share = valid is not None and "." in valid and valid.replace(".", "", 1).isdigit()
        return float(valid) if is_share else valid  # type: ignore[arg-type]
    return float(valid[:-1]) / 100 if valid[:-1].replace(".", "", 1).isdigit() else valid
