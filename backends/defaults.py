"""Sampling that the configuration asks for, where a request does not."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import msgspec

from backends.around import Around
from backends.backend import Backend, ChatRequest, Sampling
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


class WithSampling(Around):
    """A Backend around any other, whose requests it completes."""

    def __init__(self, inner: Backend, defaults: Sampling) -> None:
        super().__init__(inner)
        self._defaults = defaults

    def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """See `Backend.stream`."""
        return self.inner.stream(self._completed(request))

    async def warm(self, request: ChatRequest) -> Status | Error | None:
        """See `Backend.warm`."""
        return await self.inner.warm(self._completed(request))

    def _completed(self, request: ChatRequest) -> ChatRequest:
        return msgspec.structs.replace(request, sampling=completed(request.sampling, self._defaults))
