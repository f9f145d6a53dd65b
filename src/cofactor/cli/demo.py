"""``cofactor demo``: from a real grocery log to leaderboards, recommendations and a report."""

import time
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from cofactor.cli.diagnosis import examine
from cofactor.cli.groceries import Results, analyse
from cofactor.cli.options import Json
from cofactor.cli.output import note, print_json, print_leaderboard, print_table, say
from cofactor.models.base.saved import check_writable
from cofactor.report import plots
from cofactor.report.page import HTML_ENDINGS, Report
from cofactor.report.tables import readable_leaderboard
from cofactor.retrieval import indexed
from cofactor.system.files import check_output, write_table

__all__ = ["demo"]

_REPEATS = (
    "What will a household buy in the four weeks, be it again or for the first time? Groceries are habits: what it "
    "bought most often before, filled up with what is popular, is hard to beat."
)
_DISCOVERY = (
    "What will it buy that it had not bought before? Lists and test hold new products only, so that habits say nothing "
    "and a model has to know what goes with what. Hits are rare: there are tens of thousands of products."
)
_METRICS = (
    "Of the ten products recommended to a household, precision@10 is the share that it bought in the test weeks; "
    "recall@10 is the share of what it bought that is among the ten; ndcg@10 counts a hit more the higher it stands; "
    "coverage@10 is the share of the catalogue that is recommended to anybody. Intervals are 95 % bootstrap "
    "intervals over households."
)
_STORIES = (
    "The household is the one that bought the median number of products in the test weeks, not the one with the most "
    "hits. Different products may have the same name: kinds of milk, flavours, brands."
)


def demo(
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder for what is written.")] = Path("cofactor-demo"),
    as_json: Json = False,
) -> None:
    """Compare models on a real grocery log, recommend products by name, and write a report: about a minute."""
    started = time.perf_counter()
    model, table, page = output / "model", output / "recommendations.parquet", output / "report.html"
    items = output / "items.parquet"
    check_writable(model)
    check_output(table)
    check_output(items)
    check_output(page, HTML_ENDINGS)

    found = analyse(note)
    indexed(found.als).save(model)  # with its indexes, which the service need not make
    write_table(found.recommendations, table)
    write_table(found.items, items)
    _report(found).write(page)
    seconds = time.perf_counter() - started
    written = {"recommendations": str(table), "model": str(model), "items": str(items), "report": str(page)}
    if as_json:
        boards = {"repeats": found.repeats, "discovery": found.discovery}
        print_json({"facts": found.facts, **boards, "written": written, "seconds": seconds})
        return
    _show(found)
    say(f"\nWritten after {seconds:.0f} s:", "bold")
    for name, path in written.items():
        say(f"  {name:16}{path}")
    say("\nTo look at the model, and to ask it by HTTP:", "bold")
    say(f"  cofactor serve {model} --items {items}")


def _show(found: Results) -> None:
    for name, fact in found.facts.items():
        say(f"{name:14}{fact}")
    for title, text, board in _boards(found):
        say(f"\n{title}", "bold")
        say(text, paragraph=True)
        print_leaderboard(board)
    say(_METRICS, "dim", paragraph=True)
    for title, story in found.stories.items():
        say()
        print_table(story, title)
    say(_STORIES, "dim", paragraph=True)


def _boards(found: Results) -> tuple[tuple[str, str, pl.DataFrame], ...]:
    return ("Repeats allowed", _REPEATS, found.repeats), ("Discovery", _DISCOVERY, found.discovery)


def _report(found: Results) -> Report:
    page = Report(
        "Groceries: what will they buy next?",
        "A year of purchases of a grocery chain's households: learned from 48 weeks, measured on the last four.",
    )
    page.facts(found.facts)
    for title, text, board in _boards(found):
        page.section(title).text(text).table(readable_leaderboard(board), best_first=True)
        for metric in ("ndcg@10", "precision@10", "recall@10"):
            page.chart(plots.leaderboard(board, metric))
    page.text(_METRICS)
    page.section("One household").text(_STORIES)
    for title, story in found.stories.items():
        page.subsection(title).table(story)
    page.section("The long tail").text(
        "A few products are bought by most households, most products by a few. A model that knows only what is popular "
        "never shows the rest."
    )
    page.chart(plots.long_tail(found.interactions)).chart(plots.concentration(found.interactions))
    page.section("Training").text("Loss of iALS after every sweep over products and households; it may only fall.")
    page.chart(plots.losses({"iALS": found.als.loss_history_}))
    page.section("Parameters and versions").facts(found.als.params())
    return page.facts(examine().facts["versions"])
