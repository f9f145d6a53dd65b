"""What a client is told where a request cannot be answered: one shape for everything."""

from __future__ import annotations

from cofactor.errors import CofactorError

__all__ = ["RequestError"]


class RequestError(CofactorError):
    """A request that is refused.

    Parameters
    ----------
    status : int
        HTTP status, 4xx or 5xx.
    code : str
        For programs: short, in snake_case, stable.
    message : str
        For people: what was received, what is allowed. Never anything of the file system.
    field : str, optional
        Which part of the request is at fault, such as ``users[3].history[0].weight``.
    headers : dict, optional
        Such as ``Retry-After``.
    """

    def __init__(
        self, status: int, code: str, message: str, field: str | None = None, *, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.field = status, code, message, field
        self.headers = headers or {}

    def within(self, part: str) -> RequestError:
        """The same of a part of a larger request, such as ``users[3]``."""
        field = part if self.field is None else f"{part}.{self.field}"
        return RequestError(self.status, self.code, self.message, field, headers=self.headers)
