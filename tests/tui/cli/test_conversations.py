"""`llmchat conversations` on a history of two."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backends.events import Citation
from tests.tui.cli.conftest import Llmchat
from tui.history.history import History


@pytest.fixture
def ids(home: dict[str, str]) -> list[str]:
    history = History(Path(home["XDG_DATA_HOME"]) / "llmchat" / "history.sqlite")
    found = []
    for question, answer in (("Can I pause?", "Yes, once a year [S1]."), ("What does it cost?", "Nine dollars.")):
        conversation = history.create_conversation("demo")
        asked = history.add_message(conversation, None, "user", question)
        reply = history.add_message(conversation, asked, "assistant", answer, backend="demo", model="tiny")
        cited = [Citation("plans.md", "S1", title="Plans > Pausing", locator="Pausing")] if "[S1]" in answer else []
        history.update_message(reply, outcome="truncated" if cited else "complete", citations=cited)
        found.append(conversation)
    history.close()
    return found


def test_they_are_listed_and_searched(llmchat: Llmchat, ids: list[str]) -> None:
    lines = llmchat("conversations", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ids[::-1]
    found = json.loads(llmchat("conversations", "list", "once", "a", "ye", "--json").stdout)
    assert [(one["id"], one["title"], one["questions"]) for one in found] == [(ids[0], "Can I pause?", 1)]
    assert llmchat("conversations", "list", "nothing", "like", "it").stderr == "nothing found\n"


def test_one_is_shown_as_markdown_or_json(llmchat: Llmchat, ids: list[str], tmp_path: Path) -> None:
    assert llmchat("conversations", "show", ids[0][:8]).stdout == (
        "# Can I pause?\n\n## You\n\nCan I pause?\n\n## demo tiny\n\nYes, once a year [S1].\n\n[S1] Plans > Pausing\n\n"
        "*(truncated)*\n"
    )
    result = llmchat("conversations", "show", "newest", "--json", "--output", tmp_path / "it.json")
    assert (result.returncode, result.stderr) == (0, "")
    written = json.loads((tmp_path / "it.json").read_text())
    assert [message["content"] for message in written["messages"]] == ["What does it cost?", "Nine dollars."]
    assert (tmp_path / "it.json").stat().st_mode & 0o777 == 0o600


def test_one_is_renamed_and_deleted(llmchat: Llmchat, ids: list[str]) -> None:
    assert llmchat("conversations", "rename", ids[1], "Prices").returncode == 0
    assert "Prices" in llmchat("conversations", "list").stdout
    unasked = llmchat("conversations", "delete", ids[1])
    assert (unasked.returncode, unasked.stderr) == (2, "llmchat: deleting needs --yes where nobody can be asked\n")
    assert llmchat("conversations", "delete", ids[1], "--yes").returncode == 0
    assert llmchat("conversations", "list").stdout.split()[0] == ids[0]
    gone = llmchat("conversations", "show", ids[1])
    assert (gone.returncode, "there is no conversation" in gone.stderr) == (2, True)
