"""Imports go one way and never in a circle, whatever kind they are; and nothing unsafe is used."""

import ast
import re
from pathlib import Path

import pytest

import cofactor

ROOT = Path(cofactor.__file__).parent
SOURCES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted([*ROOT.rglob("*.py"), *ROOT.rglob("*.pyi")])
}

# From the ground up: a module imports its own layer and the ones before it, for types too, and nobody imports the face.
LAYERS = [
    ["errors", "version"],
    ["checks"],
    ["system"],
    ["kernels"],
    ["data"],
    ["datasets", "models", "metrics"],
    ["cluster", "evaluation", "retrieval"],
    ["serve"],
    ["report"],
    ["", "cli"],
]
RANK = {f"cofactor.{name}".rstrip("."): rank for rank, names in enumerate(LAYERS) for name in names}
FAMILIES = sorted(p.name for p in (ROOT / "models").iterdir() if p.is_dir() and p.name not in ("base", "__pycache__"))

# Optional and heavy: imported inside functions, or in the places that are made for them.
HEAVY = {"torch", "ray", "optuna", "litestar", "starlette", "fastapi", "uvicorn", "granian", "matplotlib", "pandas"}
HEAVY |= {"faiss", "msgspec", "psycopg"}
FOR_SERVING = {"msgspec", "starlette", "uvicorn"}  # what all of serve/ needs; nothing imports serve/ at its head


def layer(module):
    """The part of a module's name that has a rank."""
    return ".".join(module.split(".")[:2])


def rank(module):
    return RANK[layer(module)]


def resolved(name):
    """The module that a dotted name is, or is in."""
    while name not in SOURCES:
        name = name.rpartition(".")[0]
    return name


def imports(module):
    """(name, whether inside a function or for types only) of every import of any kind."""
    todo = [(ast.parse(SOURCES[module].read_text()), False)]
    while todo:
        node, apart = todo.pop()
        if isinstance(node, ast.Import):
            yield from ((alias.name, apart) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            yield from ((f"{node.module}.{alias.name}", apart) for alias in node.names)
        apart = apart or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        apart = apart or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        todo += [(child, apart) for child in ast.iter_child_nodes(node)]


def own_imports(module):
    """The modules of cofactor that a module imports, at its head, inside functions and for types alike."""
    return {resolved(name) for name, _ in imports(module) if name.split(".")[0] == "cofactor"}


GRAPH = {module: own_imports(module) for module in SOURCES}


def circles(graph):
    """Groups of modules that reach each other (Tarjan's strongly connected components of more than one)."""
    number, low, stack, found = {}, {}, [], []

    def visit(node):
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in graph[node]:
            if other not in number:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], number[other])
        if low[node] == number[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1 or node in graph[node]:
                found.append(sorted(group))

    for node in graph:
        if node not in number:
            visit(node)
    return found


def test_there_are_no_circles():
    assert circles(GRAPH) == []


def test_circles_are_seen():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"e"}}) == [["a", "b", "c"], ["e"]]


@pytest.mark.parametrize("module", SOURCES)
def test_imports_go_down(module):
    up = [name for name in GRAPH[module] if rank(name) > rank(module)]
    assert not up, f"{module} imports from above: {up}"


@pytest.mark.parametrize("module", [m for m in SOURCES if m != "cofactor"])
def test_nobody_imports_the_face(module):
    assert "cofactor" not in GRAPH[module]


def test_the_test_sees_imports():
    assert ("cofactor.kernels.cpu.Kernels", True) in imports("cofactor.kernels")  # for types only
    assert ("matplotlib.figure.Figure", True) in imports("cofactor.report.figures")  # inside a function
    assert ("cofactor.errors.DataError", False) in imports("cofactor.kernels.csr")


def test_every_module_has_a_layer_and_every_layer_a_module():
    assert {layer(module) for module in SOURCES} == set(RANK)


@pytest.mark.parametrize("module", [m for m in SOURCES if m.startswith("cofactor.models.")])
def test_families_of_models_know_their_base_and_not_each_other(module):
    family = module.split(".")[2]
    if family == "combined":
        return
    others = [n for n in GRAPH[module] if re.match(rf"cofactor\.models\.(?!base\b|{family}\b)", n)]
    assert not others, f"{module} imports {others}"


@pytest.mark.parametrize("module", [m for m in SOURCES if m.startswith("cofactor.models")])
def test_models_ask_for_kernels_and_never_for_a_device(module):
    """What a model computes with comes from ``kernels.on``: the CPU's own modules are there for types only."""
    told = {name for name, apart in imports(module) if not apart}
    assert not [n for n in told if n.startswith(("cofactor.kernels.cpu", "cofactor.kernels.native"))]
    assert not re.search(r"if .*\bdevice\b *[!=]=", SOURCES[module].read_text())


@pytest.mark.parametrize("module", [m for m in SOURCES if m.startswith("cofactor.metrics")])
def test_metrics_know_no_models(module):
    assert not [name for name in GRAPH[module] if name.startswith("cofactor.models")]


@pytest.mark.parametrize("module", SOURCES)
def test_heavy_packages_are_imported_where_they_are_used(module):
    heavy = {name.split(".")[0] for name, apart in imports(module) if not apart} & HEAVY
    if module.startswith("cofactor.serve."):
        heavy -= FOR_SERVING
    assert not heavy, f"{module} imports {heavy} at its head"


@pytest.mark.parametrize("module", SOURCES)
def test_scipy_is_loaded_where_it_is_used(module):
    """``import scipy`` alone loads none of it: all of it is a fifth of the time to import the library, and 14 MiB."""
    assert not [name for name, apart in imports(module) if not apart and name.startswith("scipy.")]


@pytest.mark.parametrize("module", [m for m in SOURCES if not m.startswith("cofactor.serve")])
def test_serving_is_imported_where_it_is_asked_for(module):
    assert not [name for name, apart in imports(module) if name.startswith("cofactor.serve") and not apart]


OUTSIDE = [m for m in SOURCES if re.match(r"cofactor\.(evaluation|metrics|cli|report)\b", m)]


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
def test_files_and_functions_stay_short(module):
    code = SOURCES[module].read_text()
    assert len(code.splitlines()) <= 400, f"{module} has {len(code.splitlines())} lines; cut it where it has a joint"
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - node.lineno + 1
            assert length <= 80, f"{module}.{node.name} has {length} lines"
