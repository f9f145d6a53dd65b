"""The report of a comparison: all that is known of it on one page, a section where there is something to say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cofactor.checks import check_at_least, check_flag, check_type, nearest, shown, warn
from cofactor.data.tables import TableLike, pairs_of
from cofactor.errors import ParameterError
from cofactor.evaluation.measure import Measurement, measure
from cofactor.evaluation.paired import paired_tests
from cofactor.evaluation.readings import readings, times
from cofactor.evaluation.study import Study
from cofactor.evaluation.unseen import unseen
from cofactor.report import plots
from cofactor.report.boards import higher_is_better, metrics_of
from cofactor.report.page import Report
from cofactor.report.people import HIT, check_users, named, people, typical_users
from cofactor.report.search_charts import parameters_of
from cofactor.report.significance import SAME, against_best, in_words, marks_of, readable_tests
from cofactor.report.slices import by_activity, by_popularity
from cofactor.report.tables import readable_leaderboard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cofactor.data.log import Log
    from cofactor.data.user_items import UserItems

__all__ = ["make_report"]

_MOST_LISTED = 2000  # users whose lists are made for shares and slices
_MOST_LINES = 8  # models in one chart of lines: as many as there are colors
_MOST_BARS = 6  # metrics that are drawn as bars


@dataclass
class _Known:
    """What a report is made of, checked and brought to one form."""

    board: pl.DataFrame
    metrics: list[str]
    models: dict[str, Any]
    x: UserItems | None
    log: Log | None
    pairs: pl.DataFrame | None
    n_read: int = 0  # how often the test was read before
    values: dict[str, pl.DataFrame] = field(default_factory=dict)
    lists: dict[str, pl.DataFrame] = field(default_factory=dict)


def make_report(
    board: pl.DataFrame,
    *,
    models: Mapping[str, Any] | None = None,
    train: Log | UserItems | None = None,
    test: TableLike | None = None,
    measured: Mapping[str, Measurement | pl.DataFrame] | None = None,
    tests: pl.DataFrame | None = None,
    trials: Study | pl.DataFrame | Mapping[str, Any] | None = None,
    names: Mapping[Any, str] | TableLike | None = None,
    users: int | Iterable[Any] = 3,
    k: int = 10,
    exclude_seen: bool = True,
    title: str = "Results",
    lead: str = "",
) -> Report:
    """Put what is known of a comparison on one page; what is not given has no section.

    Parameters
    ----------
    board : DataFrame
        From ``compare``, the best on top.
    models : mapping of name to fitted model, optional
        As in the leaderboard, for learning curves, parameters, and lists. Lists of at most 2,000 users are made.
    train : Events, Interactions or Ratings, optional
        For popularity and activity where there are no fitted models. Events with times tell histories in their order.
    test : Events, Interactions, Ratings, or table with ``user_id`` and ``item_id``, optional
        What was held out.
    measured : mapping of name to Measurement or DataFrame, optional
        Values per user (``evaluate(..., per_user=True)``), for the metric by activity. With models and a test the first
        metric is measured once more if this is missing.
    tests : DataFrame, optional
        From ``paired_tests``, for signs of significance. By default of the first metric, where its values per user are
        known: of all pairs of models, or, of more than eight, of each with the best.
    trials : Study or DataFrame, or a mapping of model to one, optional
        Of a search: a column for each parameter, and ``value``.
    names : mapping of item id to name, or table with ``item_id`` and ``name`` or ``title``, optional
    users : int or ids
        Whom to show: ids, or how many; these are chosen by activity, whatever their hits are.
    k : int
        Length of the lists.
    exclude_seen : bool
        Whether lists leave out what users had; as in the comparison.
    title, lead : str

    Returns
    -------
    Report
        Sections may be added; ``write("report.html")`` writes it, and notebooks show it.

    Raises
    ------
    ParameterError
        The leaderboard has no ``model`` or no metric, or a parameter is none of the possible ones.
    """
    check_type("board", board, pl.DataFrame, "a leaderboard of compare")
    if "model" not in board.columns or not metrics_of(board):
        raise ParameterError(f"board: a leaderboard of compare is expected, got the columns {board.columns}")
    if board.is_empty():
        raise ParameterError("board: the leaderboard has no rows, and there is nothing to report")
    check_at_least("k", k, 1, whole=True)
    check_flag("exclude_seen", exclude_seen)
    _check(title=title, lead=lead, measured=measured, tests=tests)
    known = _known(board, {} if models is None else models, train, test)
    known.values = _per_user(known, measured, exclude_seen=exclude_seen)
    tests = _tested(known) if tests is None else tests
    known.lists = _lists(known, k, exclude_seen=exclude_seen)
    by_id = named(names)
    page = Report(title, lead)
    _leaderboard(page, known, tests)
    _slices(page, known, k, exclude_seen=exclude_seen)
    _long_tail(page, known)
    _learning(page, known.models)
    _tuning(page, trials)
    if chosen := _asked(users, known):
        _people(page, known, chosen, by_id, k, exclude_seen=exclude_seen)
    if known.models:
        page.section("Parameters").facts({name: repr(model) for name, model in known.models.items()})
    return page


def _check(**given: object) -> None:
    """Raise ParameterError where one of these is not what it has to be."""
    kinds: dict[str, tuple[Any, str]] = {
        "title": (str, "a text"),
        "lead": (str, "a text"),
        "measured": (Mapping | None, "values per user by the name of the model, or None"),
        "tests": (pl.DataFrame | None, "a table of paired_tests, or None"),
    }
    for name, value in given.items():
        check_type(name, value, *kinds[name])


def _known(board: pl.DataFrame, models: Mapping[str, Any], train: Any, test: TableLike) -> _Known:  # noqa: ANN401
    check_type("models", models, Mapping, "models by their name in the leaderboard")
    _check_names(board, "models", models)
    ordered = {name: models[name] for name in board["model"] if name in models}
    fitted = {name: model for name, model in ordered.items() if hasattr(model, "interactions_")}
    failed = set(board.filter(pl.col(metrics_of(board)[0]).is_null())["model"])
    if bare := [name for name in ordered if name not in {*fitted, *failed} and hasattr(ordered[name], "fit")]:
        warn(
            f"models: {', '.join(map(repr, bare))} is not fitted, and in the leaderboard only; fit it, or leave it out"
        )
    log = train if hasattr(train, "interactions") else None
    given = train if log is None or fitted else log.interactions()
    x = next(iter(fitted.values())).interactions_ if fitted else given
    if x is not None and not hasattr(x, "user_items"):
        raise ParameterError(f"train: Events, Interactions or Ratings are expected, got {shown(train)}")
    pairs = None if test is None else pairs_of(test)
    return _Known(board, metrics_of(board), fitted, x, log, pairs, _read(board, pairs))


def _check_names(board: pl.DataFrame, what: str, given: Mapping[str, Any]) -> None:
    there = board["model"].to_list()
    if stray := [name for name in given if name not in there]:
        told = ", ".join(map(repr, stray))
        raise ParameterError(
            f"{what}: {told} is not in the leaderboard{nearest(stray[0], there) or '.'} It has {there}"
        )


def _per_user(known: _Known, measured: Any, *, exclude_seen: bool) -> dict[str, pl.DataFrame]:  # noqa: ANN401
    """The first metric for every user of every model, where it is known."""
    metric, found = known.metrics[0], {}
    _check_names(known.board, "measured", measured or {})
    if measured is None:
        pairs = known.pairs
        measured = {} if pairs is None else known.models
        measured = {name: measure(model, pairs, metric, exclude_seen=exclude_seen) for name, model in measured.items()}
    for name, one in measured.items():
        values = one.of_users if isinstance(one, Measurement) else one
        if metric in values.columns:
            found[name] = values.select("user_id", metric)
    return {name: found[name] for name in known.board["model"] if name in found}


def _tested(known: _Known) -> pl.DataFrame | None:
    """All pairs of models, or, of many, each with the best."""
    best = known.board["model"][0]
    if len(known.values) < 2:
        return None
    return paired_tests(
        known.values, baseline=best if len(known.values) > _MOST_LINES and best in known.values else None
    )


def _lists(known: _Known, k: int, *, exclude_seen: bool) -> dict[str, pl.DataFrame]:
    """Lists of test users, evenly chosen of all."""
    if known.pairs is None or known.x is None:
        return {}
    users = known.pairs["user_id"].unique().sort()
    users = users.filter(pl.Series(known.x.users.rows(users) >= 0))
    if len(users) > _MOST_LISTED:
        users = users.gather(np.linspace(0, len(users) - 1, _MOST_LISTED).astype(np.int64))
    options: Any = {"exclude_seen": exclude_seen, "unknown": "skip"}
    return {name: model.recommend(users, k, **options) for name, model in known.models.items()} if len(users) else {}


def _read(board: pl.DataFrame, pairs: pl.DataFrame | None) -> int:
    """How often the test was read: as the leaderboard tells, and by this process."""
    told = board["reading"].drop_nulls().to_list() if "reading" in board.columns else []
    return int(max([*told, 0 if pairs is None else readings(pairs)]))


def _few(of_models: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The best models, as many as one chart can tell apart; the lines of the charts are in the same order."""
    return dict(list(of_models.items())[: _MOST_LINES - 1])


