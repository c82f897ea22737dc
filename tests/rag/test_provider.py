"""The provider: from a configuration to an answer with sources."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from backends.backend import ChatRequest, Message
from backends.events import Error, Status
from backends.providers import Site
from backends.providers.rag import Options, connect, gguf_model, index_path
from backends.rag.index import Index
from backends.rag.options import Embedding
from backends.rag.query import Query
from tests.fakes.gguf_bert import write_bert
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


async def test_models_of_its_own_find_and_order_passages(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real embedding and reranking models with random weights: what they find means nothing, that they do is seen."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_bert(tmp_path / "embedding.gguf", pooling=1)
    write_bert(tmp_path / "reranker.gguf", pooling=4)
    inner = Scripted(*answer("Yes"))
    embedding = Embedding("embedding.gguf", floor=-0.99)
    options = Options(inner="demo", documents=str(folder), embedding=embedding, reranker="reranker.gguf")
    backend = connect(options, Site("docs", lambda name: inner, tmp_path))
    request = ChatRequest((Message("user", "Where are the xylophones?"),))  # a word that no passage has
    events = [event async for event in backend.stream(request)]
    (passages,) = [event.passages for event in events if isinstance(event, Status) and event.passages]
    assert len(passages) == 3
    await backend.aclose()


def test_another_model_in_the_place_of_the_first_makes_vectors_of_its_own(folder: Path, tmp_path: Path) -> None:
    """Of another width: the first one's would not even fit its questions."""
    path = tmp_path / "embedding.gguf"
    for width in (32, 64):
        path.unlink(missing_ok=True)
        write_bert(path, width=width)
        os.utime(path, (width, width))
        model = gguf_model(Embedding(str(path), floor=-0.99))
        index = Index([folder], tmp_path / "index.sqlite3", model)
        index.refresh()
        assert len(index.nearest(Query("refunds"), 3)) == 3
        index.close()


async def test_a_model_that_is_not_there_is_an_error_of_the_stream(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    options = Options(inner="demo", documents=str(folder), embedding=Embedding("nowhere.gguf"))
    backend = connect(options, Site("docs", lambda name: Scripted(*answer("Yes")), tmp_path))
    events = [event async for event in backend.stream(ChatRequest((Message("user", "Refunds?"),)))]
    assert isinstance(events[-1], Error)
    assert "nowhere.gguf" in events[-1].message
    await backend.aclose()


def test_each_folder_has_its_own_index() -> None:
    assert index_path(Path("/a")) != index_path(Path("/b"))
    assert index_path(Path("/a")) == index_path(Path("/a/"))


@pytest.mark.parametrize("options", [{"inner": "demo", "top_k": 0}, {"documents": "x"}, {"inner": "demo", "topk": 1}])
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(options, Options)
