"""The shipped files: size, metadata, tokens as the `tokenizers` library makes them, logits as PyTorch computes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from backends.demo import DOCUMENTS, DRAFT, MODEL
from backends.demo.player import END, START, Player
from backends.rag.prompt import SYSTEM, render_source, render_user_turn

FIXTURES = Path(__file__).parent / "fixtures"
FILES = {"target": MODEL, "draft": DRAFT}


def fixture(name: str) -> Any:
    return json.loads((FIXTURES / name).read_text("utf-8"))


@pytest.fixture(scope="module", params=sorted(FILES))
def named(request: pytest.FixtureRequest) -> Iterator[tuple[str, Player]]:
    player = Player(FILES[request.param], context=1024)
    yield request.param, player
    player.close()


def test_both_files_together_are_small() -> None:
    assert MODEL.stat().st_size + DRAFT.stat().st_size < 12_000_000


def test_metadata(named: tuple[str, Player]) -> None:
    player = named[1]
    assert player.metadata("general.architecture") == "llama"
    assert player.metadata("tokenizer.ggml.pre") == "smollm"
    assert player.metadata("tokenizer.ggml.add_bos_token") == "false"
    assert player.metadata("tokenizer.ggml.eot_token_id") == player.metadata("tokenizer.ggml.eos_token_id")
    assert int(player.metadata("llama.context_length")) >= 2048
    assert player.decode([player.end]) == END


@pytest.mark.parametrize("number", range(len(fixture("tokens.json"))))
def test_text_has_the_tokens_of_the_library(named: tuple[str, Player], number: int) -> None:
    sample = fixture("tokens.json")[number]
    assert named[1].encode(sample["text"]) == sample["ids"]
    assert named[1].decode(sample["ids"]) == sample["text"]


def test_control_tokens_are_control_only_where_asked(named: tuple[str, Player]) -> None:
    player = named[1]
    assert len(player.encode(END, special=True)) == 1
    assert len(player.encode(END)) > 1
    assert player.end in player.encode(END, special=True)


def test_source_markers_are_single_tokens(named: tuple[str, Player]) -> None:
    for i in range(1, 9):
        assert len(named[1].encode(f"[S{i}]")) == 1
        assert len(named[1].encode(f"[/S{i}]")) == 1


def test_logits_are_those_of_pytorch(named: tuple[str, Player]) -> None:
    """Q8_0 rounds activations too, so logits move a little; top-1 may differ only where two tokens are close."""
    name, player = named
    same = total = 0
    for row in fixture("logits.json")[name]:
        got = player.logits(row["ids"], row["first"])
        wanted = np.array(row["logits"])
        assert np.abs(got[:, row["columns"]] - wanted).max() < 1.0
        assert np.abs(got[:, row["columns"]] - wanted).mean() < 0.12
        same += int((got.argmax(-1) == np.array(row["top"])).sum())
        total += len(row["top"])
    assert same / total >= 0.95


def test_template_renders_chatml(named: tuple[str, Player]) -> None:
    player = named[1]
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    template = ImmutableSandboxedEnvironment().from_string(player.metadata("tokenizer.chat_template"))
    text = template.render(messages=messages, add_generation_prompt=True)
    assert text == f"{START}system\nBe brief.{END}\n{START}user\nHello{END}\n{START}assistant\n"
    assert player.encode(text, special=True) == player.prompt(messages)


def test_documents_are_there() -> None:
    assert 6 <= len(list(DOCUMENTS.glob("*.md"))) <= 8


def test_answers_from_a_source_and_stops() -> None:
    player = Player(MODEL, context=1024)
    text = "Annual plans can be paused once a year for up to 5 months. Paused time is added to the end of the term."
    source = render_source("S1", "Pausing and cancelling > Pausing an annual plan", text)
    question = render_user_turn([source], "Can I pause my annual subscription?")
    prompt = player.prompt([{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}])
    ids, ended = player.answer(prompt)
    answer = player.decode(ids)
    player.close()
    assert ended
    assert "5 months" in answer
    assert "[S1]" in answer
