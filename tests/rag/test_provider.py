"""The provider: from a configuration to an answer with sources."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from backends.backend import ChatRequest, Message
from backends.events import Status
from backends.providers import Site
from backends.providers.rag import Options, connect, index_path
from tests.fakes.scripted import Scripted, answer


async def test_it_wraps_the_named_backend(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    inner = Scripted(*answer("Yes"))
    opened: list[str] = []

    def open_backend(name: str) -> Scripted:
        opened.append(name)
        return inner

    site = Site("docs", open_backend, folder.parent)
    backend = connect(Options(inner="demo", documents=folder.name, top_k=1), site)
    assert opened == ["demo"]
    assert not index_path(folder).exists()
    request = ChatRequest((Message("user", "How long do refunds take?"),))
    events = [event async for event in backend.stream(request)]
    (passages,) = [event.passages for event in events if isinstance(event, Status) and event.passages]
    assert [passage.source for passage in passages] == ["refunds.md"]
    assert index_path(folder).exists()
    await backend.aclose()
    assert inner.closed


def test_each_folder_has_its_own_index() -> None:
    assert index_path(Path("/a")) != index_path(Path("/b"))
    assert index_path(Path("/a")) == index_path(Path("/a/"))


@pytest.mark.parametrize("options", [{"inner": "demo", "top_k": 0}, {"documents": "x"}, {"inner": "demo", "topk": 1}])
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(options, Options)