def _leaderboard(page: Report, known: _Known, tests: pl.DataFrame | None) -> None:
    board, metrics = known.board, known.metrics
    table = readable_leaderboard(board.select(pl.exclude("pareto", "chosen_on")))  # a chart, and a text show these
    marks = {}
    if tests is not None and not tests.is_empty():
        found = against_best(board, tests, metrics[0])
        marks = marks_of(found)
        table.insert_column(table.columns.index(metrics[0]) + 1, in_words(board, found))
    page.table(table, best_first=True)
    if tests is not None and not tests.is_empty():
        page.text(
            f"{SAME} beside a model: by {metrics[0]} it does not differ from the best one by more than chance (paired "
            "bootstrap over users, corrected by Holm for the number of pairs)."
        )
    if known.n_read:
        page.text(
            f"This test was read {times(known.n_read)} before, as far as that was seen, once for each model and look: "
            "the best of many looks is better than what will come."
        )
    if (chosen := board.select(pl.col("model", "^chosen_on$")).drop_nulls()).width > 1:
        for name, on in chosen.iter_rows():
            page.text(f"Parameters of {name} were chosen on {on}.")
    for metric in metrics[:_MOST_BARS]:
        page.chart(plots.leaderboard(board, metric, marks=marks if metric == metrics[0] else {}))
    timed = [seconds for seconds in ("fit_seconds", "recommend_seconds") if seconds in board.columns]
    if timed:
        page.section("Accuracy and time")
    for seconds in timed:
        page.chart(plots.pareto(board, metrics[0], seconds=seconds))
    if tests is not None and not tests.is_empty():
        page.subsection("Paired tests").table(readable_tests(tests), folded=f"All {tests.height:,} pairs")


def _slices(page: Report, known: _Known, k: int, *, exclude_seen: bool) -> None:
    if known.x is None or not (known.values or known.lists):
        return
    page.section("For whom, and for what")
    page.text("A mean over users hides who is served: those with long histories or short ones, and by which items.")
    metric = known.metrics[0]
    if known.values:
        table = by_activity(_few(known.values), metric, known.x)
        page.chart(plots.slices(table, metric, by="items in a user's history"))
    if known.lists and known.pairs is not None:
        users = next(iter(known.lists.values()))["user_id"].unique()
        pairs = known.pairs.filter(pl.col("user_id").is_in(users.implode()))
        pairs = unseen(pairs, known.x) if exclude_seen else pairs
        if len(pairs):
            table = by_popularity(_few(known.lists), pairs, known.x)
            page.chart(plots.slices(table, f"share found@{k}", by="users of the item"))


def _long_tail(page: Report, known: _Known) -> None:
    if known.x is not None:
        page.section("Long tail").text(
            "A few items hold most interactions. A line that rises faster than that of the interactions belongs to a "
            "model that recommends popular items even more than they are chosen."
        )
        page.chart(plots.long_tail(known.x)).chart(plots.concentration(known.x, _few(known.lists)))


def _learning(page: Report, models: Mapping[str, Any]) -> None:
    losses = {}
    for name, model in models.items():
        of_parts = {"training": "loss_history_", "held out": "held_out_loss_"}
        known = {part: getattr(model, attribute, ()) for part, attribute in of_parts.items()}
        losses[name] = {part: values for part, values in known.items() if len(values)}
    if any(losses.values()):
        page.section("Learning curves").text("Losses of different models are on scales of their own.")
    for name, of_model in losses.items():
        if of_model:
            page.chart(plots.losses(of_model, title=f"Loss of {name}"))


def _tuning(page: Report, trials: Any) -> None:  # noqa: ANN401
    """The searches of studies, or of tables of trials of any origin."""
    studies = dict(trials) if isinstance(trials, Mapping) else {} if trials is None else {"": trials}
    for study in studies.values():
        if not isinstance(study, pl.DataFrame | Study):
            raise ParameterError(f"trials: a Study or a table of trials is expected, got {shown(study)}")
    if studies:
        page.section("Tuning").text("Measured on a part of the training data: the test is not in these numbers.")
    for name, study in studies.items():
        if name:
            page.subsection(name)
        _search(page, study)


def _search(page: Report, study: Any) -> None:  # noqa: ANN401
    trials, metric = (study, "value") if isinstance(study, pl.DataFrame) else (study.trials, study.metric)
    higher, varied = higher_is_better(metric), parameters_of(trials)
    page.chart(plots.search(trials, metric=metric, higher_is_better=higher))
    if len(varied) > 1:
        page.chart(plots.surface(trials, metric=metric, higher_is_better=higher))
    for name in varied[:_MOST_BARS]:
        page.chart(plots.parameter(trials, name, metric=metric))
    ordered = trials.sort("value", descending=higher, nulls_last=True)
    told = f"The best {min(100, trials.height)} of {trials.height} trials"
    page.table(ordered.head(100), best_first=True, folded=told)


def _asked(users: int | Iterable[Any], known: _Known) -> Sequence[Any]:
    """The users to show; nobody where there are no lists and nobody was named."""
    if isinstance(users, str | Mapping) or not isinstance(users, Iterable):
        check_at_least("users", users, 0, whole=True)
        if known.pairs is None or known.x is None or not known.lists:
            return []
        return typical_users(known.pairs, known.x, int(users))  # type: ignore[arg-type]
    chosen = list(users)
    if chosen and (known.x is None or not known.lists):
        raise ParameterError("users: to show somebody's lists, give models= that are fitted, and test=")
    if known.x is not None:
        check_users(chosen, known.x)
    return chosen


def _people(
    page: Report, known: _Known, users: Sequence[Any], names: dict[Any, str], k: int, *, exclude_seen: bool
) -> None:
    assert known.x is not None
    if not users:
        return
    best = list(known.models)[:3]
    options: Any = {"exclude_seen": exclude_seen}
    lists = {name: known.models[name].recommend(users, k, **options) for name in best}
    page.section("Some users").text(
        f"Chosen by the length of their histories and not by hits. {HIT} was held out, and is what lists should hold."
    )
    for person in people(users, lists, known.pairs, known.x, log=known.log, names=names):
        page.subsection(f"User {person.user}")
        page.facts({"history": person.history, "held out": person.held_out}).table(person.lists)
