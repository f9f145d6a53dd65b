"""The kernels under test, and a second device that only has to pass what the first one does.

Tests call ``kernels.<name>`` with arrays of NumPy and get such back, whatever the device: the fixture ``where`` in
``tests/kernels/conftest.py`` says which one. ``OPAQUE`` computes like the CPU, but what it holds is behind handles that
NumPy cannot read: code that mistakes a held matrix for an array fails on it.
"""

import numpy as np
import pytest

from cofactor.errors import CofactorError
from cofactor.kernels import DEVICES, cpu, on
from cofactor.kernels.filters import Filters

OPAQUE = "opaque"

# Positions of the dense arguments that a kernel changes in place (all of them for None).
IN_PLACE = {
    "als_sweep": (1,),
    "gaussian_rows": (1,),
    "fm_epoch": (1,),
    "fm_relations_epoch": (1,),
    "fm_sweep": (1,),
    "invert": (0,),
    "item_pairs_epoch": (3,),
    "mirror_scaled": (0,),
    "set_diagonal": (0,),
    "shared_negatives_epoch": (1, 2),
    "pairwise_epoch": (1, 2),
    "ratings_implicit_epoch": (1, 2, 3),
    "ratings_sgd_epoch": (1, 2),
    "to_principal_axes": None,
}
# Kernels whose dense results stay where they were computed.
STAY = {
    "dense_product",
    "diagonal",
    "gramian",
    "quadratic_forms",
    "sparse_product",
    "squared_norms",
    "to_principal_axes",
    "vectors",
}


class Handle:
    """What the opaque device holds; only the device itself looks inside."""

    def __init__(self, inside):
        self.inside = inside

    @property
    def shape(self):
        return self.inside.shape

    def __array__(self, *_, **__):
        raise TypeError("this is held on a device; fetch it first")


def opened(x):
    if isinstance(x, Handle):
        return x.inside
    if type(x) is tuple:
        return tuple(map(opened, x))
    return x


class Kernels:
    """The CPU's kernels behind handles."""

    device = OPAQUE

    def hold(self, x):
        return Handle(x.copy() if isinstance(x, np.ndarray) else x)

    def fetch(self, x):
        assert isinstance(x, Handle), f"{type(x).__name__} was never held"
        return x.inside

    def __getattr__(self, name):
        kernel = getattr(cpu.Kernels(), name)

        def call(*args, **options):
            for place in changed(name, args):
                assert isinstance(args[place], Handle), f"{name} changes argument {place} in place: hold it first"
            if options.get("out") is not None and name in STAY:
                assert isinstance(options["out"], Handle), f"{name} changes out in place: hold it first"
            result = kernel(*map(opened, args), **{key: opened(value) for key, value in options.items()})
            return Handle(result) if name in STAY else result

        return call


def changed(name, args):
    places = IN_PLACE.get(name, ())
    return [place for place in range(len(args)) if (places is None or place in places) and args[place] is not None]


DEVICES[OPAQUE] = __name__


def in_torch():
    """The devices of PyTorch that are there: none without the package, "cuda" with a GPU."""
    there = []
    for name in ("torch", "cuda"):
        try:
            on(name)
        except CofactorError:
            continue
        import torch

        torch.set_num_threads(1)  # tensors of tests are small, and more threads wait for each other
        there.append(name)
    return there


def put_back(given, now):
    """Write what a device has made of arrays into these; in tuples, part by part."""
    if isinstance(given, tuple):
        for part, new in zip(given, now, strict=True):
            put_back(part, new)
    elif isinstance(given, np.ndarray) and now is not given:
        given[:] = now


class UnderTest:
    """The kernels of the device that the running test is about."""

    device = "cpu"

    def __getattr__(self, name):
        device = on(self.device)
        kernel = getattr(device, name)

        def call(*args, **options):
            args = list(args)
            inside = {place: args[place] for place in changed(name, args)}
            args = [device.hold(a) if place in inside else a for place, a in enumerate(args)]
            out = options.get("out") if name in STAY else None
            if out is not None:
                options["out"] = device.hold(out)
            try:
                result = kernel(*args, **options)
            except CofactorError as error:
                if "not there on this device" in str(error):
                    pytest.skip(f"device={self.device!r}: {error}")
                raise
            for place, given in inside.items():
                put_back(given, device.fetch(args[place]))
            if out is not None:
                if (now := device.fetch(options["out"])) is not out:
                    out[:] = now
                return out
            return device.fetch(result) if name in STAY else result

        return call


kernels = UnderTest()


def filtered(exclude=None, allowed=None, **options):
    """Options of the slow twins as the kernels take them."""
    return options | {"filters": Filters(exclude, allowed)}
