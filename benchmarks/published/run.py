"""The tables of published splits: every experiment of this folder, one after the other, as one page.

    python benchmarks/published/run.py --data FOLDER                 # all of it: an hour and a half of CPU
    python benchmarks/published/run.py --data FOLDER --quick         # without the rows that take minutes
    python benchmarks/published/run.py --data FOLDER --only ncf_ml-1m --models "SLIM;EASE"

FOLDER (or the environment variable COFACTOR_DATA) holds the data sets under the names that the files have; what is not
there is left out, and the page says so. Each file alone: ``cofactor run benchmarks/published/NAME.toml --data FOLDER``.
Ours were chosen on training data only (``benchmarks/published/tune.py``); "test read n times" counts this run.
"""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path

import cofactor as cf
from cofactor.evaluation.experiment import Experiment

HERE = Path(__file__).parent
# Rows that take more than a minute on two cores.
SLOW = {
    "ncf_ml-1m": ("SampledMF", "SampledMF, logistic"),
    "gowalla_lightgcn": ("EASE, l2 as published", "EASE", "SampledMF", "SampledMF, 256 factors"),
    "ml-100k_u1-u5": ("FactorizationMachine", "FactorizationMachine, sets"),
    "ml-1m_90-10": ("BayesianMF", "FactorizationMachine", "FactorizationMachine, sets"),
    "ml-1m_5-folds": ("BayesianMF", "FactorizationMachine", "FactorizationMachine, sets"),
}


def page(file: Path, data: Path, out: Path, *, quick: bool, models: list[str] | None, seed: int | None) -> str:
    """Run one experiment, and give its part of the page."""
    experiment = Experiment.read(file)
    slow = SLOW.get(file.stem, ()) if quick else ()
    names = [name for name in experiment.models if name not in slow and (models is None or name in models)]
    if not names:
        return f"## {experiment.name}\n\nNone of the models was asked for.\n"
    try:
        result = cf.run_experiment(experiment, data=data, out=out / file.stem, models=names, seed=seed)
    except cf.DataError as error:
        return f"## {experiment.name}\n\nLeft out: {error}\n"
    left_out = [name for name in experiment.models if name not in names]
    told = f"\nNot run: {'; '.join(left_out)}.\n" if left_out else ""
    failed = "".join(f"\nFailed: {name}: {why}\n" for name, why in result.failed.items())
    return f"## {experiment.name}\n\n{result.description}\n\n{result.leaderboard()}\n{told}{failed}"


def main() -> None:
    """Run them and write ``published.md``."""
    files = {file.stem: file for file in sorted(HERE.glob("*.toml"))}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("COFACTOR_DATA"), help="folder of the data sets")
    parser.add_argument(
        "--out", type=Path, default=Path("published"), help="folder for the results (default published)"
    )
    parser.add_argument("--only", nargs="+", choices=list(files), metavar="NAME", help=f"some of {', '.join(files)}")
    parser.add_argument("--models", help="some of the models, separated by semicolons")
    parser.add_argument("--quick", action="store_true", help="leave out the rows that take minutes")
    parser.add_argument("--seed", type=int, help="of the models that have one (default 0)")
    args = parser.parse_args()
    if args.data is None:
        parser.error("give --data FOLDER or set COFACTOR_DATA")
    warnings.simplefilter("ignore", cf.CofactorWarning)  # repeats among negatives, items of a test that train lacks
    models = None if args.models is None else [name.strip() for name in args.models.split(";")]
    parts = ["# Published splits\n"]
    for name in args.only or files:
        parts.append(page(files[name], Path(args.data), args.out, quick=args.quick, models=models, seed=args.seed))
        print(parts[-1], flush=True)
        (args.out / "published.md").write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
