"""What a device of PyTorch takes from its process and leaves there: settings of products, and memory."""

import threading

import numpy as np
import pytest

import cofactor as cf
from cofactor.kernels import on
from cofactor.kernels.csr import CSR
from cofactor.kernels.torch import precision
from cofactor.kernels.torch.place import Place
from device import in_torch

pytestmark = pytest.mark.skipif("torch" not in in_torch(), reason="PyTorch is missing")


@pytest.fixture(scope="module")
def x():
    return cf.datasets.synthetic(n_users=60, n_items=40, n_interactions=600, factors=4, seed=0)


def fit(x, device="torch"):
    return cf.ImplicitALS(8, solver="cholesky", iterations=1, regularization=0.1, alpha=1.0, device=device).fit(x)


# Whole float32


def switches():
    import torch

    return [torch.backends.cuda.matmul, torch.backends.mkldnn.matmul]


def setting(owner, name, value):
    return lambda torch: setattr(owner(torch), name, value)


WAYS = {
    "nothing": lambda _: None,
    "the old switch": setting(lambda torch: torch.backends.cuda.matmul, "allow_tf32", True),
    "high": lambda torch: torch.set_float32_matmul_precision("high"),
    "medium": lambda torch: torch.set_float32_matmul_precision("medium"),
    "everything": setting(lambda torch: torch.backends, "fp32_precision", "tf32"),
    "everything whole": setting(lambda torch: torch.backends, "fp32_precision", "ieee"),
    "products of cards": setting(lambda torch: torch.backends.cuda.matmul, "fp32_precision", "tf32"),
    "products of CPUs": setting(lambda torch: torch.backends.mkldnn.matmul, "fp32_precision", "bf16"),
    "all but those of cards": lambda torch: [
        setattr(owner, "fp32_precision", value)
        for owner, value in ((torch.backends, "tf32"), (torch.backends.cuda.matmul, "ieee"))
    ],
}


def settings(torch):
    """All that the process can read, or that it cannot."""
    found = {}
    for name, read in {
        "old": torch.get_float32_matmul_precision,
        "older": lambda: torch.backends.cuda.matmul.allow_tf32,
        "all": lambda: torch.backends.fp32_precision,
        "products": lambda: [switch.fp32_precision for switch in switches()],
    }.items():
        try:
            found[name] = read()
        except RuntimeError:  # PyTorch's own, where old and new switches were mixed
            found[name] = "an error"
    return found


@pytest.fixture
def process():
    """PyTorch, of which a test may change the settings."""
    import torch

    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        pytest.skip("this PyTorch has the old switches alone")
    yield torch
    for owner in (torch.backends, *switches()):
        owner.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")
    for switch in switches():
        switch.fp32_precision = "none"


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_products_are_whole_and_the_process_keeps_its_settings(x, way, process, monkeypatch):
    way(process)
    before, seen, plain = settings(process), [], process.linalg.cholesky_ex

    def looking(*args, **options):
        seen.extend(switch.fp32_precision for switch in switches())
        return plain(*args, **options)

    monkeypatch.setattr(process.linalg, "cholesky_ex", looking)
    fit(x)
    assert set(seen) == {"ieee"}
    assert settings(process) == before
    process.backends.fp32_precision = "none"  # what followed it follows it still
    assert ("tf32" in settings(process)["products"]) == (before["all"] == "none" and "tf32" in before["products"])


def test_older_versions_have_one_switch_for_all(x, process, monkeypatch):
    monkeypatch.setattr(precision, "_switches", list)
    process.set_float32_matmul_precision("medium")
    seen = []
    with Place("torch").computing("a kernel"):
        seen.append(process.get_float32_matmul_precision())
    assert [*seen, process.get_float32_matmul_precision()] == ["highest", "medium"]


def test_kernels_side_by_side_put_back_what_was_there_before_the_first(process):
    process.backends.cuda.matmul.fp32_precision = "tf32"
    place, inside, leave = Place("torch"), threading.Event(), threading.Event()
    seen = []

    def first():
        with place.computing("the first"):
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(10)
    with place.computing("the second"):
        leave.set()
        thread.join(10)
        seen.append(process.backends.cuda.matmul.fp32_precision)
    assert [*seen, process.backends.cuda.matmul.fp32_precision] == ["ieee", "tf32"]


# Memory


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


