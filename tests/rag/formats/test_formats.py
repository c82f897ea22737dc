"""What every format is read into: headings, text in order, and where it stands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.rag.chunk import Passage, cut
from backends.rag.formats import SUFFIXES, format_of, read_sections
from backends.rag.sections import Unreadable
from tests.rag.formats import samples


def passages(kind: str, data: bytes, name: str = "file") -> list[Passage]:
    return cut(read_sections(kind, data, name))


def test_formats_go_by_the_names_end() -> None:
    assert [format_of(suffix) for suffix in (".md", ".PDF", ".Docx", ".htm", ".txt", "", ".rst")] == [
        *("markdown", "pdf", "docx", "html", "text", "text", "text")
    ]


PAGE = """<!DOCTYPE html><html><head><title>Help &amp; billing</title><style>p { color: red }</style></head><body>
<nav><ul><li>Home<li>Prices</ul></nav><header>Our help</header>
<h1>Help</h1><p>Two ways to pay:<ul><li>by card<li>by transfer, <b>slowly</b></ul>
<h2>Refunds</h2><div>Within 14&nbsp;days.<br>Ask <a href="/s">support</a>.</div>
<script>if (a < b) alert("</p>")</script>
<table><tr><th>Plan<th>Price</tr><tr><td>Solo<td>9 EUR<tr><td>Crew<td></tr></table>
<img alt="A map"><!-- hidden --><footer>Imprint</footer></body></html>"""


def test_a_page_becomes_what_its_reader_sees() -> None:
    assert passages("html", PAGE.encode()) == [
        Passage("Help & billing", "Our help", "lines 2-2"),
        Passage("Help & billing > Help", "Two ways to pay: by card; by transfer, slowly;", "Help"),
        Passage(
            "Help & billing > Help > Refunds",
            "Within 14 days. Ask support. Plan: Solo, Price: 9 EUR; Plan: Crew; A map",
            "Refunds",
        ),
    ]


def test_a_page_says_its_encoding() -> None:
    page = '<meta charset="iso-8859-1"><p>Café'
    assert passages("html", page.encode("latin-1"))[0].text == "Café"
    with pytest.raises(Unreadable, match="UTF-8"):
        passages("html", "<p>Café".encode("latin-1"))
    with pytest.raises(Unreadable, match="says that it is"):
        passages("html", b'<meta charset="no-such-thing"><p>x')


def test_nesting_without_end_exhausts_nothing() -> None:
    depth = 100_000
    assert passages("html", b"<div>" * depth + b"deep" + b"</div>" * depth)[0].text == "deep"


@given(st.text(st.sampled_from("<>/!-&;\"'= \nabphtdrul123"), max_size=200))
def test_any_page_can_be_read(text: str) -> None:
    for passage in passages("html", text.encode()):
        assert passage.text
        assert "\n" not in passage.text


def test_a_pdf_is_located_by_its_pages() -> None:
    header = "Larkspur manual, page {}"
    pages = [[header.format(1), "", "All about money.", "An invo-", "ice is sent.", "", "1"]]
    pages += [
        [header.format(2), "", "Refunds take 14 days.", "", "x", "2"],
        [header.format(3), "", "The end.", "", "y", "3"],
    ]
    data = samples.pdf(pages, title="Manual", headings=[(1, "Refunds")])
    assert passages("pdf", data) == [
        Passage("Manual", "All about money. An invoice is sent.", "page 1"),
        Passage("Manual > Refunds", "Refunds take 14 days. x The end. y", "pages 2-3"),
    ]


def test_a_pdf_without_a_title_has_its_files_name() -> None:
    (passage,) = passages("pdf", samples.pdf([["One line (in brackets)."]]), "price-list.pdf")
    assert passage == Passage("Price list", "One line (in brackets).", "page 1")


def test_pdfs_that_cannot_be_read_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    for data, reason in ((samples.encrypted_pdf("x"), "password"), (samples.pdf([[]]), "OCR")):
        with pytest.raises(Unreadable, match=reason):
            passages("pdf", data)
    monkeypatch.setattr("backends.rag.formats.pdf.MAX_PAGES", 1)
    with pytest.raises(Unreadable, match="2 pages, the limit is 1"):
        passages("pdf", samples.pdf([["a"], ["b"]]))
    monkeypatch.setattr("backends.rag.formats.pdf.MAX_PAGES", 2)
    monkeypatch.setattr("backends.rag.formats.pdf.MAX_CHARACTERS", 10)
    with pytest.raises(Unreadable, match="characters"):
        passages("pdf", samples.pdf([["abcdef"], ["ghijkl"]]))


def test_a_word_document_has_headings_lists_and_tables() -> None:
    assert passages("docx", samples.docx()) == [
        Passage("Travel costs", "What the company pays for.", "Travel costs"),
        Passage(
            "Travel costs > Trains",
            "Second class is paid. First class is not. Keep the ticket; Ride: Taxi, Limit: 30 EUR; Ride: Bus;",
            "Trains",
        ),
        Passage("Travel costs > Hotels", "Up to 120 EUR a night.", "Hotels"),
    ]


def test_bombs_are_known_before_they_go_off() -> None:
    with pytest.raises(Unreadable, match="larger than 256 MiB"):
        passages("docx", samples.zip_bomb(257))
    with pytest.raises(Unreadable, match="no Word document"):
        passages("docx", b"PK\x03\x04 no zip file")


def test_what_a_format_lacks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pypdf", None)
    with pytest.raises(Unreadable, match=r"pip install 'llmchat\[docs\]'"):
        passages("pdf", b"")


def test_every_suffix_has_a_reader() -> None:
    assert set(SUFFIXES.values()) == {"markdown", "text", "html", "pdf", "docx"}
    assert all(passages(kind, b"A line.") for kind in ("markdown", "text", "html"))
