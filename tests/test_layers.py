"""Imports go one way, and nothing unsafe is used."""

import ast
import re
from pathlib import Path

import pytest

import cofactor

ROOT = Path(cofactor.__file__).parent
SOURCES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}

# From the ground up. A module imports its own layer and the ones before it; the longest matching name counts.
LAYERS = [
    ["errors", "files"],
    ["checks", "csr", "ids", "memory", "cgroup", "tables"],
    ["columns", "sources", "weights", "events", "interactions", "sessions", "baskets", "split", "datasets"],
    ["_native_baseline", "kernels"],
    ["models"],
    ["artifact"],
    ["metrics", "lists"],
    ["evaluate", "compare"],
    ["", "cli", "doctor", "plots", "report"],
]
RANK = {f"cofactor.{name}".rstrip("."): rank for rank, names in enumerate(LAYERS) for name in names}

# Imports inside functions that go up, each for a reason.
UPWARD = {
    ("cofactor.kernels.csr", "cofactor.kernels"),  # transposing is native
    ("cofactor.models.base.recommender", "cofactor.models.base.saved"),  # model.save
    ("cofactor.models.base.saved", "cofactor"),  # the version
}


def rank(module):
    while module not in RANK:
        module = module.rpartition(".")[0]
    return RANK[module]


def imports(module):
    """(name of a module of cofactor, whether inside a function) of every import but those for types only."""
    todo = [(ast.parse(SOURCES[module].read_text()), False)]
    while todo:
        node, inside = todo.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in SOURCES or name in RANK else node.module for name in full]
        else:
            names = []
        yield from ((name, inside) for name in names if name.split(".")[0] == "cofactor")
        inside = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        todo += [(child, inside) for child in ast.iter_child_nodes(node)]


def is_excused(module, name):
    return any(module == m and (name == n or name.startswith(n + ".")) for m, n in UPWARD)


@pytest.mark.parametrize("module", SOURCES)
def test_imports_go_down(module):
    up = [n for n, inside in imports(module) if rank(n) > rank(module) and not (inside and is_excused(module, n))]
    assert not up, f"{module} imports from above: {up}"


def test_the_test_sees_imports():
    assert ("cofactor.kernels.cpu", True) in imports("cofactor.kernels.csr")
    assert ("cofactor.errors", False) in imports("cofactor.kernels.csr")
    assert ("cofactor.kernels.csr", False) not in imports("cofactor.models.factors.als")  # for types only


def test_every_layer_exists():
    missing = [name for name in RANK if name not in SOURCES and not name.endswith("_native_baseline")]
    assert not missing, f"no such module: {missing}"


@pytest.mark.parametrize("module", [m for m in SOURCES if m.startswith("cofactor.metrics")])
def test_metrics_know_no_models(module):
    assert not [name for name, _ in imports(module) if name.startswith(("cofactor.models", "cofactor.kernels"))]


OUTSIDE = [m for m in SOURCES if re.match(r"cofactor\.(evaluate|compare|lists|metrics|cli|report)\b", m)]


@pytest.mark.parametrize("module", OUTSIDE)
def test_models_are_used_by_their_public_methods_only(module):
    private = {
        ast.unparse(node)
        for node in ast.walk(ast.parse(SOURCES[module].read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
    }
    assert not private, f"{module} reaches into {private}"


@pytest.mark.parametrize("module", SOURCES)
def test_nothing_is_pickled_or_evaluated(module):
    code = SOURCES[module].read_text()
    names = {name for node in ast.walk(ast.parse(code)) for name in names_of(node)}
    unsafe = names & {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "eval", "exec", "allow_pickle"}
    assert not unsafe, f"{module} uses {unsafe}"


def names_of(node):
    match node:
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return [alias.name.split(".")[0] for alias in names]
        case ast.Call(func=ast.Name(id=name)):
            return [name]
        case ast.keyword(arg=str(name)):
            return [name]
    return []


@pytest.mark.parametrize("module", SOURCES)
def test_no_model_branches_on_a_device(module):
    assert not re.search(r"if .*\bdevice\b *[!=]=", SOURCES[module].read_text()) or module == "cofactor.kernels"
