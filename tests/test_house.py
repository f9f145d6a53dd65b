"""The house is as its papers say: the picture, the names of kernels, the folders of tests, the public names."""

import importlib.util
import re
from pathlib import Path

import pytest

import cofactor as cf
from cofactor.kernels import cpu

HERE = Path(__file__).parent
ROOT = HERE.parent
SOURCE = ROOT / "src" / "cofactor"

PUBLIC = """
    ArtifactError BayesianMF BiasOnly BiasedMF Blend CoClustering CoVisitation CoVisitationSum
    CofactorError CofactorWarning DataError EASE Events FactorModel FactorizationMachine Fallback
    Features FixedFactors GlobalMean GraphFilter HistoryRerank IdMap ImplicitALS Interactions ItemKNN
    ItemPairsMF MissingExtraError NextBasket NotFittedError PairLoader ParameterError PersonalPopular
    Popular PureSVD RP3beta Random RatingModel Ratings Recommender Report Repurchase SLIM SVDpp
    SampledMF SessionKNN SessionMF UnknownIdError UserKNN best_model calibration check_leaks compare
    cluster cross_validate datasets errors_by_rating evaluate evaluate_by_type evaluate_rows gate load
    load_interactions make_report paired_tests plots read_events readings retrieval run_experiment
    sampled_candidates sampling split submission tune weights
"""


def test_public_names_stay():
    """A name goes with a major version, and comes with a line in the changelog."""
    assert set(cf.__all__) == set(PUBLIC.split())


def test_what_needs_torch_is_run_where_torch_is():
    """The step before it has none, and skips these."""
    asks = re.compile(r'importorskip\("torch"|"torch" not in in_torch\(')
    files = [path.relative_to(ROOT) for path in HERE.rglob("test_*.py") if asks.search(path.read_text())]
    step = (ROOT / ".ci" / "run").read_text().partition("pip install --quiet --retries 0 torch")[2].partition("else")[0]
    assert files
    for path in files:
        in_kernels = path.parent.name == "kernels" and f"{path.stem.removeprefix('test_')}," in step
        assert str(path) in step or in_kernels, f"name {path} beside torch in .ci/run"


def drawing():
    path = ROOT / "docs" / "draw_architecture.py"
    spec = importlib.util.spec_from_file_location("draw_architecture", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_is_current():
    module = drawing()
    assert module.PICTURE.read_text(encoding="utf-8") == module.draw(), "run: python docs/draw_architecture.py"


KERNELS = sorted(p.stem for p in (SOURCE / "kernels" / "cpu").glob("*.py") if p.stem != "__init__")
# Kernels that share a folder of native/
TOPIC = {
    "covisitation": "sessions",
    "fm_relations": "fm",
    "gaussian_rows": "als",
    "item_pairs": "sgd",
    "pairwise": "sgd",
    "ranks": "topk",
    "ratings_implicit": "sgd",
    "ratings_sgd": "sgd",
    "session_knn": "sessions",
    "session_pairs": "sessions",
    "shared_negatives": "sgd",
}


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kernel_bears_one_name(kernel):
    """In native/, kernels/cpu, tests/kernels, tests/reference and benchmarks."""
    assert (ROOT / "native" / TOPIC.get(kernel, kernel)).is_dir()
    assert (HERE / "kernels" / f"test_{kernel}.py").is_file()
    assert (HERE / "reference" / f"{kernel}.py").is_file()
    assert (ROOT / "benchmarks" / f"{kernel}.py").is_file()


def test_functions_that_fetch_ahead_are_always_inlined():
    """GCC leaves out calls of functions that do nothing but prefetch."""
    heads = [
        (path.name, line)
        for path in (ROOT / "native").rglob("*.?pp")
        for line in path.read_text().splitlines()
        if re.search(r"\bvoid (pre)?fetch\w*\(", line)
    ]
    assert len(heads) > 8
    assert [(name, line) for name, line in heads if "[[gnu::always_inline]]" not in line] == []


def test_every_kernel_is_in_the_contract():
    no_kernels = {"device", "fetch", "free_memory", "hold", "invert"}
    offered = {name for name in vars(cpu.Kernels) if not name.startswith("_")} - no_kernels
    written = set()
    for kernel in KERNELS:
        written |= set(importlib.import_module(f"cofactor.kernels.cpu.{kernel}").__all__)
    assert offered == written


@pytest.mark.parametrize("folder", sorted({str(p.parent.relative_to(HERE)) for p in HERE.rglob("test_*.py")} - {"."}))
def test_tests_lie_where_the_source_does(folder):
    assert folder == "contract" or (SOURCE / folder).is_dir()
