"""The command line, ``cofactor train``, ``compare`` ...: commands parse, call the library and print."""

from cofactor.cli.app import app

__all__ = ["app", "main"]


def main() -> None:
    """Run the command that the arguments name; exits 0 (ok), 1 (failed), 2 (usage) or 130 (interrupted)."""
    app(prog_name="cofactor")
