"""``cofactor doctor``: what cofactor finds on this machine."""

from cofactor.cli.diagnosis import Fact, examine
from cofactor.cli.options import Json
from cofactor.cli.output import print_facts, print_json, say

__all__ = ["doctor"]


def doctor(as_json: Json = False) -> None:
    """Show versions, CPU level, threads, memory and BLAS, and what would slow cofactor down."""
    found = examine()
    if as_json:
        print_json({"facts": found.facts, "warnings": found.warnings})
        return
    for section, facts in found.facts.items():
        readable = {name: _readable(section, fact) for name, fact in facts.items()}
        print_facts({name: text for name, text in readable.items() if text}, section)
        say()
    if not found.warnings:
        say("Nothing found that would slow cofactor down.", "green")
    for warning in found.warnings:
        say(f"warning: {warning}", "yellow")


def _readable(section: str, fact: Fact) -> str:
    if section == "extras":
        return "installed" if fact is None else f"lacks {fact}"
    if section == "memory" and fact is not None:
        return f"{float(fact) / 2**30:.1f} GiB"
    return "" if fact is None else str(fact)
