"""``cofactor serve``: saved models as a service over HTTP."""

import gc
from pathlib import Path
from typing import Annotated, Any

import typer

from cofactor.cli.output import note, say
from cofactor.errors import MissingExtraError, ParameterError

__all__ = ["serve"]

_LIMITS = ("k", "users", "history", "ids", "body", "seconds")


def serve(
    *,
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL...",
            help="Folders of saved models, or NAME=FOLDER; the first answers requests that name none.",
        ),
    ],
    items: Annotated[
        Path | None, typer.Option("--items", help="Table of items for names, search and filters: Parquet, CSV ...")
    ] = None,
    item: Annotated[str, typer.Option("--item", help="Its column of item ids.")] = "item_id",
    name: Annotated[str | None, typer.Option("--name", help="Its column of names. Default: name or title.")] = None,
    image: Annotated[str | None, typer.Option("--image", help="Its column of addresses of pictures.")] = None,
    store: Annotated[
        str | None,
        typer.Option("--store", help="Where events and availability are kept: a file (SQLite) or postgresql://..."),
    ] = None,
    keys: Annotated[
        Path | None, typer.Option("--keys", help="File of API keys (TOML); also the variable COFACTOR_KEYS.")
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on; 0.0.0.0 is every one.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 is any free one.")] = 8000,
    workers: Annotated[int, typer.Option("--workers", min=1, max=256, help="Processes.")] = 1,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Of each worker. Default: the CPUs by the workers.")
    ] = None,
    watch: Annotated[
        float | None,
        typer.Option("--watch", help="Take over newly saved models; look every so many seconds."),
    ] = None,
    most_lost: Annotated[
        float, typer.Option("--most-lost", min=0, max=1, help="Share of the items that a new model may lack.")
    ] = 0.2,
    drain: Annotated[float, typer.Option("--drain", min=0, help="Seconds for requests under way at the end.")] = 30.0,
    limit: Annotated[
        list[str] | None,
        typer.Option("--limit", help=f"NAME=NUMBER, of {', '.join(_LIMITS)}: the most that a request may ask for."),
    ] = None,
    log_level: Annotated[str, typer.Option("--log-level", help="debug, info, warning or error.")] = "info",
    log_requests: Annotated[
        bool, typer.Option("--log-requests", help="Log every request, not only those that fail.")
    ] = False,
) -> None:
    """Serve saved models: recommendations over HTTP, and a page to look at them.

    The page is at the address itself, the interface at /docs.
    """
    gc.disable()  # until it serves: nothing of what is loaded is garbage
    try:
        from cofactor.serve.server import serve as run
        from cofactor.serve.settings import Settings
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "cofactor":
            raise
        raise MissingExtraError(f"serving needs {error.name}; pip install 'cofactor[serve]'") from error
    settings = Settings(
        models=_named(models),
        items=_path(items),
        item=item,
        name=name,
        image=image,
        store=store,
        keys=_path(keys),
        watch=watch,
        most_lost=most_lost,
        limits=_limits(limit or []),
        threads=threads,
        log_level=log_level,
        log_requests=log_requests,
    )
    if host not in ("127.0.0.1", "localhost", "::1") and keys is None:
        note("without --keys everybody who reaches this address may ask, send events and change what is served")
    run(settings, host=host, port=port, workers=workers, drain=drain, told=lambda address: say(f"serving on {address}"))


def _named(models: list[Path]) -> dict[str, str]:
    """Folders by name: what stands before ``=``, else the name of the folder."""
    named: dict[str, str] = {}
    for given in models:
        before, equals, after = str(given).partition("=")
        named_so = bool(equals) and "/" not in before and not given.exists()
        folder = Path(after if named_so else given).expanduser().resolve()
        name = before if named_so else folder.name
        if name in named or name in ("current", "previous", ""):
            raise ParameterError(f"there is another model {name!r}; give it a name: NAME={folder}")
        named[name] = str(folder)
    return named


def _path(path: Path | None) -> str | None:
    return None if path is None else str(path.expanduser().resolve())


def _limits(given: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in given:
        name, _, number = text.partition("=")
        if name not in _LIMITS:
            raise typer.BadParameter(f"--limit {text!r}: the limits are {', '.join(_LIMITS)}")
        try:
            found[name] = float(number) if name == "seconds" else int(number)
        except ValueError:
            raise typer.BadParameter(f"--limit {text!r} must be NAME=NUMBER, such as k=100") from None
    return found