def card_is_full(monkeypatch):
    """The error as the oldest of the supported versions has it, of which the newest have another name, too."""
    import torch

    monkeypatch.delattr(torch, "OutOfMemoryError", raising=False)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (3 * 2**29, 2**34))
    return torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total of ...")


@pytest.mark.parametrize("what", ["vectors", "interactions"])
def test_what_finds_no_room_on_the_card_is_told_in_numbers(what, monkeypatch):
    import torch

    array = np.ones((3, 2), np.float32)
    held = {"vectors": array, "interactions": CSR.from_pairs([0, 1], [1, 0], [1.0, 2.0], (2, 2))}[what]
    kernels = on("torch")
    monkeypatch.setattr(torch.Tensor, "to", failing(card_is_full(monkeypatch)))
    told = r"bringing data there ran out of memory .*, asked for 20.00 GiB: 1.5 of 16.0 GiB are free, of which a chunk"
    for given in (held, (held,)):
        with pytest.raises(cf.CofactorError, match=told):
            kernels.hold(given)


def test_results_that_find_no_room_are_told_in_numbers(monkeypatch):
    import torch

    kernels = on("torch")
    held = kernels.hold(np.ones(3, np.float32))
    monkeypatch.setattr(torch.Tensor, "cpu", failing(card_is_full(monkeypatch)))
    with pytest.raises(
        cf.CofactorError, match=r"bringing results back ran out of memory .*, asked for 20.00 GiB: 1.5 of"
    ):
        kernels.fetch((held,))


NO_ROOM = {
    "Linux": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
        f"you tried to allocate {3 * 2**40} bytes. Error code 12 (Cannot allocate memory)"
    ),
    "elsewhere": RuntimeError(
        f"alloc_cpu.cpp:116] data. DefaultCPUAllocator: not enough memory: you tried to allocate {3 * 2**40} bytes."
    ),
    "NumPy": MemoryError("Unable to allocate 3072.0 GiB for an array with shape (824633720832,) and data type float32"),
}


@pytest.mark.parametrize("error", NO_ROOM.values(), ids=NO_ROOM.keys())
def test_a_lack_of_the_machines_memory_is_told_in_numbers(x, error, monkeypatch):
    import torch

    from cofactor.kernels.torch import place

    monkeypatch.setattr(place, "available_memory", lambda: 3 * 2**30)
    told = r"ran out of memory on device='torch', asked for 3072.0 GiB: 3.0 GiB of the machine's memory are free, and a"
    with monkeypatch.context() as patch:
        patch.setattr(torch.linalg, "cholesky_ex", failing(error))
        with pytest.raises(cf.CofactorError, match=f"als_sweep {told}"):
            fit(x)
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "to", failing(error))
        with pytest.raises(cf.CofactorError, match=f"bringing data there {told}"):
            fit(x)


def test_what_pytorch_really_says_is_known():
    import torch

    told = r"a kernel ran out of memory .*, asked for 4194304.0 GiB: .* GiB of the"
    with pytest.raises(cf.CofactorError, match=told), Place("torch").computing("a kernel"):
        torch.empty(1 << 52, dtype=torch.uint8)


@pytest.fixture
def card(monkeypatch):
    """A card of 16 GiB of which one is free, and half a one is PyTorch's for later, as far as is asked before a fit."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name, told in {
        "mem_get_info": (2**30, 2**34),
        "memory_reserved": 3 * 2**29,
        "memory_allocated": 2**30,
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda told=told: told)


def test_what_pytorch_keeps_of_a_card_is_free(card):
    assert on("cuda").free_memory() == 3 * 2**29
    assert on("torch").free_memory() is on("cpu").free_memory() is None


@pytest.mark.parametrize(
    "model",
    [
        cf.ImplicitALS(6_000, solver="cg", alpha=1.0, regularization=0.1, device="cuda"),
        cf.SampledMF(3_000_000, device="cuda"),
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_model_that_has_no_room_on_the_card_says_so_before_it_fits(x, model, card, monkeypatch):
    monkeypatch.setattr("cofactor.system.memory.available_memory", lambda: 2**50)
    told = r"40 items, on device='cuda', needs [\d.]+ GiB .*, 1.5 GiB are available; use fewer factors, .*'cpu'"
    with pytest.raises(cf.ParameterError, match=told):
        model.fit(x)


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="shapes"), Place("torch").computing("a kernel"):
        raise RuntimeError("shapes do not match")
