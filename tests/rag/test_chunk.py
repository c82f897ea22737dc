"""Passages by structure and size."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from backends.rag.chunk import MAX_TOKENS, Passage, cut
from backends.rag.formats import read_sections
from backends.rag.tokens import CountTokens, estimate_tokens


def chunk_markdown(text: str, name: str) -> list[Passage]:
    return cut(read_sections("markdown", text.encode(), name))


def chunk_text(text: str, name: str, count_tokens: CountTokens = estimate_tokens) -> list[Passage]:
    return cut(read_sections("text", text.encode("utf-8", "surrogatepass"), name), count_tokens)


FAQ = """---
title: ignored
---
# Billing FAQ

Everything about *money*.

## Pausing

You can **pause** an annual plan for [3 months](https://example.org).
A `monthly` plan pauses for one.

- Visa
- Mastercard.

### Teams

| Plan | Price |
| --- | --- |
| Basic | 9 EUR |
| Team | |

Refunds
-------

<!-- not yet --> Refunds take 14 days.

## Empty
"""


def test_sections_become_passages_titled_by_their_place() -> None:
    assert chunk_markdown(FAQ, "faq.md") == [
        Passage("Billing FAQ", "Everything about money.", "Billing FAQ"),
        Passage(
            "Billing FAQ > Pausing",
            "You can pause an annual plan for 3 months. A monthly plan pauses for one. Visa; Mastercard.",
            "Pausing",
        ),
        Passage("Billing FAQ > Pausing > Teams", "Plan: Basic, Price: 9 EUR; Plan: Team;", "Teams"),
        Passage("Billing FAQ > Refunds", "Refunds take 14 days.", "Refunds"),
    ]


def test_without_headings_the_file_name_is_the_title_and_lines_are_the_place() -> None:
    assert chunk_markdown("\nSome text\non two lines.\n", "guides/how_to-pay.md") == [
        Passage("How to pay", "Some text on two lines.", "lines 2-3")
    ]


def test_line_numbers_survive_front_matter() -> None:
    assert chunk_markdown("---\na: b\n---\n\nText here.\n", "a.md") == [Passage("A", "Text here.", "lines 5-5")]


def test_code_is_not_taken_for_headings() -> None:
    (passage,) = chunk_markdown("# A\n\n```sh\n# not a heading\nrun it\n```\n", "a.md")
    assert passage == Passage("A", "# not a heading run it", "A")


def test_a_long_section_is_split_between_sentences_under_one_title() -> None:
    sentences = [f"Sentence {'Number' if i % 2 else 'word'} {i} has exactly nine words in it." for i in range(40)]
    passages = chunk_markdown("# Doc\n\n## Long\n\n" + " ".join(sentences), "a.md")
    assert [len(passage.text.split()) for passage in passages] == [126, 126, 108]
    assert {passage.title for passage in passages} == {"Doc > Long"}
    assert all(passage.text.endswith("in it.") for passage in passages)
    assert " ".join(passage.text for passage in passages) == " ".join(sentences)


def test_a_left_over_sentence_does_not_stand_alone() -> None:
    long = "A " + " ".join(["word"] * 118) + " end. "
    passages = chunk_text(long * 2 + "Three short words.", "a.txt")
    assert [len(passage.text.split()) for passage in passages] == [120, 123]


def test_plain_text_is_cut_into_paragraphs_with_their_lines() -> None:
    paragraph = " ".join(["word"] * 100) + "."
    passages = chunk_text(f"\n{paragraph}\n\n\n{paragraph}\n", "notes.txt")
    assert [(passage.title, passage.locator) for passage in passages] == [
        ("Notes", "lines 2-2"),
        ("Notes", "lines 5-5"),
    ]


def test_text_without_spaces_is_still_bounded() -> None:
    passages = chunk_text("字" * 30_000, "cjk.txt")
    assert "".join(passage.text for passage in passages).replace(" ", "") == "字" * 30_000
    assert max(len(passage.text) for passage in passages) < 3000


def test_the_models_own_tokens_bound_a_passage() -> None:
    passages = chunk_text("One two three four five. " * 100, "a.txt", lambda text: 20 * len(text.split()))
    assert {len(passage.text.split()) for passage in passages} == {10}


words = st.text(st.characters(codec="utf-8", exclude_categories=["Zs", "Cc", "Zl", "Zp"]), min_size=1, max_size=30)


@given(st.lists(st.tuples(words, st.sampled_from([" ", ". ", "! ", "\n\n", "\n"])), max_size=400))
def test_plain_text_loses_no_word_and_no_passage_is_too_long(pieces: list[tuple[str, str]]) -> None:
    text = "".join(word + space for word, space in pieces)
    passages = chunk_text(text, "a.txt")
    # Where sentences follow each other without a space (after "。"), a passage has one.
    assert " ".join(passage.text for passage in passages).split() == re.sub("(?<=[。！？])", " ", text).split()
    assert all(passage.text and estimate_tokens(passage.text) <= MAX_TOKENS for passage in passages)
    assert not any("\n" in passage.text for passage in passages)


@given(st.text(st.sampled_from("#-*|>`[]()<! \n\tab1.:=~_&;\\"), max_size=300))
def test_any_markdown_can_be_read(text: str) -> None:
    for passage in chunk_markdown(text, "a.md"):
        assert passage.text
        assert "\n" not in passage.text + passage.title
        assert estimate_tokens(passage.text) <= MAX_TOKENS
