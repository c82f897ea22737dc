"""Documents read in a process that can be given up."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.rag import extract
from backends.rag.extract import Extractor
from backends.rag.index import Changes, Index
from backends.rag.sections import Unreadable
from backends.rag.words import key
from tests.rag.formats import samples


@pytest.fixture
def extractor() -> Iterator[Extractor]:
    with Extractor() as extractor:
        yield extractor


def test_one_process_reads_one_document_after_another(extractor: Extractor) -> None:
    (section,) = extractor.sections("pdf", samples.pdf([["Refunds take 14 days."]]), "a.pdf")
    assert [unit.text for unit in section.units] == ["Refunds take 14 days."]
    for data in (b"no pdf", samples.encrypted_pdf("x")):
        with pytest.raises(Unreadable, match=r"damaged|password"):
            extractor.sections("pdf", data, "b.pdf")
    assert len(extractor.sections("docx", samples.docx(), "c.docx")) == 4


def test_an_entity_bomb_is_refused_or_left_out(extractor: Extractor) -> None:
    try:
        sections = extractor.sections("docx", samples.xml_bomb(), "bomb.docx")
    except Unreadable:
        return
    assert sum(len(unit.text) for section in sections for unit in section.units) < 10_000


def test_what_takes_too_long_is_killed_and_the_next_one_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extract, "_HERE_BYTES", 0)
    endless = b"a" * 3_000_000 + b"\n"  # far more than can be read within the first limit
    with Extractor(time_limit=0.01) as hasty:
        with pytest.raises(Unreadable, match=r"takes longer than 0\.01 s"):
            hasty.sections("text", endless, "long.txt")
        hasty._time_limit = 60.0
        assert hasty.sections("text", b"Short.", "short.txt")[0].units[0].text == "Short."


def test_a_crashed_parser_costs_its_document_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parser that takes its process down, on the way through the whole index."""
    crashing = tmp_path / "lib" / "pypdf"
    crashing.mkdir(parents=True)
    (crashing / "__init__.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    real = extract._environment()
    environment = real | {"PYTHONPATH": f"{tmp_path / 'lib'}{os.pathsep}{real['PYTHONPATH']}"}
    monkeypatch.setattr(extract, "_environment", lambda: environment)
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "a.pdf").write_bytes(samples.pdf([["Lost."]]))
    (documents / "b.docx").write_bytes(samples.docx())
    (documents / "c.md").write_text("Pausing is free.")
    index = Index([documents])
    changes = index.refresh()
    assert [(failure.name, "crashed" in failure.reason) for failure in changes.failures] == [("a.pdf", True)]
    assert [hit.source for hit in index.search([key("hotels"), key("pausing")], 10)] == ["b.docx", "c.md"]
    index.close()


def test_what_lacks_a_library_is_read_once_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lib" / "pypdf").mkdir(parents=True)
    (tmp_path / "lib" / "pypdf" / "__init__.py").write_text('raise ModuleNotFoundError("no pypdf", name="pypdf")\n')
    real = extract._environment()
    environment = real | {"PYTHONPATH": f"{tmp_path / 'lib'}{os.pathsep}{real['PYTHONPATH']}"}
    monkeypatch.setattr(extract, "_environment", lambda: environment)
    document = tmp_path / "a.pdf"
    document.write_bytes(samples.pdf([["Found."]]))
    os.utime(document, ns=(10**18, 10**18))
    index = Index([document])
    assert "pip install" in index.refresh().failures[0].reason
    monkeypatch.setattr(extract, "_environment", lambda: real)
    assert index.refresh() == Changes(changed=1)
    index.close()


def test_closing_ends_what_is_being_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extract, "_HERE_BYTES", 0)
    extractor = Extractor(time_limit=60.0)
    extractor.sections("text", b"Warm.", "a.txt")
    closer = threading.Timer(0.05, extractor.close)
    closer.start()
    with pytest.raises(Unreadable, match=r"closed|crashed"):
        _read_on(extractor)
    closer.join()


def _read_on(extractor: Extractor) -> None:
    while True:
        extractor.sections("text", b"a " * 1_000_000, "long.txt")
