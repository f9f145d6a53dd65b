"""``cofactor inspect``: what a saved model or an event log holds."""

import re
import shlex
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from cofactor.cli.options import Json
from cofactor.cli.output import print_facts, print_json, print_table, say
from cofactor.data.sources import open_source
from cofactor.models.base.recommender import load
from cofactor.models.base.saved import read_header

__all__ = ["inspect"]

# How words in the names of columns begin that tell a role, the most telling first.
_WORDS = {
    "user": ("user", "customer", "visitor", "household", "member", "client", "uid"),
    "item": ("item", "product", "article", "stock", "movie", "track", "artist", "sku", "aid"),
    "time": ("timestamp", "datetime", "time", "date", "ts"),
    "session": ("session", "basket", "invoice", "visit", "order"),
    "event-type": ("event", "action", "type"),
    "rating": ("rating", "stars"),
}


def inspect(
    path: Annotated[str, typer.Argument(metavar="PATH", help="Folder of a saved model, or an event log.")],
    as_json: Json = False,
) -> None:
    """Show what a saved model holds, its files verified; or the columns of an event log and their likely roles."""
    if (folder := Path(path).expanduser()).joinpath("model.json").is_file():
        _model(folder, as_json)
    else:
        _events(path, as_json)


def _model(folder: Path, as_json: bool) -> None:
    header = read_header(folder)
    model = load(folder)  # compares every file with its hash
    files = pl.DataFrame(
        {
            "file": list(header["sha256"]),
            "bytes": [(folder / name).stat().st_size for name in header["sha256"]],
            "sha256": list(header["sha256"].values()),
        }
    )
    losses: list[float] = list(getattr(model, "loss_history_", []))
    facts = {"model": header["model"]["class"], "created": header["created"], "cofactor": header["cofactor"]}
    facts |= {"loss": float(losses[-1])} if losses else {}
    if as_json:
        print_json({**facts, "params": header["model"]["params"], "counts": header["counts"], "files": files})
        return
    print_facts(facts | {name: f"{count:,}" for name, count in header["counts"].items()})
    print_facts(model.params(), "\nparameters")
    print_table(files.with_columns(pl.col("sha256").str.head(12), state=pl.lit("whole")), "\nfiles")


def _events(path: str, as_json: bool) -> None:
    source = open_source(path)
    schema = source.frame.collect_schema()
    roles = _roles(schema)
    try:
        first = source.frame.head(5).collect()
        counts: list[int | None] = list(
            source.frame.select(*_counts(schema), pl.len()).collect(engine="streaming").row(0)
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        raise source.explain(error, list(schema)) from error
    columns = pl.DataFrame(
        {
            "column": list(schema),
            "type": [str(dtype) for dtype in schema.values()],
            "nulls": counts[:-1:2],
            "distinct (about)": counts[1:-1:2],
            "likely role": [next((r for r, c in roles.items() if c == name), None) for name in schema],
        }
    )
    if not {"user", "item"} <= roles.keys():
        command = None
    else:
        command = shlex.join(
            ["cofactor", "compare", path, *(w for role, name in roles.items() for w in (f"--{role}", name))]
        )
    n_events = counts[-1] or 0
    if as_json:
        facts = {"files": source.files, "format": source.format, "events": n_events, "roles": roles}
        print_json({**facts, "columns": columns, "first": first, "command": command})
        return
    say(f"{n_events:,} events in {len(source.files)} {source.format} file(s)")
    print_table(columns)
    print_table(first, "\nfirst rows")
    say(f"\nTry: {command}" if command else "\nName the columns of user and item ids with --user and --item.", "bold")


def _counts(schema: pl.Schema) -> list[pl.Expr]:
    """Nulls and distinct values of every column, in pairs."""
    exprs: list[pl.Expr] = []
    for name, dtype in schema.items():
        distinct = pl.lit(None, pl.UInt32) if dtype.is_nested() else pl.col(name).approx_n_unique()
        exprs += [pl.col(name).null_count().alias(f"nulls:{name}"), distinct.alias(f"distinct:{name}")]
    return exprs


def _roles(schema: pl.Schema) -> dict[str, str]:
    """Guess roles from the names of columns; a column has one role at most."""
    roles: dict[str, str] = {}
    for role, words in _WORDS.items():
        free = [name for name, dtype in schema.items() if name not in roles.values() and not dtype.is_nested()]
        ranked = sorted(
            (place, not name.lower().endswith("id"), len(name), name)
            for name in free
            for place, beginning in enumerate(words)
            if any(word.lower().startswith(beginning) for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name))
        )
        if ranked:
            roles[role] = ranked[0][-1]
    return roles
