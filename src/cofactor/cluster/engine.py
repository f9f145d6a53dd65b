"""Ray, asked for where it is used, and its errors in the words of this library."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cofactor.checks import check_type
from cofactor.errors import CofactorError, MissingExtraError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["answering", "connected", "died", "nodes", "require_ray", "shared", "translated"]

_ANSWERS = 5.0  # seconds that a head node has to take a connection
_HEALTHY = 30.0  # and to say that it is one


def require_ray() -> Any:  # noqa: ANN401
    """The module ``ray``.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("a cluster needs Ray; install it with: pip install 'cofactor[ray]'") from error
    return ray


def connected() -> Any:  # noqa: ANN401
    """The module ``ray``, connected to a cluster: left alone it would connect to whichever it finds.

    Raises
    ------
    CofactorError
        There is no connection, or no more.
    """
    ray = require_ray()
    if not ray.is_initialized():
        raise CofactorError("there is no connection to a cluster, or it was closed; make one: cf.cluster.connect(...)")
    return ray


def shared(name: str, value: Any) -> Any:  # noqa: ANN401
    """A reference to a value that workers read.

    Raises
    ------
    ParameterError
        It cannot be sent.
    """
    try:
        return connected().put(value)
    except TypeError as error:
        raise ParameterError(
            f"{name}: it cannot be sent to workers ({str(error).splitlines()[0]}); leave out what belongs to this "
            "process alone, such as locks, open files and connections"
        ) from error


def answering(address: str | None) -> str:
    """An address for ``ray.init``, after a look at whether somebody answers there.

    Raises
    ------
    ParameterError
        It is no address of a head node.
    CofactorError
        Nobody answers, or not Ray.
    """
    check_type(
        "address", address, str | None, "host:port of a head node, 'auto', or None for a cluster of this machine"
    )
    if address is None or address == "local":
        return "local"
    found, told = address, f"address={address!r}"
    if address == "auto":
        found = _current()
        told = f"address='auto' is {found!r} here (by RAY_ADDRESS, or the last ray start)"
    host, _, port = found.rpartition(":")
    if "://" in found or not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ParameterError(
            f"address must be host:port of the head node (as ray start --head tells it), 'auto' on a machine of the "
            f"cluster, or None for a cluster of this machine, got {found!r}"
        )
    try:
        socket.create_connection((host, int(port)), _ANSWERS).close()
    except OSError as error:
        raise CofactorError(
            f"{told}: nobody answers there ({error}); start a head node with ray start --head, or open the port"
        ) from error
    check = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", found]
    try:
        healthy = subprocess.run(check, capture_output=True, timeout=_HEALTHY, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        healthy = False
    if not healthy:
        raise CofactorError(
            f"{told}: something listens there, but it does not answer as the head node of a Ray cluster of this "
            "version and token; give the address that ray start --head tells"
        )
    return found


def _current() -> str:
    """What Ray takes for "auto", so that it can be looked at before: ``ray.init`` waits minutes where it is gone."""
    from ray._private.services import canonicalize_bootstrap_address_or_die  # nothing public tells it unconnected

    try:
        return str(canonicalize_bootstrap_address_or_die("auto"))
    except (ConnectionError, OSError, ValueError) as error:
        raise CofactorError(
            f"address='auto': no cluster of Ray is found on this machine ({error}); give host:port of a head node, "
            "start one with ray start --head, or give None for a cluster of this machine"
        ) from error


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise the errors of workers as they were there, and those of Ray as errors of this library."""
    ray = require_ray()
    errors = ray.exceptions
    try:
        yield
    except errors.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, CofactorError):
            raise cause from None
        if isinstance(cause, errors.ObjectStoreFullError | errors.OutOfDiskError):
            raise _full(what, cause) from error
        raise CofactorError(f"{what}: {type(cause).__name__} on a worker: {cause}") from error
    except (errors.ObjectStoreFullError, errors.OutOfDiskError) as error:
        raise _full(what, error) from error
    except errors.RayError as error:
        raise CofactorError(f"{what}: {type(error).__name__}: {str(error).splitlines()[0]}") from error


def _full(what: str, error: BaseException) -> CofactorError:
    return CofactorError(
        f"{what}: the object store of a node is full ({str(error).splitlines()[0]}); start its nodes with a larger one "
        "(ray start --object-store-memory=BYTES), or take fewer factors"
    )


def died() -> tuple[type[BaseException], ...]:
    """What Ray raises where a worker or its node is gone, and what it held."""
    errors = require_ray().exceptions
    return errors.RayActorError, errors.WorkerCrashedError, errors.ObjectLostError, errors.NodeDiedError


def nodes() -> list[dict[str, Any]]:
    """The living nodes: ``id``, ``address``, ``threads`` and ``object_store`` (bytes), in the order of their ids."""
    found = [
        {
            "id": node["NodeID"],
            "address": node["NodeManagerAddress"],
            "threads": int(node["Resources"].get("CPU", 0)),
            "object_store": int(node["Resources"].get("object_store_memory", 0)),
        }
        for node in connected().nodes()
        if node["Alive"]
    ]
    return sorted(found, key=lambda node: str(node["id"]))
