"""How much one request may ask for."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from cofactor.checks import check_at_least
from cofactor.serve.request_error import RequestError

if TYPE_CHECKING:
    from collections.abc import Sized

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What is refused before anything is computed.

    Parameters
    ----------
    body : int
        Bytes of a request's body: 413 beyond.
    users : int
        Users of one request, and pairs of ``POST /predict``.
    k : int
        Length of lists.
    history : int
        Events of one history.
    ids : int
        Of ``exclude`` and of ``items``, each.
    seconds : float
        From the first byte to the answer, the time it takes to send the body included: 408 while the body is being
        sent, 503 later.
    """

    body: int = 1 << 20
    users: int = 1_000
    k: int = 1_000
    history: int = 1_000
    ids: int = 10_000
    seconds: float = 10.0

    def __post_init__(self) -> None:
        for given in fields(self):
            whole = given.name != "seconds"
            check_at_least(given.name, getattr(self, given.name), 1 if whole else 0, whole=whole, above=not whole)

    def told(self) -> dict[str, Any]:
        """As ``GET /about`` shows them."""
        return asdict(self)

    def check_k(self, k: int) -> None:
        """Raise a RequestError unless lists may be that long."""
        if not 1 <= k <= self.k:
            raise RequestError(422, "k", f"k is from 1 to {self.k}, got {_short(k)}", "k")

    def check_size(self, name: str, given: Sized | None) -> None:
        """Raise a RequestError where a list is longer than it may be."""
        if given is None:
            return
        most = getattr(self, {"exclude": "ids", "items": "ids", "pairs": "users"}.get(name, name))
        if len(given) > most:
            raise RequestError(422, "too_many", f"{name} may have {most:,} entries, got {len(given):,}", name)


def _short(number: int) -> str:
    """A number that may have millions of digits, for a message."""
    return str(number) if abs(number) < 1 << 64 else "a number beyond 64 bits"
