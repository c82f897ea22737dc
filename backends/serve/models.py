"""Which models the service has, as clients name them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from backends.errors import BackendError, Code
from backends.serve.replies import Refusal

_log = logging.getLogger(__name__)


class Models:
    """The backend by its own `name`, which stands for its default model, and beside it what a server behind it lists.

    `listed` asks that server; None where a backend has one model, whatever it is asked for.
    """

    def __init__(self, name: str, listed: Callable[[], Awaitable[tuple[str, ...]]] | None = None) -> None:
        self.name = name
        self._listed = listed

    def use(self, other: Models) -> None:
        """Be as `other` from now on."""
        self.name, self._listed = other.name, other._listed

    async def all(self) -> tuple[str, ...]:
        """Their names, the backend's own first; a server that cannot be asked adds none."""
        others: tuple[str, ...] = ()
        if self._listed is not None:
            try:
                others = await self._listed()
            except BackendError as error:
                _log.warning("the models of %s cannot be listed: %s", self.name, error)
        return tuple(dict.fromkeys((self.name, *others)))

    def resolve(self, asked: str) -> str | None:
        """What the backend is to be asked for; None for its default. Raises Refusal (404) for what is not there.

        Whether a server has a model, it knows best itself.
        """
        if asked == self.name:
            return None
        if self._listed is None:
            message = f"there is no model {asked!r:.80} here; this server has {self.name!r} (GET /v1/models)"
            raise Refusal(404, message, Code.NOT_FOUND, param="model")
        return asked
