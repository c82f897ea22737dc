"""`llmchat index` as a person starts it."""

from __future__ import annotations

from pathlib import Path

from tests.rag.formats import samples
from tests.tui.cli.conftest import Llmchat


def test_documents_are_read_once_and_what_cannot_be_read_is_told(llmchat: Llmchat, tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "a.pdf").write_bytes(samples.pdf([["Refunds take 14 days."]]))
    (folder / "b.docx").write_bytes(b"no Word document")
    (folder / "c.md").write_text("# Pausing\n\nIt is free.")
    first = llmchat("index", folder)
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("3 added, 0 changed, 0 removed, 1 not readable, in ")
    assert first.stderr.startswith("b.docx: it is no Word document")
    (folder / "c.md").unlink()
    assert llmchat("index", folder).stdout.startswith("0 added, 0 changed, 1 removed, 1 not readable, in ")


def test_a_folder_that_is_not_there_is_named(llmchat: Llmchat, tmp_path: Path) -> None:
    result = llmchat("index", tmp_path / "nowhere")
    assert result.returncode != 0
    assert "nowhere does not exist" in result.stderr
