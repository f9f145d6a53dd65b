"""The stub of the native kernels says what is compiled: type checkers read it and never see the modules."""

import ast
import importlib
import re
from pathlib import Path

import pytest

import cofactor.kernels

pytestmark = pytest.mark.cpu_only

STUB = Path(cofactor.kernels.__file__).with_name("_native_baseline.pyi")
ARRAY = re.compile(r"ndarray\[dtype=(\w+)[^\]]*\]")


def functions(source):
    """Names and types of the arguments, in order, and of what comes back, for every function."""
    body = ast.parse(source).body
    short = {node.targets[0].id: ast.unparse(node.value) for node in body if isinstance(node, ast.Assign)}

    def told(annotation):
        return annotation and re.sub(r"\w+", lambda word: short.get(word[0], word[0]), ast.unparse(annotation))

    return {
        node.name: ([(argument.arg, told(argument.annotation)) for argument in node.args.args], told(node.returns))
        for node in body
        if isinstance(node, ast.FunctionDef)
    }


def compiled(module):
    """The same of a compiled module, whose signatures say of arrays more than a stub can."""
    signatures = [
        signature
        for value in vars(module).values()
        for signature, *_ in getattr(value, "__nb_signature__", ())  # one for each overload
    ]
    source = "\n".join(ARRAY.sub(r"NDArray[np.\1]", signature) + ": ..." for signature in signatures)
    return functions(source.replace("collections.abc.", ""))


@pytest.fixture
def module(cpu_level):
    return importlib.import_module(f"cofactor.kernels._native_{cpu_level}")


def test_functions_have_the_arguments_and_types_of_the_stub(module):
    stub, native = functions(STUB.read_text()), compiled(module)
    assert stub.keys() == native.keys()
    assert {name: arguments for name, arguments in stub.items() if arguments != native[name]} == {}


def test_constants_have_the_types_of_the_stub(module):
    declared = {
        node.target.id: ast.unparse(node.annotation)
        for node in ast.parse(STUB.read_text()).body
        if isinstance(node, ast.AnnAssign)
    }
    public = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    found = compiled(module)
    assert declared == {name: type(value).__name__ for name, value in public.items() if name not in found}


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ("y: F32", "z: F32"),
        ("y: F32, out: F32", "out: F32, y: F32"),
        ("out: F64", "out: F32"),
        ("bias: F32 | None", "bias: F32"),
        ("-> tuple[int, int, int]", "-> tuple[int, int]"),
        ("def rotate(", "def turn("),
    ],
)
def test_a_wrong_stub_is_noticed(there, here, module):
    source = STUB.read_text()
    assert source.count(there) >= 1
    assert functions(source.replace(there, here)) != compiled(module)
