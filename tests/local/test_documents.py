"""With documents: the same child answers from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from backends import config, demo, providers
from backends.backend import ChatRequest, Message, Sampling
from backends.errors import Code
from backends.events import Citation, Done, Error, Meta, Status
from backends.local.spec import Spec
from backends.providers.local import Local
from tests.local.talk import answer, ask, text_of

OpenLocal = Callable[..., Local]

QUESTION = "Can I pause my annual subscription?"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index is this test's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def with_documents(spec: Spec, documents: Path) -> Spec:
    return msgspec.structs.replace(spec, documents=str(documents), token_budget=400)


async def test_passages_are_found_before_the_answer(open_local: OpenLocal, spec: Spec) -> None:
    events = await answer(open_local(with_documents(spec, demo.DOCUMENTS)), ask(QUESTION))
    assert isinstance(events[-1], Done)
    (found,) = [event for event in events if isinstance(event, Status) and event.passages]
    assert found.passages[0].id == "S1"
    assert "pause" in found.passages[0].snippet.lower()
    spans = {span.stage for event in events if isinstance(event, Meta) for span in event.spans}
    assert {"model_load", "retrieval", "reranking", "context_assembly", "prefill"} <= spans


async def test_without_retrieval_on_request(open_local: OpenLocal, spec: Spec) -> None:
    plain = ChatRequest((Message("user", QUESTION),), max_tokens=2, docs=False)
    events = await answer(open_local(with_documents(spec, demo.DOCUMENTS)), plain)
    assert isinstance(events[-1], Done)
    assert not [event for event in events if isinstance(event, Status) and event.status == "retrieving"]


async def test_documents_that_are_not_there(open_local: OpenLocal, spec: Spec, tmp_path: Path) -> None:
    last = (await answer(open_local(with_documents(spec, tmp_path / "absent"))))[-1]
    assert isinstance(last, Error)
    assert last.code == Code.NOT_FOUND
    assert "absent" in last.message


async def test_the_demo_cites_the_sample_documents(open_local: OpenLocal) -> None:
    """What a person meets at first: the built-in backend, as it is configured."""
    built_in = providers.open_backend(config.parse(""))
    assert isinstance(built_in, Local)
    events = await answer(
        open_local(built_in.spec), ChatRequest((Message("user", QUESTION),), sampling=Sampling(temperature=0.0))
    )
    done = events[-1]
    assert isinstance(done, Done), done
    assert done.finish_reason == "stop"
    cited = [event for event in events if isinstance(event, Citation)]
    assert cited
    assert f"[{cited[0].id}]" in text_of(events)
    assert cited[0].source.endswith(".md")
