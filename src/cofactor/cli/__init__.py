"""The command line, ``cofactor train``, ``compare`` ...: commands parse, call the library and print."""

from cofactor.cli.app import app
from cofactor.cli.auto import auto
from cofactor.cli.compare import compare, evaluate
from cofactor.cli.demo import demo
from cofactor.cli.doctor import doctor
from cofactor.cli.export import export
from cofactor.cli.gate import gate
from cofactor.cli.inspect import inspect
from cofactor.cli.options import unfold
from cofactor.cli.recommend import recommend, similar
from cofactor.cli.run import run
from cofactor.cli.serve import serve
from cofactor.cli.sessions import cut, pairs, score, submit
from cofactor.cli.train import train
from cofactor.cli.tune import tune

__all__ = ["app", "main"]

for command in (
    demo,
    train,
    recommend,
    similar,
    evaluate,
    compare,
    gate,
    tune,
    auto,
    run,
    cut,
    pairs,
    submit,
    score,
    serve,
    export,
    inspect,
    doctor,
):
    app.command()(unfold(command))


def main() -> None:
    """Run the command that the arguments name; exits 0 (ok), 1 (failed), 2 (usage) or 130 (interrupted)."""
    app(prog_name="cofactor")
