"""Sampling that the configuration asks for, where a request does not."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import msgspec

from backends.backend import Backend, ChatRequest, Pausable, Sampling, pausable
from backends.events import Error, Event, Status


def completed(sampling: Sampling, defaults: Sampling) -> Sampling:
    """`sampling`, and what it leaves open from `defaults`. Who asks for one kind of form is not given the other."""
    open_fields = {
        name: getattr(defaults, name)
        for name in Sampling.__struct_fields__
        if getattr(sampling, name) == getattr(Sampling(), name)
    }
    if sampling.grammar or sampling.json_schema is not None:
        open_fields |= {"grammar": sampling.grammar, "json_schema": sampling.json_schema}
    return msgspec.structs.replace(sampling, **open_fields)


class WithSampling:
    """A Backend around any other, whose requests it completes."""

    def __init__(self, inner: Backend, defaults: Sampling) -> None:
        self.inner = inner
        self._defaults = defaults

    def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """See `Backend.stream`."""
        return self.inner.stream(self._completed(request))

    async def warm(self, request: ChatRequest) -> Status | Error | None:
        """See `Backend.warm`."""
        return await self.inner.warm(self._completed(request))

    @property
    def pausable(self) -> Pausable | None:
        """See `backend.pausable`: where `inner` is."""
        return pausable(self.inner)

    async def aclose(self) -> None:
        """See `Backend.aclose`."""
        await self.inner.aclose()

    def _completed(self, request: ChatRequest) -> ChatRequest:
        return msgspec.structs.replace(request, sampling=completed(request.sampling, self._defaults))
