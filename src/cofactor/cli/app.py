"""The application: its commands, loaded when asked for, and how errors, warnings and Ctrl-C reach the user."""

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial, wraps
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cofactor.cli.output import complain, note
from cofactor.cli.wording import in_options
from cofactor.errors import CofactorError, CofactorWarning
from cofactor.version import __version__

__all__ = ["app"]

# The module of each command, in the order of the help.
_COMMANDS = {
    "demo": "demo",
    "train": "train",
    "recommend": "recommend",
    "similar": "recommend",
    "evaluate": "compare",
    "compare": "compare",
    "gate": "gate",
    "tune": "tune",
    "auto": "auto",
    "run": "run",
    "cut": "sessions",
    "pairs": "sessions",
    "submit": "sessions",
    "score": "sessions",
    "serve": "serve",
    "export": "export",
    "inspect": "inspect",
    "doctor": "doctor",
}
_SETTINGS = {"help_option_names": ["-h", "--help"]}


class _Commands(Mapping[str, Any]):
    """The commands by name, each imported when it is asked for."""

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401  # typer keeps the class of its commands to itself
        alone = typer.Typer(add_completion=False, context_settings=_SETTINGS)
        alone.command(name)(_unfold(getattr(import_module(f"cofactor.cli.{_COMMANDS[name]}"), name)))
        return typer.main.get_command(alone)

    def __iter__(self) -> Iterator[str]:
        return iter(_COMMANDS)

    def __len__(self) -> int:
        return len(_COMMANDS)


class _Group(TyperGroup):
    """Turns the library's errors into one line and exit code 1, and its warnings into notes."""

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401
        super().__init__(**attributes)
        self.commands = _Commands()  # type: ignore[assignment]  # none is added or taken away

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        with warnings.catch_warnings():
            warnings.simplefilter("always", CofactorWarning)
            warnings.showwarning = partial(_show, ctx)
            try:
                return super().invoke(ctx)
            except CofactorError as error:
                complain(in_options(str(error), _options_of(ctx)))
                raise typer.Exit(1) from error
            except KeyboardInterrupt as error:
                complain("interrupted; unfinished files were removed")
                raise typer.Exit(130) from error


def _show(ctx: Any, message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:  # noqa: ANN401
    ours = issubclass(category, CofactorWarning)
    note(in_options(str(message), _options_of(ctx)) if ours else f"{category.__name__}: {message}")


def _options_of(ctx: Any) -> list[str]:  # noqa: ANN401
    """The options of the command that runs."""
    command = ctx.command.get_command(ctx, ctx.invoked_subcommand or "")
    return [option for parameter in getattr(command, "params", ()) for option in parameter.opts]


def _unfold(command: Callable[..., None]) -> Callable[..., None]:
    """Replace every parameter of a command that is a group of options by the options of the group."""
    parameters = inspect.signature(command).parameters.values()
    groups: dict[str, Any] = {p.name: p.annotation for p in parameters if is_dataclass(p.annotation)}
    shown: list[inspect.Parameter] = []
    for parameter in parameters:
        group = groups.get(parameter.name)
        shown += [parameter] if group is None else inspect.signature(group).parameters.values()

    @wraps(command)
    def unfolded(**options: Any) -> None:  # noqa: ANN401
        given = {name: group(**{f.name: options.pop(f.name) for f in fields(group)}) for name, group in groups.items()}
        command(**options, **given)

    shown = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in shown]
    unfolded.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    unfolded.__annotations__ = {p.name: p.annotation for p in shown}
    return unfolded


app = typer.Typer(
    cls=_Group,
    name="cofactor",
    help="Recommender systems by matrix factorization, from a raw event log to ranked lists.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings=_SETTINGS,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"cofactor {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass
