"""The application: how errors, warnings and Ctrl-C reach the user."""

import warnings
from functools import partial
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cofactor.cli.output import complain, note
from cofactor.cli.wording import in_options
from cofactor.errors import CofactorError, CofactorWarning

__all__ = ["app"]


class _Group(TyperGroup):
    """Turns the library's errors into one line and exit code 1, and its warnings into notes."""

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


app = typer.Typer(
    cls=_Group,
    name="cofactor",
    help="Recommender systems by matrix factorization, from a raw event log to ranked lists.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from cofactor.version import __version__

        typer.echo(f"cofactor {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass
