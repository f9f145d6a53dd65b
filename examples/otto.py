"""Session recommendations at the scale of a competition: from the log to the submission and its score.

    python examples/otto.py                                      # a synthetic log of 20,000 sessions, in half a minute
    python examples/otto.py otto-recsys-train.jsonl              # the OTTO log, its last week held out
    python examples/otto.py --sessions 14_750_000 --items 1_855_603 --days 31.6 --test 95h --folder FOLDER

The last one is as large as the competition: 237 million events to learn from, 1.36 million sessions to go on with. The
folder keeps the log and its split: a second run of the same log starts from there. --compare adds simpler models.

Items that follow each other in sessions make pairs, and the pairs an item-item factorization; an index finds the
neighbours of its vectors. Co-visitation counts what occurs near what. A session is answered by what it had already, by
recency and type of event, then by the neighbours of its newest items in both, then by popular items. Recall@20 by type
as the competition counts it, total .10 clicks + .30 carts + .60 orders; how much of the truth longer lists hold tells
what a second stage could reach.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
import warnings
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

import cofactor as cf
from cofactor.data.sessions import Sessions
from cofactor.data.split import cut_sessions

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPTHS = (20, 50, 100, 200)
ROLES = {"user": None, "session": "session", "item": "item_id", "time": "time", "event_type": "event_type"}


class Stage(NamedTuple):
    """What a step took; memory is the most that the process has had so far."""

    name: str
    seconds: float
    cpu_seconds: float
    peak_gb: float


class Stages(list[Stage]):
    """The steps of a run, told as they end."""

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time what stands inside."""
        begin = time.perf_counter(), time.process_time()
        yield
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)
        stage = Stage(name, time.perf_counter() - begin[0], time.process_time() - begin[1], peak)
        self.append(stage)
        print(f"{stage.seconds:8.1f} s {stage.cpu_seconds:8.1f} CPU s {stage.peak_gb:6.2f} GB  {name}", flush=True)


def split(args: argparse.Namespace, folder: Path) -> None:
    """Write train, test and labels as Parquet."""
    if args.log:
        events = cf.datasets.otto(args.log)
    else:
        events = cf.datasets.synthetic_sessions(
            args.sessions, args.items, days=args.days, path=folder / "log.parquet", seed=args.seed
        )
    train, test, labels = cut_sessions(events, args.test, seed=args.seed)
    kind = pl.Enum(["clicks", "carts", "orders"])
    columns = {name: pl.col(str(getattr(events, role))) for role, name in ROLES.items() if name is not None}
    columns["event_type"] = columns["event_type"].cast(kind)
    for part, name in ((train, "train"), (test, "test")):
        part.frame.select(**columns).sink_parquet(folder / f"{name}.parquet")
    labels.write_parquet(folder / "labels.parquet")
    print(*test.notes, sep="\n")


def has_split(args: argparse.Namespace, folder: Path) -> bool:
    """Whether a split of the same arguments lies there; if not, they are written beside the one to come."""
    made = {"log": [str(Path(file).resolve()) for file in args.log], "test": args.test, "seed": args.seed}
    if not args.log:
        made |= {"sessions": args.sessions, "items": args.items, "days": args.days}
    written = folder / "split.json"
    if not (folder / "labels.parquet").exists():
        written.write_text(json.dumps(made))
        return False
    found = json.loads(written.read_text()) if written.exists() else "unknown arguments"
    if found != made:
        raise SystemExit(f"{folder} holds a split of {found}, not of {made}; give another --folder, or empty this one")
    return True


def models(stages: Stages, files: list[Path], args: argparse.Namespace) -> tuple[cf.ItemPairsMF, cf.CoVisitation]:
    """The factorization and the co-visitation matrix of train and the beginnings of the test sessions."""
    with stages("read the log"):
        x = cf.read_events(files, **ROLES).interactions()
    with stages("sessions"):
        sessions = Sessions.of(x)
    with stages("pairs"):
        pairs = sessions.pairs(repeats=False, last_events=500)
        print(f"{sessions}, {pairs}")
    factorization = cf.ItemPairsMF(
        args.factors, loss="logistic", epochs=args.epochs, deterministic=False, held_out=0.001
    )
    with stages("factorization"):
        factorization.fit(x, pairs=pairs)
    del pairs
    with stages("co-visitation"):
        counts = cf.CoVisitation.type_weighted().fit(x)
    print(f"validation accuracy of pairs after every epoch: {factorization.accuracy_.round(4).tolist()}")
    return factorization, counts


def compare(files: list[Path], labels: pl.DataFrame) -> pl.DataFrame:
    """Recall@20 of simpler models, and of the three classic co-visitation matrices."""
    x = cf.read_events(files, **ROLES).interactions(
        cf.weights.by_type({"clicks": 1, "carts": 6, "orders": 3}) * cf.weights.half_life("1d")
    )
    matrices = cf.CoVisitation.type_weighted(), cf.CoVisitation.buy_to_buy(), cf.CoVisitation.time_weighted()
    three = cf.CoVisitationSum(*matrices, weights=[1, 5, 1])
    own = cf.PersonalPopular()
    others = {
        "popular": cf.Popular(),
        "the session's own items, newest first": own,
        "own items, then popular": cf.Fallback(own, cf.Popular()),
        "own items, then three matrices, then popular": cf.Fallback(own, three, cf.Popular()),
    }
    sessions, rows = labels["user_id"].unique().sort(), []
    for name, model in others.items():
        lists = model.fit(x).recommend(sessions, k=20, exclude_seen=False)
        recall = cf.evaluate_by_type(lists, labels)
        rows.append({"model": name} | dict(recall.select("event_type", "recall").iter_rows()))
    return pl.DataFrame(rows)


def main() -> dict[str, pl.DataFrame]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", nargs="*", help="files of OTTO sessions, JSON lines")
    parser.add_argument("--sessions", type=int, default=20_000, help="of the synthetic log")
    parser.add_argument("--items", type=int, default=5_000, help="of the synthetic log")
    parser.add_argument("--days", type=float, default=28.0, help="of the synthetic log")
    parser.add_argument("--test", default="7d", help="how much of the end of the log is held out")
    parser.add_argument("--folder", type=Path, help="where the split and the submission go; by default a temporary one")
    parser.add_argument("--factors", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--recall", type=float, default=0.8, help="of the index that finds neighbours of vectors")
    parser.add_argument("--recent", type=int, default=3, help="items of a session whose neighbours are candidates")
    parser.add_argument("--neighbours", type=int, default=30, help="of each of these items")
    parser.add_argument("--candidates", type=int, default=20_000, help="sessions whose longer lists are measured")
    parser.add_argument("--compare", action="store_true", help="measure simpler models as well, and three matrices")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    warnings.simplefilter("ignore", cf.CofactorWarning)  # last_events leaves out the early events of long sessions
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        return run(args, folder)


def run(args: argparse.Namespace, folder: Path) -> dict[str, pl.DataFrame]:
    stages, files = Stages(), [folder / "train.parquet", folder / "test.parquet"]
    if not has_split(args, folder):
        with stages("make the split (not part of the story)"):
            split(args, folder)
        stages.clear()
    factorization, counts = models(stages, files, args)
    with stages("index"):
        factorization = cf.retrieval.indexed(factorization, partial(cf.retrieval.ApproximateIndex, recall=args.recall))
        model = cf.HistoryRerank.fitted(factorization, counts, recent=args.recent, neighbours=args.neighbours)
    sessions = cf.read_events(files[1:], **ROLES)
    submission = folder / "submission.csv"
    with stages("candidates, ranking, submission"):
        lists = cf.submission.lists_for(model, sessions)
        n = cf.submission.write(lists, submission)
    print(f"{n:,} sessions in {submission}")
    total = [sum(stage[at] for stage in stages) for at in (1, 2)]
    print(f"{total[0]:8.1f} s {total[1]:8.1f} CPU s {max(s.peak_gb for s in stages):6.2f} GB  all of it\n")
    labels = pl.read_parquet(folder / "labels.parquet")
    with stages("score"):
        score = cf.evaluate_by_type(cf.submission.read(submission, dtype=labels.schema["user_id"]), labels)
    with stages("candidates at several depths"):
        some = labels["user_id"].unique().sort().head(args.candidates)
        of_some = sessions.filter(pl.col("session").is_in(some.implode()))
        deep = cf.submission.lists_for(model, of_some, max(DEPTHS))
        recall = cf.evaluate_by_type(deep, labels.filter(pl.col("user_id").is_in(some.implode())), DEPTHS)
    print(f"\nRecall@20\n{score}\n\nCandidates of {len(some):,} sessions\n{recall}")
    found = {"score": score, "candidates": recall, "stages": pl.DataFrame(stages, schema=Stage._fields, orient="row")}
    if args.compare:
        found["others"] = compare(files, labels)
        print(f"\nOthers\n{found['others']}")
    return found


if __name__ == "__main__":
    with pl.Config(tbl_rows=-1, tbl_hide_dataframe_shape=True):
        main()
