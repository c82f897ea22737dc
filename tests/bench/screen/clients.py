"""The clients that are raced, and how each is started and driven."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[3]
OURS = "llmchat, "
PLAIN_KEYBOARD = ", plain keyboard"
MINIMAL = "textual-minimal"
LLM = "llm"
ALONE = "transcript alone"
LLM_VARIABLE = "BENCH_LLM"
"""Environment variable with the path of the `llm` command, where it is not on the PATH."""


@dataclass(frozen=True)
class Client:
    """In `command`, `environment` and `files`, ``{home}`` and ``{url}`` are filled in for each run.

    `files`: paths under the home and their texts. `ready`: what the screen matches when the prompt can be used.
    `kitty`: whether its terminal knows kitty's keyboard protocol.
    """

    name: str
    command: tuple[str, ...]
    ready: str
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    kitty: bool = True


def ours(panel: str) -> Client:
    """llmchat as it stands in this checkout."""
    name = f"{OURS}panel {'off' if panel == 'off' else 'on'}"
    backend = 'type = "openai"\nurl = "{url}"\nmodel = "race-model"\n'
    files = {"config/llmchat/config.toml": f'backend = "race"\n[ui]\npanel = "{panel}"\n[backends.race]\n{backend}'}
    return Client(name, (sys.executable, "-m", "tui"), "Ask anything", files=files)


def minimal() -> Client:
    """The baseline of 40 lines."""
    return Client(MINIMAL, (sys.executable, "-m", "tests.bench.screen.textual_minimal", "{url}"), "Ask anything")


def alone() -> Client:
    """The transcript in a bare Textual app."""
    return Client(ALONE, (sys.executable, "-m", "tests.bench.screen.bare_transcript", "{url}"), "Ask anything")


def llm() -> Client | None:
    """``llm chat``, which prints text as it comes and has no screen; None where it is not installed."""
    found = shutil.which(os.environ.get(LLM_VARIABLE, "llm"))
    if found is None:
        return None
    models = "- model_id: race\n  model_name: race-model\n  api_base: {url}\n"
    return Client(
        LLM,
        (found, "chat", "-m", "race"),
        "^>",
        environment={"LLM_USER_PATH": "{home}", "OPENAI_API_KEY": "none"},
        files={"extra-openai-models.yaml": models},
    )


def field_of_clients() -> list[Client]:
    """Everybody that can be raced here."""
    clients = [ours("off"), ours("full"), alone(), minimal()]
    if (third := llm()) is not None:
        clients.append(third)
    return clients
